"""The edge of licences: their service and the checks of requests."""
