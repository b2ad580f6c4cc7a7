"""Spans of batches and the W3C trace context.

A span here is two clock readings and a few ids: OpenTelemetry's own objects are made only for what is exported, after
the outermost span of this process has ended. So an unsampled batch costs next to nothing and can still be told when it
failed or was slow.

Source: W3C Trace Context, `traceparent` version 00.
"""

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

LINKS_MAX = 100
"""A batch links at most this many source calls."""

KEPT_MAX = 256
"""Spans that one outermost span keeps until it ends; more are left out and counted in its `spans_left_out`."""

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16

AttributeValue = str | int | float | bool


@dataclass(slots=True)
class Span:
    """One stretch of work on a batch; times are nanoseconds since the epoch."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool
    start_nanos: int
    end_nanos: int = 0
    failure: str = ""
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    root: "Span | None" = None
    kept: list["Span"] = field(default_factory=list)
    left_out: int = 0

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


Exporter = Callable[[Sequence[Span]], None]


@dataclass(slots=True)
class _Settings:
    ratio: float = 0.0
    slow_seconds: float = 1.0
    export: Exporter | None = None
    ids: random.Random = field(default_factory=random.Random)
    clock: Callable[[], int] = time.time_ns


_settings = _Settings()
_current: ContextVar[Span | str] = ContextVar("luxor_span", default="")


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
    _settings.slow_seconds = slow_seconds
    _settings.export = export
    _settings.clock = clock
    # Ids need to be unlike those of other processes, not secret: a generator seeded by the system is ten times faster.
    _settings.ids = random.Random(random.SystemRandom().getrandbits(128) if seed is None else seed)  # noqa: S311


configure(ratio=0.0, slow_seconds=1.0, export=None)


def new_traceparent() -> str:
    """Return the context of a new trace, sampled by the head ratio."""
    flags = "01" if _settings.ids.random() < _settings.ratio else "00"
    return f"00-{_settings.ids.getrandbits(128) | 1:032x}-{_settings.ids.getrandbits(64) | 1:016x}-{flags}"


def valid_traceparent(text: str) -> bool:
    """Tell whether the text is a traceparent that may be passed on."""
    found = _TRACEPARENT.fullmatch(text)
    return found is not None and found[1] != _NO_TRACE and found[2] != _NO_SPAN


def traceparent() -> str:
    """Return the context of the work that is going on, to be sent along with it, or "" outside of any trace."""
    current = _current.get()
    return current if isinstance(current, str) else current.traceparent


def trace_id() -> str:
    """Return the trace id of the work that is going on, or ""."""
    current = _current.get()
    return current[3:35] if isinstance(current, str) else current.trace_id


def use_traceparent(header: str) -> None:
    """Go on with a trace from elsewhere for the rest of this task; what is no traceparent starts a new one."""
    _current.set(header if valid_traceparent(header) else new_traceparent())


@contextmanager
def span(
    name: str,
    links: Sequence[str] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    parent: str | None = None,
) -> Iterator[Span]:
    """Measure one stretch of work on a batch; an exception that passes marks it as failed.

    `links` are traceparents of the calls that the batch was made of, of which the first 100 are kept. `parent` is a
    traceparent to hang the span under in place of the current one. The span is exported if its trace is sampled, or if
    the outermost span of this process failed or was slow.
    """
    here = _current.get() if parent is None else (parent if valid_traceparent(parent) else new_traceparent())
    root: Span | None = None
    if isinstance(here, Span):
        root = here.root or here
        trace, above, sampled = here.trace_id, here.span_id, here.sampled
    elif here:
        trace, above, sampled = here[3:35], here[36:52], here[53:55] == "01"
    else:
        fresh = new_traceparent()
        trace, above, sampled = fresh[3:35], "", fresh[53:55] == "01"
    started = _settings.clock()
    current = Span(name, trace, f"{_settings.ids.getrandbits(64) | 1:016x}", above, sampled, started, root=root)
    if attributes:
        current.attributes.update(attributes)
    if links:
        current.links = tuple(links[:LINKS_MAX])
        if len(links) > LINKS_MAX:
            current.attributes["links_left_out"] = len(links) - LINKS_MAX
    token = _current.set(current)
    try:
        yield current
    except BaseException as error:
        current.failure = current.failure or type(error).__name__
        raise
    finally:
        _current.reset(token)
        # The wall clock may be set back while the span runs.
        current.end_nanos = max(_settings.clock(), started)
        _finish(current)


def _finish(current: Span) -> None:
    if _settings.export is None:
        return
    root = current.root
    if root is not None:
        if len(root.kept) < KEPT_MAX:
            root.kept.append(current)
        else:
            root.left_out += 1
        if current.failure and not root.failure:
            root.attributes.setdefault("failed_within", current.name)
        return
    slow = current.end_nanos - current.start_nanos >= _settings.slow_seconds * 1e9
    if current.sampled or current.failure or slow or "failed_within" in current.attributes:
        if current.left_out:
            current.attributes["spans_left_out"] = current.left_out
        _settings.export([current, *current.kept])
