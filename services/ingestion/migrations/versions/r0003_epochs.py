"""The outbox knows the store that it stands on, and begins an epoch by itself when the store goes back."""

from typing import Final

from alembic import op

from libs.feed import schema as feed

revision = "0003"
down_revision = "0002"
works_from = "0001"

# Numbers of a day are taken from a sequence of its own for each epoch. After a restore it begins where more calls than a day's seconds can have had
# would stand (906 a second), so no number is given again that the lost part of the log gave. Of the day of the upgrade, it begins behind what the
# release before has given and may still give.
_SERIALS: Final = """
    create function serial_block_take(wanted_day integer, second_of_day bigint) returns bigint language plpgsql as $body$
    declare
        name text := format('serial_block_%s_%s', wanted_day, feed_current_epoch());
        known bigint;
        first bigint := 0;
    begin
        if to_regclass(name) is null then
            perform pg_advisory_xact_lock(hashtextextended('luxor serial blocks', 0));
            -- Reading the catalogue also makes what another call has created meanwhile known to the second look.
            select max(last_value) from pg_sequences where schemaname = 'public' and (
                sequencename like format('serial^_block^_%s^_%%', wanted_day) escape '^'
                or sequencename = 'serial_block' and wanted_day <= (select day from serial_upgrade)) into known;
            if to_regclass(name) is null then
                if known is not null or exists (
                    select from feed_epoch where epoch > 1 and begun_at > clock_timestamp() - interval '1 day'
                ) then
                    first := second_of_day * 906;
                    if known >= first then
                        first := known + 1000000;
                    end if;
                end if;
                execute format('create sequence %I minvalue 0 maxvalue 78364163 start %s', name, first);
            end if;
        end if;
        return nextval(name::regclass);
    end
    $body$
"""


def upgrade() -> None:
    """Stamp the newest epoch, and give each day its own serial numbers; the release before goes on beside it."""
    feed.stamp_epochs(op)
    op.execute(
        "create table serial_upgrade as select floor(extract(epoch from clock_timestamp()) / 86400)::integer + 1 as day"
    )
    op.execute(
        "comment on table serial_upgrade is 'until which day the release before may take serial numbers from serial_block'"
    )
    op.execute(_SERIALS)
