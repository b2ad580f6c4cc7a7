"""Attachments of cases. Their content is stored once, by its hash. Replicas of the release before work beside them and do not know them."""

from alembic import op

revision = "0033"
down_revision = "0030"
works_from = "0027"


def upgrade() -> None:
    """Create the tables. The parts of a content belong to the upload that stored it, so that nothing is copied when it is attached."""
    op.execute(
        """
        create table content_upload (
            id bigint generated always as identity primary key,
            uploader text collate "C" not null,
            sha256 bytea not null,
            bytes bigint not null,
            day integer not null,
            stored boolean not null default false
        )
        """
    )
    op.execute("comment on column content_upload.stored is 'whether the parts are those of a content'")
    op.execute("create unique index content_upload_open on content_upload (uploader, sha256) where not stored")
    op.execute("create index content_upload_day on content_upload (day) where not stored")
    op.execute(
        "create table content_part (upload bigint not null, part integer not null, digest bytea not null, data bytea not null, "
        "primary key (upload, part))"
    )
    op.execute("alter table content_part alter column data set storage external")
    op.execute("create trigger final before update on content_part for each row execute function rows_are_final()")
    op.execute("create table content (sha256 bytea primary key, bytes bigint not null, upload bigint not null)")
    op.execute(
        """
        create table case_attachment (
            number bigint not null,
            sha256 bytea not null references content,
            name text not null,
            content_type smallint not null,
            bytes bigint not null,
            attached_at bigint not null,
            attached_by text not null,
            primary key (number, sha256)
        )
        """
    )
    op.execute("create index case_attachment_sha256 on case_attachment (sha256, number)")
