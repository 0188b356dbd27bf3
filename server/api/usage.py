"""What an answer says of its request: that to a changed request must say it of the client's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

import orjson

from server.api.splice import dumps, members, spliced
from server.api.sse import data_of, name_of, start_of, written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from server.api.splice import Value

_DATA: Final = b"data: "

# vLLM reports an error inside a stream as an event. After an intervention it may speak of what the
# gateway sent, which is not the client's affair.
_FAILURE: Final = "The generation failed."
_FAILED: Final = "generation_failed"
_BROKEN: Final = orjson.dumps({"error": {"message": _FAILURE, "type": "api_error", "param": None, "code": _FAILED}})


class Usage(ABC):
    """Corrects token counts in answers to one request, byte for byte beside them.

    ``model``: the name that was sent, and the client's own, where an adapter answers in the model's place.
    """

    model: tuple[str, str] | None = None

    completion: int | None = None
    """Tokens generated, where the upstream's own figure counts some that did not leave."""

    def _names(self, within: Mapping[str, Value]) -> list[tuple[Value, str]]:
        """Edits that let an answer, or the part of it that names its model, name the client's."""
        named = within.get("model")
        if self.model is None or named is None or named.value != self.model[0]:
            return []
        return [(named, dumps(self.model[1]))]

    @abstractmethod
    def whole(self, body: bytes) -> bytes:
        """A JSON answer with its usage corrected. Raises ValueError if it is no JSON object."""

    @abstractmethod
    def event(self, event: bytes) -> bytes:
        """An event of a stream with its usage corrected. Raises ValueError as ``whole`` does."""


class ChoicesUsage(Usage):
    """Of chats and completions.

    Args:
        counts: tokens of each of the client's prompts.
        choices: choices for each prompt (``n``).
    """

    def __init__(self, counts: Sequence[int], choices: int = 1) -> None:
        self._counts = tuple(counts)
        self._choices = max(choices, 1)

    def whole(self, body: bytes) -> bytes:
        text = body.decode()
        return self._corrected(text, members(text), sum(self._counts), final=True).encode()

    def event(self, event: bytes) -> bytes:
        renames = self.model is not None and b'"model"' in event
        if not (event.startswith(_DATA) and (renames or b'"usage"' in event or b'"error"' in event)):
            return event
        text = event.decode()
        chunk = members(text, len(_DATA))
        if "error" in chunk:
            return _DATA + _BROKEN + b"\n\n"
        # A running count belongs to the chunk's prompt, the final one to all of them (vLLM 0.32).
        choices = chunk["choices"].value if "choices" in chunk else None
        count = self._counts_of(choices[0]["index"]) if choices else sum(self._counts)
        return self._corrected(text, chunk, count, final=not choices).encode()

    def _counts_of(self, index: int) -> int:
        return self._counts[min(index // self._choices, len(self._counts) - 1)]

    def _corrected(self, text: str, answer: Mapping[str, Value], count: int, *, final: bool) -> str:
        edits = self._names(answer)
        usage = answer.get("usage")
        if usage is None or not isinstance(usage.value, dict):
            return spliced(text, edits)
        figures = members(text, usage.start)
        completion = usage.value.get("completion_tokens") or 0
        if self.completion is not None and final:
            completion = self.completion
        new = {"prompt_tokens": count, "completion_tokens": completion, "total_tokens": count + completion}
        edits += [(figures[name], str(figure)) for name, figure in new.items() if name in figures]
        details = figures.get("prompt_tokens_details")
        if details is not None and isinstance(details.value, dict):
            cached = members(text, details.start).get("cached_tokens")
            if cached is not None and isinstance(cached.value, int):
                # The changed prompt's cache, as far as it could be the client's own.
                edits.append((cached, str(min(cached.value, max(count - 1, 0)))))
        return spliced(text, edits)


class ResponseUsage(Usage):
    """Of responses, which repeat most of their request.

    Args:
        count: tokens of the client's prompt.
        repeated: by field, what was sent and what the client would have read.
    """

    def __init__(self, count: int, repeated: Mapping[str, tuple[Any, Any]]) -> None:
        self._count = count
        self._repeated = dict(repeated)

    def whole(self, body: bytes) -> bytes:
        text = body.decode()
        return spliced(text, self._edits(text, members(text))).encode()

    def event(self, event: bytes) -> bytes:
        if name_of(event) == "error":
            shown = {"type": "error", "code": _FAILED, "message": _FAILURE, "param": None}
            return written("error", dumps(shown | {"sequence_number": data_of(event).get("sequence_number", 0)}))
        if b'"response":' not in event:
            return event
        text = event.decode()
        response = members(text, start_of(text)).get("response")
        if response is None or not isinstance(response.value, dict):
            return event
        return spliced(text, self._edits(text, members(text, response.start))).encode()

    def _edits(self, text: str, response: Mapping[str, Value]) -> list[tuple[Value, str]]:
        edits = self._names(response)
        edits += [
            (response[name], dumps(own))
            for name, (sent, own) in self._repeated.items()
            if name in response and response[name].value == sent
        ]
        usage = response.get("usage")
        if usage is None or not isinstance(usage.value, dict):
            return edits
        figures = members(text, usage.start)
        completion = usage.value.get("output_tokens") or 0 if self.completion is None else self.completion
        new = {"input_tokens": self._count, "output_tokens": completion, "total_tokens": self._count + completion}
        edits += [(figures[name], str(figure)) for name, figure in new.items() if name in figures]
        if "input_tokens_details" in figures:
            details = members(text, figures["input_tokens_details"].start)
            edits += [
                (details[name], str(min(int(details[name].value), max(self._count - 1, 0))))
                for name in ("cached_tokens", "cache_write_tokens")
                if name in details
            ]
        return edits


class MessageUsage(Usage):
    """Of messages. ``count``: tokens of the client's prompt."""

    def __init__(self, count: int) -> None:
        self._count = count

    def whole(self, body: bytes) -> bytes:
        text = body.decode()
        return self._corrected(text, members(text)).encode()

    def event(self, event: bytes) -> bytes:
        if name_of(event) == "error":
            return written("error", dumps({"type": "error", "error": {"type": "api_error", "message": _FAILURE}}))
        if b'"usage":' not in event:
            return event
        text = event.decode()
        data = members(text, start_of(text))
        return self._corrected(text, members(text, data["message"].start) if "message" in data else data).encode()

    def _corrected(self, text: str, message: Mapping[str, Value]) -> str:
        edits = self._names(message)
        usage = message.get("usage")
        if usage is None or not isinstance(usage.value, dict):
            return spliced(text, edits)
        figures = members(text, usage.start)
        # What was read from the cache, or written to it, is not counted again (vLLM 0.32).
        cached = {
            name: min(int(figures[name].value), max(self._count - 1, 0))
            for name in ("cache_read_input_tokens", "cache_creation_input_tokens")
            if name in figures and figures[name].value is not None
        }
        new = cached | {"input_tokens": max(self._count - sum(cached.values()), 0)}
        if self.completion is not None and usage.value.get("output_tokens"):
            new["output_tokens"] = self.completion
        return spliced(text, edits + [(figures[name], str(figure)) for name, figure in new.items() if name in figures])
