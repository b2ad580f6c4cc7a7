"""Settings of services: how they are read from the environment and checked, and the map of the deployment."""
