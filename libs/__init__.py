"""What the services share, one concern a package. No lib imports a service."""
