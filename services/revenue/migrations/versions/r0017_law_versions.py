"""The versions of law with the texts of their files, their activations and the reviews of their values, stored permanently."""

from alembic import op

revision = "0017"
down_revision = "0016"
works_from = "0012"


def upgrade() -> None:
    """Create the tables."""
    # Texts by the SHA-256 of what they were before they were packed, so that versions share the files in which they agree.
    op.execute(
        "create table law_text (digest bytea primary key, packed bytea not null, "
        "written_at timestamptz not null default clock_timestamp())"
    )
    op.execute("alter table law_text alter column packed set storage external")
    op.execute("create sequence law_change as bigint cache 1")
    op.execute(
        'create table law_version (version text collate "C" primary key, folder text collate "C" not null, '
        "names text[] not null, digests bytea[] not null, note text not null, what_ifs bigint[] not null default '{}', "
        "proposed_by text not null, proposed_at timestamptz not null default clock_timestamp(), "
        "number bigint not null unique default nextval('law_change'), "
        "reviewed_by text, reviewed_at timestamptz, withdrawn_by text, withdrawn_at timestamptz)"
    )
    op.execute(
        'create table law_activation (number bigint primary key, version text collate "C" not null references law_version, '
        'folder text collate "C" not null, effective_at timestamptz not null, confirmed_by text not null, '
        "confirmed_at timestamptz not null, cancelled_by text, cancelled_at timestamptz)"
    )
    # A review counts for a value as long as the value reads as it did, in whatever version.
    op.execute(
        'create table law_review (number bigint primary key, version text collate "C" not null references law_version, '
        'file text collate "C" not null, place text not null, content bytea not null, day date not null, '
        "passage text not null, source bytea not null, counts_from timestamptz not null, expires_on date not null, reviewer text not null, "
        "recorded_at timestamptz not null default clock_timestamp())"
    )
