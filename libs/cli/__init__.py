"""The `luxor` command and the local supervisor; only libs.client reaches the services."""
