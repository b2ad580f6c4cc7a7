"""Exports. Replicas of the release before know neither the direction of a state nor the exit of its goods, so none starts again."""

revision = "0045"
down_revision = "0044"


def upgrade() -> None:
    """Change no table: states are stored as columns."""
