"""Files that administrations write: YAML with the place of each value, and the deployment's secret."""
