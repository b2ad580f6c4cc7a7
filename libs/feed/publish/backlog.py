"""The delay of a consumer with the events of this process, as a limit of admission.

What is accepted faster than the consumer works it off waits longer and longer, and nothing of it helps anybody. So the
producer refuses at its entry what would wait for more than `WAIT_SECONDS`: a window of rows may be unconfirmed. How long rows
waited behind how many others says how many may (Little's law). A consumer that does not work at all is another matter: then
what is accepted waits for it, however long, and nothing is refused.

Each replica of a producer counts what it accepted itself. Replicas share one feed, so all wait equally long. The consumer
reports its positions to one replica after the other; what it reported to others comes from the store (libs.feed.publish.shared_positions).

Little: A Proof for the Queuing Formula L = λW, 1961.
"""

from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final, NamedTuple

from libs.customs.partitions import PARTITIONS
from libs.feed.metrics import UNCONFIRMED, UNCONFIRMED_MAX
from libs.feed.types import Cursor

WAIT_SECONDS: Final = 1.25
"""What is accepted may take so long to be confirmed. It is decided somewhat sooner: a page is confirmed with the next one."""
ROWS_FIRST: Final = 2_000
ROWS_MIN: Final = 250
"""Below so many unconfirmed rows a call is admitted, however large it is and however slow the consumer."""
ROWS_MAX: Final = 1_000_000
LESS_MOST: Final = 0.5
MORE_MOST: Final = 2.0
"""Bounds of one correction of what may be unconfirmed."""
SPARE: Final = 1.25
SPARE_ROWS: Final = 1_000
"""Callers below their fair share may fill the backlog up to a multiple and so many rows: the largest batch of another caller."""
BYTES_A_ROW_FIRST: Final = 700.0
RATE_FIRST: Final = 1_500.0
WINDOW_SECONDS: Final = 3.0
MEASURED_SECONDS: Final = 0.5
SILENT_SECONDS: Final = 5.0
"""A consumer that has confirmed nothing for so long does not work, or not on this."""
CATCH_UP_SECONDS: Final = 3.0
"""From this wait on the consumer catches up with a time in which it did not work: half of what it confirms may be accepted."""
ENTRIES_MAX: Final = 10_000


class _Entry(NamedTuple):
    xid: int
    rows: int
    since: float
    queue: int
    """Rows that were unconfirmed then, with its own."""


class Backlog:
    """The rows that were accepted here and that `consumer` has not confirmed: a Brake of libs.server.admission.overload."""

    reason = "DECISIONS_BEHIND"

    def __init__(self, consumer: str, *, clock: Callable[[], float] = monotonic) -> None:
        """Count for one consumer; until all partitions have a position of it, nothing is held back."""
        self.consumer = consumer
        self.rows = 0
        """Rows accepted and not confirmed."""
        self.rate = RATE_FIRST
        """Rows that the consumer confirmed in a second lately."""
        self.rows_max = float(ROWS_FIRST)
        """Rows that may be unconfirmed now."""
        self._clock = clock
        self._positions: dict[int, tuple[int, int, int]] = {}
        self._epoch = 0
        self._entries: deque[_Entry] = deque()
        self._confirmed: deque[tuple[float, int]] = deque()
        self._bytes_a_row = BYTES_A_ROW_FIRST
        self._allowance = 0.0
        self._progress_at = float("-inf")
        self._refused = False
        self._reported_at = float("-inf")
        self._admit: Callable[[], None] = lambda: None
        UNCONFIRMED.labels(consumer).set_function(lambda: self.rows)
        UNCONFIRMED_MAX.labels(consumer).set_function(lambda: self.rows_max)

    def on_room(self, admit: Callable[[], None]) -> None:
        """Call `admit` whenever there is room again."""
        self._admit = admit

    def accepted(self, xid: int, rows: int, size: int) -> None:
        """Count rows that a committed transaction accepted, of a request of so many bytes."""
        now = self._clock()
        self._bytes_a_row += (size / rows - self._bytes_a_row) * 0.1
        if not self.rows:
            self._progress_at = now
            self._confirmed.clear()
            self._confirmed.append((now, 0))
        self.rows += rows
        self._allowance -= rows
        if len(self._entries) >= ENTRIES_MAX:
            last = self._entries.pop()
            self._entries.append(_Entry(max(xid, last.xid), rows + last.rows, last.since, last.queue))
        else:
            self._entries.append(_Entry(xid, rows, now, self.rows))

    def confirm(self, positions: Mapping[int, Cursor]) -> None:
        """Take how far the consumer has committed, in some partitions or in all."""
        now = self._clock()
        self._positions.update({partition: cursor.place for partition, cursor in positions.items()})
        if len(self._positions) < PARTITIONS:
            return
        # While nothing was held back, a wait counts up to the report that showed it: afterwards there may have been none to make.
        refused, until = self._refused, now if self._refused else self._reported_at
        self._refused, self._reported_at = False, now
        epoch, xid, seq = min(self._positions.values())
        rows, wait, queue = 0, 0.0, 0
        # The numbers of transactions compare within an epoch only.
        reset = epoch != self._epoch
        self._epoch = epoch
        while self._entries and (reset or self._entries[0].xid < xid or (self._entries[0].xid == xid and seq)):
            entry = self._entries.popleft()
            rows += entry.rows
            if until - entry.since > wait:
                wait, queue = until - entry.since, entry.queue
        if not rows:
            return
        self.rows -= rows
        self._allowance = min(max(self._allowance, -self.rows_max) + rows / 2, self.rows_max)
        self._progress_at = now
        if not reset:
            self._measure(now, rows)
            if wait:
                self._correct(queue * WAIT_SECONDS / wait, wait, refused)
        self._admit()

    def lacks_report(self, seconds: float) -> bool:
        """Return whether rows have been unconfirmed for so long, and nothing has been reported meanwhile."""
        return bool(self._entries) and self._clock() - max(self._entries[0].since, self._reported_at) >= seconds

    def room(self, running: int, *, spare: bool) -> bool:
        """Return whether a call may run beside `running` bytes of others; `spare` for a caller below its fair share."""
        # A call that begins below the limit may go beyond it: otherwise none that is larger than the limit ever got in.
        expected = self.rows + running / self._bytes_a_row
        most = self.rows_max * SPARE + SPARE_ROWS if spare else self.rows_max
        if expected < most or len(self._positions) < PARTITIONS:
            return True
        now = self._clock()
        if now - self._progress_at > SILENT_SECONDS and self.rows:
            return True
        if self._entries and now - self._entries[0].since > CATCH_UP_SECONDS:
            return self._allowance > running / self._bytes_a_row
        self._refused = True
        return False

    def seconds(self) -> float:
        """Return after how many seconds there should be room."""
        return max(0.1, (self.rows - self.rows_max) / max(self.rate, 1.0))

    def _measure(self, now: float, rows: int) -> None:
        """Take the rate over the last seconds."""
        confirmed = self._confirmed
        confirmed.append((now, rows))
        while len(confirmed) > 2 and now - confirmed[0][0] > WINDOW_SECONDS:
            confirmed.popleft()
        seconds = now - confirmed[0][0]
        if seconds >= MEASURED_SECONDS:
            self.rate = (sum(count for _, count in confirmed) - confirmed[0][1]) / seconds

    def _correct(self, rows: float, wait: float, refused: bool) -> None:
        """Correct what may be unconfirmed: by the wait that was, `rows` wait for WAIT_SECONDS."""
        # A consumer that gets little at a time shows less than it can do, so a short queue says nothing of a longer one.
        if wait > WAIT_SECONDS and rows < self.rows_max:
            self.rows_max = max(rows, self.rows_max * LESS_MOST, ROWS_MIN)
        elif refused and rows > self.rows_max:
            self.rows_max = min((self.rows_max + rows) / 2, self.rows_max * MORE_MOST, ROWS_MAX)
