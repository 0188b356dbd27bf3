"""Token counts of the client's own prompt, in an answer to a changed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from server.api.splice import members, spliced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from server.api.splice import Value

_EVENT_END: Final = b"\n\n"
_DATA: Final = b"data: "

# vLLM reports an error inside a stream as an event. After an intervention it may speak of what the
# gateway sent, which is not the client's affair.
_BROKEN: Final = orjson.dumps(
    {"error": {"message": "The generation failed.", "type": "api_error", "param": None, "code": "generation_failed"}}
)


class Usage:
    """Corrects ``usage`` in answers to one request.

    Args:
        counts: tokens of each of the client's prompts.
        choices: choices for each prompt (``n``).
    """

    __slots__ = ("_choices", "_counts", "completion")

    def __init__(self, counts: Sequence[int], choices: int = 1) -> None:
        self._counts = tuple(counts)
        self._choices = max(choices, 1)
        self.completion: int | None = None
        """Tokens generated, where the upstream's own figure counts some that did not leave."""

    def whole(self, body: bytes) -> bytes:
        """A JSON answer with its usage corrected. Raises ValueError if it is no JSON object."""
        text = body.decode()
        return self._corrected(text, members(text), sum(self._counts), final=True).encode()

    def event(self, event: bytes) -> bytes:
        """An event of a stream, without its end, with its usage corrected. Raises ValueError as ``whole`` does."""
        if not (event.startswith(_DATA) and (b'"usage"' in event or b'"error"' in event)):
            return event
        text = event.decode()
        chunk = members(text, len(_DATA))
        if "error" in chunk:
            return _DATA + _BROKEN
        # A running count belongs to the chunk's prompt, the final one to all of them (vLLM 0.32).
        choices = chunk["choices"].value if "choices" in chunk else None
        count = self._counts_of(choices[0]["index"]) if choices else sum(self._counts)
        return self._corrected(text, chunk, count, final=not choices).encode()

    def _counts_of(self, index: int) -> int:
        return self._counts[min(index // self._choices, len(self._counts) - 1)]

    def _corrected(self, text: str, answer: Mapping[str, Value], count: int, *, final: bool) -> str:
        usage = answer.get("usage")
        if usage is None or not isinstance(usage.value, dict):
            return text
        figures = members(text, usage.start)
        completion = usage.value.get("completion_tokens") or 0
        if self.completion is not None and final:
            completion = self.completion
        new = {"prompt_tokens": count, "completion_tokens": completion, "total_tokens": count + completion}
        edits = [(figures[name], str(figure)) for name, figure in new.items() if name in figures]
        details = figures.get("prompt_tokens_details")
        if details is not None and isinstance(details.value, dict):
            cached = members(text, details.start).get("cached_tokens")
            if cached is not None and isinstance(cached.value, int):
                # The changed prompt's cache, as far as it could be the client's own.
                edits.append((cached, str(min(cached.value, max(count - 1, 0)))))
        return spliced(text, edits)


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
