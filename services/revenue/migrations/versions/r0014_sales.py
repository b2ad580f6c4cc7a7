"""Sales: what was filed in one call is one row with its answers, each version of an order number leads to it, and consignments are bound to it."""

from alembic import op

from libs.store.tables import schema

revision = "0014"
down_revision = "0013"
works_from = "0012"

REFERENCE_DAYS = 100


def upgrade() -> None:
    """Create the tables."""
    op.execute("create sequence sale_batch_number as bigint cache 1")
    schema.create_day_partitioned(
        op,
        "sale_batch",
        "day integer not null, batch bigint not null, platform text not null, filed_at bigint not null, "
        "sales bytea not null, costs bytea not null",
        key="day, batch",
        external=("sales", "costs"),
    )
    op.execute("create index sale_batch_platform on sale_batch (platform, day, batch)")
    # `trade` is what consignments are compared with, so that no batch of sales is read for one of them.
    # Order numbers mostly rise, so that new rows go to the end of an index; each is looked up in the few partitions that there are.
    schema.create_day_partitioned(
        op,
        "sale",
        'platform text collate "C" not null, order_number text collate "C" not null, version smallint not null, '
        'digest bytea not null, day integer not null, batch bigint not null, "row" smallint not null, trade text not null',
        key="platform, order_number, version, day",
        span=REFERENCE_DAYS,
    )
    # The platforms with sales, so that consignments of all others are not looked up.
    op.execute('create table sale_platform (platform text collate "C" primary key)')
    # What is declared is compared with the sale together with the other consignments of the order; net and gross are minor units of currency.
    schema.create_day_partitioned(
        op,
        "sale_binding",
        'platform text collate "C" not null, order_number text collate "C" not null, mrn text collate "C" not null, '
        "filing_version integer not null, sale_version smallint not null, day integer not null, bound_at bigint not null, "
        "currency text not null, net bigint, gross bigint, unit text not null, quantity bigint, "
        "findings text[] not null, withdrawn boolean not null default false",
        key="platform, order_number, mrn, filing_version, day",
        span=REFERENCE_DAYS,
    )
    op.execute("create index sale_binding_mrn on sale_binding (mrn)")
    op.execute("create index sale_binding_findings on sale_binding (platform, bound_at) where findings <> '{}'")
