"""Sales name house documents, by which consignments without an order number are bound to them."""

from alembic import op

from libs.store.tables import schema

revision = "0016"
down_revision = "0015"
works_from = "0012"

REFERENCE_DAYS = 100


def upgrade() -> None:
    """Create the table and add the columns."""
    # Carrier and number of each document that a version names, null for none: what is shown of it, and freed by the next one.
    op.execute("alter table sale add column documents text[]")
    schema.create_day_partitioned(
        op,
        "sale_document",
        'platform text collate "C" not null, carrier text collate "C" not null, document text collate "C" not null, '
        'order_number text collate "C" not null, version smallint not null, day integer not null, batch bigint not null',
        key="platform, carrier, document, order_number, version, day",
        span=REFERENCE_DAYS,
    )
    # Whether any sale of the platform ever named a document, so that those of all other consignments are not looked up.
    op.execute("alter table sale_platform add column documents boolean not null default false")
    # The document by which a consignment is bound. While it waits for the sale that names it, its order number is "".
    op.execute('alter table sale_binding add column carrier text collate "C", add column document text collate "C"')
    # Whether the goods have arrived, or may have: an amendment of the sale binds them to no other one.
    op.execute("alter table sale_binding add column arrived boolean not null default false")
    op.execute(
        "create index sale_binding_document on sale_binding (platform, carrier, document) where order_number = ''"
    )
