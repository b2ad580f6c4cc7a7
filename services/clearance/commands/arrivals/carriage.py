"""The bindings of carriers for a batch of filings, and the report of arrivals without effect.

Every command that changes a consignment locks its row first, always in the order of (day, MRN), reads the state that the row refers to, and stores
the next version. So the consumer, arrivals and officers never lose each other's changes. A filing and its arrival meet because a command that
inserts filings blocks arrivals of their documents until it has committed, and reads the arrivals behind that lock.
"""

from collections.abc import Sequence

from libs.columns import Strings, Table
from libs.store.database import Transaction
from services.clearance.carriage.binding import Register
from services.clearance.consignment.state.transport_numbers import only_receptacle
from services.clearance.metrics import count_unbound
from services.clearance.store import Store


async def bindings_of(store: Store, tx: Transaction, table: Table) -> Register:
    """Return the bindings that concern these consignments."""
    masters, carriers, receptacles = carriage(table)
    return await store.carriers.register(tx, {*masters.dictionary, *receptacles.dictionary}, carriers.dictionary)


async def report_without_effect(store: Store, tx: Transaction, arrivals: Sequence[tuple[str, str]]) -> None:
    """Report arrivals, by document and carrier, that have no effect on some filings."""
    if arrivals:
        await store.carriers.note_refused(tx, arrivals, await store.now(tx), recorded=True)
        tx.after_commit(lambda: count_unbound("without_effect", len(arrivals)))


def carriage(table: Table) -> tuple[Strings, Strings, Strings]:
    """Return the columns that bindings depend on: the master document, the carrier that the filing names, and the receptacle of all of its goods."""
    return table.strings("master_document_number"), table.strings("carrier_identifier"), only_receptacle(table)
