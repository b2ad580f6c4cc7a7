"""Spans of batches and the W3C trace context.

A span is two clock readings and some ids. The exported or stored form is made later, off the hot path, when the outermost span of
this process (the root) has ended. So an unsampled batch costs next to nothing and can still be exported if it failed or was slow.
Source: kinds and links as in OpenTelemetry.
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self

from libs.telemetry.context import NO_SPAN, NO_TRACE, is_sampled, span_of, trace_of, valid_traceparent
from libs.telemetry.sampling import configure, count_late, record_into, record_no_more, settings, switch

LINKS_MAX = 100
"""A batch links at most this many source calls."""

CHILD_SPANS_MAX = 256
"""Largest number of inner spans that an outermost span collects; further ones are counted in its `spans_left_out`."""

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(5)
"""Kinds of spans, as OpenTelemetry numbers them."""

AttributeValue = str | int | float | bool

__all__ = [
    "CHILD_SPANS_MAX",
    "CLIENT",
    "CONSUMER",
    "INTERNAL",
    "LINKS_MAX",
    "PRODUCER",
    "SERVER",
    "AttributeValue",
    "Span",
    "batch_span",
    "client_span",
    "configure",
    "count_late",
    "current_span",
    "exemplar",
    "is_sampled",
    "new_traceparent",
    "note",
    "record_into",
    "record_no_more",
    "root_traceparent",
    "sample_head",
    "sampled",
    "server_span",
    "span",
    "span_of",
    "switch",
    "trace_id",
    "trace_of",
    "traceparent",
    "unsample_head",
    "use_traceparent",
    "valid_traceparent",
]  # fmt: skip


class Span:
    """One timed step of work on a batch; times are nanoseconds since the epoch.

    It is its own context manager: it begins with the block, and an exception that passes marks it as failed.
    """

    __slots__ = (
        "_token",
        "around",
        "attributes",
        "child_spans",
        "end_nanos",
        "failure",
        "kind",
        "left_out",
        "links",
        "name",
        "parent_id",
        "parts",
        "root",
        "sampled",
        "span_id",
        "start_nanos",
        "trace_id",
        "wrote",
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
        """The outermost span of this process around it; None if it is that span itself."""
        self.around: Span | None = None
        """Of a root: the root of the mixed batch that it is a part of; it is recorded with it."""
        self.parts: list[Span] = []
        """Of a root: parts in traces of their own that ended and are not recorded by themselves."""
        self.child_spans: list[Span] = []
        self.left_out = 0
        self.wrote = False
        """Of a root: whether one of its transactions committed, so that it concerns a consignment."""
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
        self._token = current_context.set(self)
        self.start_nanos = settings.clock()
        return self

    def end(self) -> None:
        """End now; the end of a root hands it over with all spans that it collected."""
        # The wall clock may be set back while the span runs.
        self.end_nanos = max(settings.clock(), self.start_nanos)
        if self._token is not None:
            try:  # noqa: SIM105  # suppress() costs as much as all the rest of a span
                current_context.reset(self._token)
            except ValueError:
                pass  # an async generator that is left unfinished is closed elsewhere; there this is not the current span
            self._token = None
        _finish(self)

    def was(self, start_nanos: int, end_nanos: int) -> None:
        """Record a span with given times, instead of `begin` and `end`."""
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
    """Replaces every span of a process without telemetry: it forwards the received context and records nothing."""

    __slots__ = ()

    def begin(self) -> Self:
        return self

    def end(self) -> None:
        """Nothing was begun."""

    def was(self, start_nanos: int, end_nanos: int) -> None:
        """Do nothing."""

    def set(self, **attributes: AttributeValue) -> None:
        """Do nothing."""

    def fail(self, reason: str) -> None:
        """Do nothing."""

    @property
    def traceparent(self) -> str:
        return traceparent()


current_context: ContextVar[Span | str] = ContextVar("luxor_span", default="")
_off: Final = _Off("", NO_TRACE, NO_SPAN, "", False)


def new_traceparent() -> str:
    """Return the context of a new trace, sampled by the head ratio."""
    flags = "01" if settings.draw() else "00"
    return f"00-{settings.ids.getrandbits(128) | 1:032x}-{settings.ids.getrandbits(64) | 1:016x}-{flags}"


def traceparent() -> str:
    """Return the context of the current work, to be sent along with it, or "" outside of any trace."""
    current = current_context.get()
    return current if isinstance(current, str) else current.traceparent


def root_traceparent() -> str:
    """Return the context of the outermost span of this process around the current work, or the same as `traceparent`."""
    current = current_context.get()
    return current if isinstance(current, str) else (current.root or current).traceparent


def trace_id() -> str:
    """Return the trace id of the current work, or ""."""
    current = current_context.get()
    return trace_of(current) if isinstance(current, str) else current.trace_id


def sampled() -> bool:
    """Return whether the trace of the current work is sampled, so that its id may be an exemplar."""
    current = current_context.get()
    return current.sampled if isinstance(current, Span) else bool(current) and is_sampled(current)


def exemplar(seconds: float) -> str:
    """Return the id of the current trace if a span of so many seconds is recorded (it is sampled, or slow), else ""."""
    current = current_context.get()
    if isinstance(current, Span):
        return current.trace_id if current.sampled or seconds * 1e9 >= settings.slow_nanos else ""
    return trace_of(current) if current and is_sampled(current) else ""


def current_span() -> Span | None:
    """Return the current span of this task, or None, also if its root ended before this work."""
    current = current_context.get()
    if isinstance(current, str) or (current.root or current).end_nanos:
        return None
    return current


def note(**attributes: AttributeValue) -> None:
    """Add attributes to the current span, if there is one."""
    current = current_span()
    if current is not None:
        current.attributes.update(attributes)


def use_traceparent(header: str) -> None:
    """Continue a received trace for the rest of this task; an invalid traceparent starts a new one."""
    current_context.set(header if valid_traceparent(header) else new_traceparent())


def span(
    name: str,
    links: Sequence[str] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    parent: str | None = None,
    kind: int = INTERNAL,
) -> Span:
    """Measure one step of work on a batch: `with span("risk.assess"): …`.

    `links` are traceparents of the calls that the batch was made of, of which the first 100 are recorded. `parent` is the
    traceparent of the parent span instead of the current one. The span is exported if its trace is sampled, or if the outermost
    span of this process failed or was slow.
    """
    if settings.off:
        return _off
    here = current_context.get() if parent is None else (parent if valid_traceparent(parent) else new_traceparent())
    ids = settings.ids
    number = f"{ids.getrandbits(64) | 1:016x}"
    if isinstance(here, Span):
        root = here.root or here
        made = Span(
            name, here.trace_id, number, here.span_id, here.sampled, kind=kind, root=None if root.end_nanos else root
        )
    elif here:
        made = Span(name, trace_of(here), number, span_of(here), is_sampled(here), kind=kind)
    else:
        made = Span(name, f"{ids.getrandbits(128) | 1:032x}", number, "", settings.draw(), kind=kind)
    if attributes:
        made.attributes.update(attributes)
    if links:
        made.links = tuple(links[:LINKS_MAX])
        if len(links) > LINKS_MAX:
            made.attributes["links_left_out"] = len(links) - LINKS_MAX
    return made


def client_span(name: str, attributes: Mapping[str, AttributeValue] | None = None) -> Span:
    """Measure a call to a neighbour; make the call inside the block, so that it carries this span."""
    return span(name, attributes=attributes, kind=CLIENT)


def server_span(name: str, header: str) -> Span:
    """Measure a served call, under the caller's context; an invalid traceparent starts a new trace."""
    known = valid_traceparent(header)
    if settings.off:
        use_traceparent(header)
        return _off
    made = span(name, parent=header if known else "", kind=SERVER)
    if not known:
        made.parent_id = ""
    return made


def sample_head(made: Span) -> None:
    """Decide at the head whether the trace of a call from outside of the system is sampled.

    Our own ratio decides, not the caller: the caller's flag counts for one call a second of this process. Its trace and span ids
    stay.
    """
    if made.parent_id:  # otherwise it was drawn for as a new trace
        made.sampled = settings.draw() or (made.sampled and settings.granted())


def unsample_head() -> None:
    """Remove a flag from outside from a call without a span: it is not recorded, and does not count for the one call a second."""
    current = current_context.get()
    if isinstance(current, str) and is_sampled(current):
        current_context.set(f"{current[:-2]}00")


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
    going on too where the span stands in another trace; then it is recorded where what is going on is: a part of a
    mixed batch wrote something if the batch did.
    """
    if settings.off:
        return _off
    links = [each for each in dict.fromkeys(sources) if valid_traceparent(each)]
    around = current_span()
    if len(set(map(trace_of, links))) == 1:
        if around is None or around.trace_id != trace_of(links[0]):
            more = [] if around is None else [around.traceparent]
            # The batch comes first, because the last of too many links are left out.
            made = span(name, [*more, *links], attributes, parent=links[0], kind=kind)
            made.around = None if around is None else around.root or around
            return made
        return span(name, links, attributes, kind=kind)
    made = span(name, links, attributes, kind=kind)
    if around is None and links:
        made.sampled = any(map(is_sampled, links))
    return made


def _finish(ended: Span) -> None:
    if settings.export is None and settings.record is None:
        return
    root = ended.root
    if root is None:
        _finish_root(ended)
    elif root.end_nanos:  # it was handed over, maybe to a thread that reads it now
        settings.late()
    else:
        if len(root.child_spans) < CHILD_SPANS_MAX:
            root.child_spans.append(ended)
        else:
            root.left_out += 1
        if ended.failure and not root.failure:
            root.attributes.setdefault("failed_within", ended.name)


def _finish_root(ended: Span) -> None:
    if ended.left_out:
        ended.attributes["spans_left_out"] = ended.left_out
    telling = (
        ended.sampled
        or bool(ended.failure)
        or ended.end_nanos - ended.start_nanos >= settings.slow_nanos
        or "failed_within" in ended.attributes
    )
    around = ended.around
    if not (telling or ended.wrote) and around is not None and not around.end_nanos:
        if len(around.parts) < CHILD_SPANS_MAX:
            around.parts.append(ended)
        else:
            around.left_out += 1 + len(ended.child_spans)
        return
    # Parts in other traces that are not recorded by themselves are recorded with the batch that they belong to.
    parts, ended.parts = ended.parts, []
    for each in (ended, *parts):
        if telling and settings.export is not None:
            settings.export([each, *each.child_spans])
        if (telling or ended.wrote) and settings.record is not None:
            settings.record(each)
