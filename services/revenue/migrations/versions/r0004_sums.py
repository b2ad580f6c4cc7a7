"""What consignments were assessed on, what several of them make together, and the register of scheme numbers."""

revision = "0004"
down_revision = "0003"
works_from = "0001"


def upgrade() -> None:
    """Create it all; the release before goes on beside it."""
