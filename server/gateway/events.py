"""Server-sent events in a byte stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVENT_END: Final = b"\n\n"


class EventSplitter:
    """Cuts a byte stream into server-sent events. Holds only what does not end yet."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The events that ``chunk`` completes, without their ends."""
        *events, self._held = (self._held + chunk).split(_EVENT_END)
        yield from events

    def rest(self) -> bytes:
        """What is left at the end of the stream."""
        return self._held


def join(events: list[bytes]) -> bytes:
    """Events with their ends."""
    return b"".join(event + _EVENT_END for event in events)
