"""The first schema: the assessment log, and leases of the jobs that keep it in order."""

from alembic import op

from libs.store.tables import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create it all."""
    schema.create_assessment_log(op)
    schema.create_job_lease(op)
