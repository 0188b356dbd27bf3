"""Token counts of the client's own prompt, in an answer to a changed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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

    __slots__ = ("_choices", "_counts")

    def __init__(self, counts: Sequence[int], choices: int = 1) -> None:
        self._counts = tuple(counts)
        self._choices = max(choices, 1)

    def whole(self, body: bytes) -> bytes:
        """A JSON answer with its usage corrected."""
        answer = orjson.loads(body)
        self._correct(answer, sum(self._counts))
        return orjson.dumps(answer)

    def event(self, event: bytes) -> bytes:
        """An event of a stream, without its end, with its usage corrected."""
        if not (event.startswith(_DATA) and (b'"usage":{' in event or event.startswith(b'data: {"error"'))):
            return event
        answer = orjson.loads(event[len(_DATA) :])
        if "error" in answer:
            return _DATA + _BROKEN
        # A running count belongs to the chunk's prompt, the final one to all of them (vLLM 0.32).
        choices = answer.get("choices")
        self._correct(answer, self._counts_of(choices[0]["index"]) if choices else sum(self._counts))
        return _DATA + orjson.dumps(answer)

    def _counts_of(self, index: int) -> int:
        return self._counts[min(index // self._choices, len(self._counts) - 1)]

    def _correct(self, answer: dict[str, Any], count: int) -> None:
        usage = answer.get("usage")
        if not isinstance(usage, dict):
            return
        usage["prompt_tokens"] = count
        usage["total_tokens"] = count + (usage.get("completion_tokens") or 0)
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict) and isinstance(cached := details.get("cached_tokens"), int):
            # The changed prompt's cache, as far as it could be the client's own.
            details["cached_tokens"] = min(cached, max(count - 1, 0))


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
