"""The file of the deployment's secret."""
