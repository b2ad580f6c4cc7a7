"""Goods controls: prohibitions and restrictions, and the documents that lift a restriction."""
