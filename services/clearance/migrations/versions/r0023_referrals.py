"""Referrals before loading are further forms of controls.

Replicas of the release before take them for examinations and do not read the result of a screening, so none starts again.
"""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Describe the forms; no column changes."""
    op.execute("comment on column control.form is 'luxor.clearance.v1.ControlForm: from 4 on referrals before loading'")
