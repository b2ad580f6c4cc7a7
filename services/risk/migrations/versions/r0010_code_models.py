"""Models of commodity codes: tables of their own, because the release before takes any champion of `model` for a model that scores."""

from alembic import op

revision = "0010"
down_revision = "0009"
works_from = "0009"


def upgrade() -> None:
    """Create the tables, which have the columns of `model` and `model_file`."""
    op.execute(
        'create table code_model_file (version text collate "C" primary key, content bytea not null, '
        "written_at timestamptz not null default clock_timestamp())"
    )
    op.execute("alter table code_model_file alter column content set storage external")
    op.execute(
        'create table code_model (version text collate "C" primary key references code_model_file, state smallint not null, '
        "summary bytea not null, note text not null, proposed_by text not null, "
        "proposed_at timestamptz not null default clock_timestamp(), challenged_by text, challenged_at timestamptz, "
        "activated_by text, activated_at timestamptz, retired_by text, retired_at timestamptz)"
    )
    # State 3 is the champion: at most one.
    op.execute("create unique index code_model_active on code_model (state) where state = 3")
