"""Files that risk reads: the secret of the deployment, and models with their digest."""
