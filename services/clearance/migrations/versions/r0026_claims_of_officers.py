"""Claims by officer, and a page of an office's work that reads no more than its rows. Replicas of the release before work beside both."""

from alembic import op

revision = "0026"
down_revision = "0023"
works_from = "0023"

# The rows of the lane of the place first, then those of lower lanes: one statement for both reads all of the office before the place.
_FIND = """
    create function work_find(of_office text, chosen integer, from_lane integer, after_day integer, after_mrn text, up_to integer)
    returns table (lane smallint, day integer, mrn text)
    language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $body$
    declare
        found_rows integer;
    begin
        return query select h.lane, h.day, h.mrn from held h
            where h.office = of_office and h.lane = from_lane and (h.day, h.mrn) > (after_day, after_mrn) order by h.day, h.mrn limit up_to;
        get diagnostics found_rows = row_count;
        if chosen = 0 and found_rows < up_to then
            return query select h.lane, h.day, h.mrn from held h
                where h.office = of_office and h.lane < from_lane order by h.lane desc, h.day, h.mrn limit up_to - found_rows;
        end if;
    end
    $body$
"""


def upgrade() -> None:
    """Create both."""
    op.execute("create index claim_officer on claim (officer, day, mrn)")
    op.execute(_FIND)
