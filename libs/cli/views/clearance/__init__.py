"""Parts of a consignment's view that officers alone read."""
