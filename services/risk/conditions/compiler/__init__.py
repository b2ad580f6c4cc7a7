"""From CEL's syntax trees to nodes."""
