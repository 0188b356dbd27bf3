"""``POST /v1/responses``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from guards.act.decline import Form
from guards.plan import Role, Segment
from server.api import fields as f
from server.api.endpoint import (
    NO_TEXTS,
    STRUCTURED,
    Endpoint,
    Limits,
    check_length,
    constrains,
    with_more,
)
from server.api.fields import FieldRules
from server.api.reading import Parts, aside, check_template_kwargs, read_template_kwargs, read_tools, speaks
from server.api.responses_answer import Response
from server.api.responses_fields import (
    ALLOWED,
    ITEMS,
    LISTS,
    NEEDED,
    PART_FIELDS,
    REFUSED,
    TEXT_PARTS,
    check_tool,
)
from server.api.responses_prompt import as_chat, goes_on, kind_of
from server.api.responses_stream import ResponseEvents
from server.api.usage import ResponseUsage
from server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from server.api.answer import Answer, AnswerStream
    from server.api.body import Body, Path
    from server.api.fields import Nested
    from server.api.usage import Usage

_LOGPROBS: Final = "message.output_text.logprobs"
# What the model itself said, and what others supply beside what a user asks.
_OWN: Final = frozenset({"custom_tool_call", "function_call", "reasoning"})
_SUPPLYING_ROLES: Final = frozenset({"assistant", "developer", "system"})


class Responses(Endpoint):
    """The codec of response requests."""

    name: ClassVar[str] = "responses"
    path: ClassVar[str] = "/v1/responses"
    structured: ClassVar[tuple[str, ...]] = (*STRUCTURED, "text")

    def __init__(self, limits: Limits) -> None:
        extra = limits.extra_fields
        self.rules = FieldRules(ALLOWED, REFUSED, extra=extra)
        self._item_rules = {
            kind: FieldRules(types, {"prompt_embeds": f.OPAQUE}, extra=extra, prefix="input.")
            for kind, types in ITEMS.items()
        }
        self._parts = Parts(TEXT_PARTS, PART_FIELDS, extra=extra, prefix="input.content.", limit=limits.max_messages)
        self._max_items = limits.max_messages

    @property
    def nested(self) -> Nested:
        return {"input": self._item_rules} | {f"input.{name}": self._parts.rules for name in LISTS}

    def check(self, body: Body) -> None:
        self.rules.check(body)
        given = body.get("input")
        if not given:
            raise BadRequest("`input` must be given and not be empty.", param="input")
        if isinstance(given, list):
            check_length(given, self._max_items, "input")
            for index, item in enumerate(given):
                self._check_item(item, f"input[{index}]")
        for index, tool in enumerate(body.get("tools") or ()):
            check_tool(tool, f"tools[{index}]")
        check_template_kwargs(body)

    def _check_item(self, item: Body, at: str) -> None:
        kind = kind_of(item)
        rules = self._item_rules.get(kind) if isinstance(kind, str) else None
        if rules is None:
            shown = f"`{kind[:40]}`" if isinstance(kind, str) else "an item without a type"
            raise BadRequest(
                f"`{at}.type`: {shown} is not accepted ({', '.join(sorted(ITEMS))}).",
                param=f"{at}.type",
                code="field_not_accepted",
            )
        rules.check(item, f"{at}.")
        for name in NEEDED.get(kind, ()):
            if not isinstance(item.get(name), str):
                raise BadRequest(f"`{at}.{name}` must be a string.", param=f"{at}.{name}")
        if kind.endswith("_output") and item.get("output") is None:
            raise BadRequest(f"`{at}.output` must be a string or an array.", param=f"{at}.output")
        for name in LISTS:
            if isinstance(item.get(name), list):
                self._parts.check(item[name], f"{at}.{name}")

    def read(self, body: Body, decoded: Mapping[Path, str] = NO_TEXTS) -> list[Segment]:
        given = body["input"]
        items: list[Body] = [{"role": "user", "content": given}] if isinstance(given, str) else given
        # Where no user says anything, whatever else the model is given is the question.
        asked = any(_is_users(item) and speaks(self._parts.texts(item.get("content"), ())) for item in items)
        context_role = Role.SUPPLIES if asked else Role.ASKS
        segments = [Segment(("instructions",), body.get("instructions") or "", context_role)]
        if isinstance(given, str):
            segments.append(Segment(("input",), given, Role.ASKS))
        else:
            begun = _begun(items)
            for index, item in enumerate(items):
                role = Role.ASKS if _is_users(item) or index >= begun else context_role
                segments += self._read_item(item, ("input", index), role)
        segments += read_tools(body.get("tools"), ("tools",), context_role)
        segments += read_template_kwargs(body)
        return [segment for segment in segments if segment.text]

    def _read_item(self, item: Body, path: Path, role: Role) -> list[Segment]:
        segments = [Segment((*path, name), item.get(name) or "", role) for name in ("name", "arguments", "input")]
        turn = int(path[1]) if _is_users(item) or item.get("role") == "assistant" else -1
        for name in LISTS:
            segments += self._parts.read(item.get(name), (*path, name), role, turn)
        return [*segments, aside([item.get("namespace"), item.get("call_id")], path)]

    def prompts(self, body: Body) -> list[Body | list[int]]:
        return [as_chat(body)]

    def form(self, body: Body, path: Path) -> Form:
        # A name, a tool's, begins no answer.
        if path[0] == "input" and len(path) > 1 and path[-1] != "name" and _is_own(body["input"][path[1]]):
            return Form.PREFILL
        return Form.QUESTION

    def neutral(self, body: Body, path: Path, text: str, *, brief: bool = False) -> object:
        # vLLM parses the arguments of a tool call before its template prints them.
        if path[-1] == "arguments":
            return "{}"
        new = super().neutral(body, path, text, brief=brief)
        if path[-1] not in LISTS:
            return new
        item = body["input"][path[1]]
        given = item[path[-1]]
        if isinstance(given, str):
            return new
        # Kinds of parts belong to kinds of items.
        kind = next((part["type"] for part in given if "text" in part), "input_text")
        return [{"type": kind, "text": new}]

    def max_output(self, body: Body) -> int | None:
        limit = body.get("max_output_tokens")
        return None if limit is None else int(limit)

    def limit_output(self, body: Body, limit: int) -> Body:
        given = self.max_output(body)
        return body if given is not None and given <= limit else body | {"max_output_tokens": limit}

    def stream(self, body: Body) -> AnswerStream:
        return ResponseEvents()

    def answer(self, raw: bytes) -> Answer:
        return Response(raw)

    def usage(self, client: Body, sent: Body, counts: Sequence[int], room: int) -> Usage:
        limit = self.max_output(client)
        own = {
            "instructions": client.get("instructions"),
            "max_output_tokens": room if limit is None else limit,
            "top_logprobs": client.get("top_logprobs"),
        }
        changed = {name for name in own if client.get(name) != sent.get(name)}
        return ResponseUsage(sum(counts), {name: (sent.get(name), own[name]) for name in changed})

    def alone(self, body: Body, choice: int) -> Body:
        return body

    def resumed(self, body: Body, text: str, tokens: Sequence[int] = ()) -> Body | None:
        if not text:
            return body
        given = body["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        if goes_on(body):
            text = self.begun(body, 0) + text
            if items.pop().get("role") != "assistant":
                return None
        elif _is_own(items[-1]):
            return None  # vLLM would make one turn of both
        part = {"type": "output_text", "text": text, "annotations": []}
        begun = {"type": "message", "id": "msg_0", "role": "assistant", "status": "in_progress", "content": [part]}
        return body | {"input": [*items, begun]}

    def continues(self, body: Body) -> bool:
        formatted = (body.get("text") or {}).get("format")
        chosen = body.get("tool_choice") in (None, "auto", "none")
        return super().continues(body) and not constrains(formatted) and chosen

    def begun(self, body: Body, choice: int, decoded: Mapping[Path, str] = NO_TEXTS) -> str:
        given = body["input"]
        last = {} if isinstance(given, str) else given[-1]
        # vLLM goes on with a turn of anybody's, and with a thought.
        if last.get("role") != "assistant" and not goes_on(body):
            return ""
        texts = [text for _, text in self._parts.texts(last.get("content") or last.get("summary"), ())]
        # All that it takes of what the model itself said.
        return "\n".join(texts[:1] if _is_own(last) else texts)

    def with_spare(self, body: Body, spare: int) -> tuple[Body, int | None]:
        wanted = body.get("top_logprobs")
        if _LOGPROBS not in (body.get("include") or ()) or not wanted or wanted < 0:
            return body, None
        return body | {"top_logprobs": with_more(int(wanted), spare)}, int(wanted)


def _is_users(item: Body) -> bool:
    return kind_of(item) == "message" and item["role"] not in _SUPPLYING_ROLES


def _is_own(item: Body) -> bool:
    """Whether the model itself said it."""
    return kind_of(item) in _OWN or item.get("role") == "assistant"


def _begun(items: list[Body]) -> int:
    """Where the model's last turn begins, if it is a beginning that the model continues: no other item follows."""
    begun = len(items)
    while begun and _is_own(items[begun - 1]):
        begun -= 1
    return begun
