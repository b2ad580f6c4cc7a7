"""Spans of batches and the W3C trace context.

A span here is two clock readings and a few ids: what is exported or kept is made of it later, off the hot path, once
the outermost span of this process (the root) has ended. So an unsampled batch costs next to nothing and can still be
told when it failed or was slow.

Source: W3C Trace Context, `traceparent` version 00; kinds and links as OpenTelemetry has them.
"""

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self

LINKS_MAX = 100
"""A batch links at most this many source calls."""

KEPT_MAX = 256
"""Spans that one outermost span keeps until it ends; more are left out and counted in its `spans_left_out`."""

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(5)
"""Kinds of spans, as OpenTelemetry numbers them."""

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16

AttributeValue = str | int | float | bool


class Span:
    """One stretch of work on a batch; times are nanoseconds since the epoch.

    It is its own context manager: it begins when the block does, and an exception that passes marks it as failed.
    """

    __slots__ = (
        "_token", "attributes", "end_nanos", "failure", "kept", "kind", "left_out", "links", "name", "parent_id", "root",
        "sampled", "span_id", "start_nanos", "trace_id", "wrote",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        trace_id: str,
        span_id: str,
        parent_id: str,
        sampled: bool,
        start_nanos: int = 0,
        *,
        kind: int = INTERNAL,
        root: "Span | None" = None,
    ) -> None:
        self.name = name
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.sampled = sampled
        self.kind = kind
        self.start_nanos = start_nanos
        self.end_nanos = 0
        self.failure = ""
        self.attributes: dict[str, AttributeValue] = {}
        self.links: tuple[str, ...] = ()
        self.root = root
        """The outermost span of this process that it stands in; None where it is that itself."""
        self.kept: list[Span] = []
        self.left_out = 0
        self.wrote = False
        """Of a root: whether a transaction of it committed, so that it is a part of somebody's story."""
        self._token: Token[Span | str] | None = None

    @property
    def traceparent(self) -> str:
        """Return the W3C header that makes others children of this span."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def set(self, **attributes: AttributeValue) -> None:
        """Add attributes."""
        self.attributes.update(attributes)

    def fail(self, reason: str) -> None:
        """Mark the span as failed, for a reason of the catalogue or an exception's name."""
        self.failure = reason

    def begin(self) -> Self:
        """Begin now, as the current span of this task."""
        self._token = _current.set(self)
        self.start_nanos = _settings.clock()
        return self

    def end(self) -> None:
        """End now; who opened a root hands it over with all that was kept in it."""
        # The wall clock may be set back while the span runs.
        self.end_nanos = max(_settings.clock(), self.start_nanos)
        if self._token is not None:
            try:  # noqa: SIM105  # suppress() costs as much as all the rest of a span
                _current.reset(self._token)
            except ValueError:
                pass  # an async generator that is left unfinished is closed elsewhere; there this is not the current span
            self._token = None
        _finish(self)

    def was(self, start_nanos: int, end_nanos: int) -> None:
        """Hand over as a span that has been, in place of `begin` and `end`."""
        self.start_nanos, self.end_nanos = start_nanos, max(start_nanos, end_nanos)
        _finish(self)

    def __enter__(self) -> Self:
        """Begin."""
        return self.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, failed where an exception passes."""
        if error is not None and not self.failure:
            self.fail(type(error).__name__)
        self.end()


class _Off(Span):
    """Stands for every span of a process whose telemetry is switched off: it passes on what came in and keeps nothing."""

    __slots__ = ()

    def begin(self) -> Self:
        return self

    def end(self) -> None:
        """Nothing was begun."""

    def was(self, start_nanos: int, end_nanos: int) -> None:
        """Keep nothing."""

    def set(self, **attributes: AttributeValue) -> None:
        """Keep nothing."""

    def fail(self, reason: str) -> None:
        """Keep nothing."""

    @property
    def traceparent(self) -> str:
        return traceparent()


Exporter = Callable[[Sequence[Span]], None]
Recorder = Callable[[Span], None]


class _Settings:
    ratio: float = 0.0
    slow_nanos: float = 1e9
    export: Exporter | None = None
    record: Recorder | None = None
    ids: random.Random
    clock: Callable[[], int]
    off: bool = False


_settings = _Settings()
_current: ContextVar[Span | str] = ContextVar("luxor_span", default="")
_off: Final = _Off("", _NO_TRACE, _NO_SPAN, "", False)


def configure(
    *,
    ratio: float,
    slow_seconds: float,
    export: Exporter | None,
    seed: int | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> None:
    """Set the head sampling ratio (0 to 1), when a span is slow, and where ended spans go (None: nowhere)."""
    _settings.ratio = ratio
    _settings.slow_nanos = slow_seconds * 1e9
    _settings.export = export
    _settings.clock = clock
    # Ids need to be unlike those of other processes, not secret: a generator seeded by the system is ten times faster.
    _settings.ids = random.Random(random.SystemRandom().getrandbits(128) if seed is None else seed)  # noqa: S311


def record_into(record: Recorder) -> None:
    """Hand roots to the service's own records as well: those that wrote, failed, were slow or are sampled."""
    _settings.record = record


def record_no_more(record: Recorder) -> None:
    """End what `record_into` began, unless another took its place."""
    if _settings.record == record:
        _settings.record = None


def switch(*, on: bool) -> None:
    """Switch all spans of this process off (or on again): contexts are passed on, nothing is measured."""
    _settings.off = not on


configure(ratio=0.0, slow_seconds=1.0, export=None)


def new_traceparent() -> str:
    """Return the context of a new trace, sampled by the head ratio."""
    flags = "01" if _settings.ids.random() < _settings.ratio else "00"
    return f"00-{_settings.ids.getrandbits(128) | 1:032x}-{_settings.ids.getrandbits(64) | 1:016x}-{flags}"


def valid_traceparent(text: str) -> bool:
    """Tell whether the text is a traceparent that may be passed on."""
    found = _TRACEPARENT.fullmatch(text)
    return found is not None and found[1] != _NO_TRACE and found[2] != _NO_SPAN


def is_sampled(header: str) -> bool:
    """Tell whether a valid traceparent says that its trace is sampled."""
    return bool(int(header[53:55], 16) & 1)


def traceparent() -> str:
    """Return the context of the work that is going on, to be sent along with it, or "" outside of any trace."""
    current = _current.get()
    return current if isinstance(current, str) else current.traceparent


def root_traceparent() -> str:
    """Return the context of the outermost span of this process that the work stands in, or as `traceparent` does."""
    current = _current.get()
    return current if isinstance(current, str) else (current.root or current).traceparent


def trace_id() -> str:
    """Return the trace id of the work that is going on, or ""."""
    current = _current.get()
    return current[3:35] if isinstance(current, str) else current.trace_id


def sampled() -> bool:
    """Tell whether the trace of the work that is going on is sampled, so that its id may stand as an exemplar."""
    current = _current.get()
    return current.sampled if isinstance(current, Span) else bool(current) and is_sampled(current)


def exemplar(seconds: float) -> str:
    """Return the id of the current trace where a span of so many seconds of it is kept (it is sampled, or slow), or ""."""
    current = _current.get()
    if isinstance(current, Span):
        return current.trace_id if current.sampled or seconds * 1e9 >= _settings.slow_nanos else ""
    return current[3:35] if current and is_sampled(current) else ""


def current_span() -> Span | None:
    """Return the span that is going on in this task, or None: also where its root has ended before this work."""
    current = _current.get()
    if isinstance(current, str) or (current.root or current).end_nanos:
        return None
    return current


def note(**attributes: AttributeValue) -> None:
    """Add attributes to the span that is going on, where there is one."""
    current = current_span()
    if current is not None:
        current.attributes.update(attributes)


def use_traceparent(header: str) -> None:
    """Go on with a trace from elsewhere for the rest of this task; what is no traceparent starts a new one."""
    _current.set(header if valid_traceparent(header) else new_traceparent())


def span(
    name: str,
    links: Sequence[str] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    parent: str | None = None,
    kind: int = INTERNAL,
) -> Span:
    """Measure one stretch of work on a batch: `with span("risk.assess"): …`.

    `links` are traceparents of the calls that the batch was made of, of which the first 100 are kept. `parent` is a
    traceparent to hang the span under in place of the current one. The span is exported if its trace is sampled, or if
    the outermost span of this process failed or was slow.
    """
    if _settings.off:
        return _off
    here = _current.get() if parent is None else (parent if valid_traceparent(parent) else new_traceparent())
    ids = _settings.ids
    number = f"{ids.getrandbits(64) | 1:016x}"
    if isinstance(here, Span):
        root = here.root or here
        made = Span(
            name, here.trace_id, number, here.span_id, here.sampled, kind=kind, root=None if root.end_nanos else root
        )
    elif here:
        made = Span(name, here[3:35], number, here[36:52], is_sampled(here), kind=kind)
    else:
        made = Span(name, f"{ids.getrandbits(128) | 1:032x}", number, "", ids.random() < _settings.ratio, kind=kind)
    if attributes:
        made.attributes.update(attributes)
    if links:
        made.links = tuple(links[:LINKS_MAX])
        if len(links) > LINKS_MAX:
            made.attributes["links_left_out"] = len(links) - LINKS_MAX
    return made


def client_span(name: str, attributes: Mapping[str, AttributeValue] | None = None) -> Span:
    """Measure a call to a neighbour; the call is to be made inside of the block, so that it carries this span."""
    return span(name, attributes=attributes, kind=CLIENT)


def server_span(name: str, header: str) -> Span:
    """Measure a call that is served, under the caller's context; what is no traceparent starts a new trace."""
    known = valid_traceparent(header)
    if _settings.off:
        use_traceparent(header)
        return _off
    made = span(name, parent=header if known else "", kind=SERVER)
    if not known:
        made.parent_id = ""
    return made


def sample_head(made: Span) -> None:
    """Decide at the head: a trace that comes from outside of the system unsampled is sampled by our own ratio."""
    if made.parent_id and not made.sampled and _settings.ids.random() < _settings.ratio:
        made.sampled = True


def batch_span(
    name: str,
    sources: Sequence[str],
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    kind: int = INTERNAL,
) -> Span:
    """Measure work on a batch that was made of others' work, of which `sources` are the traceparents.

    Where all of it is of one trace, the span is a part of that trace. Where it is of several, it is a part of what is
    going on, or else a trace of its own that is sampled if one of them is. All distinct sources are linked, and what is
    going on too where the span stands in another trace.
    """
    if _settings.off:
        return _off
    links = [each for each in dict.fromkeys(sources) if valid_traceparent(each)]
    around = current_span()
    if len({each[3:35] for each in links}) == 1:
        if around is None or around.trace_id != links[0][3:35]:
            more = [] if around is None else [around.traceparent]
            return span(name, [*links, *more], attributes, parent=links[0], kind=kind)
        return span(name, links, attributes, kind=kind)
    made = span(name, links, attributes, kind=kind)
    if around is None and links:
        made.sampled = any(map(is_sampled, links))
    return made


def _finish(ended: Span) -> None:
    export, record = _settings.export, _settings.record
    if export is None and record is None:
        return
    root = ended.root
    if root is not None:
        if len(root.kept) < KEPT_MAX and not root.end_nanos:
            root.kept.append(ended)
        else:
            root.left_out += 1
        if ended.failure and not root.failure:
            root.attributes.setdefault("failed_within", ended.name)
        return
    if ended.left_out:
        ended.attributes["spans_left_out"] = ended.left_out
    telling = (
        ended.sampled
        or bool(ended.failure)
        or ended.end_nanos - ended.start_nanos >= _settings.slow_nanos
        or "failed_within" in ended.attributes
    )
    if telling and export is not None:
        export([ended, *ended.kept])
    if record is not None and (telling or ended.wrote):
        record(ended)
