"""Goods controls: what may not come, and the papers that lift a restriction."""
