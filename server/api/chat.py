"""``POST /v1/chat/completions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from guards.act.decline import Form
from guards.plan import Role, Segment
from server.api import fields as f
from server.api import sampling
from server.api.chunks import CHAT, Choices, Chunks
from server.api.endpoint import NO_TEXTS, Endpoint, Limits, at_least, check_length, with_more
from server.api.fields import FieldRules
from server.api.reading import (
    Parts,
    aside,
    check_template_kwargs,
    read_template_kwargs,
    read_tools,
    seams,
    speaks,
    template_kwargs,
)
from server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from server.api.answer import Answer, AnswerStream
    from server.api.body import Body, Path
    from server.api.fields import Nested

_ALLOWED: Final = sampling.ALLOWED | {
    "messages": f.OBJECTS,
    # OpenAI
    "audio": f.OBJECT,
    "function_call": f.STRING_OR_OBJECT,
    "functions": f.OBJECTS,
    "logprobs": f.BOOLEAN,
    "max_completion_tokens": f.INTEGER,
    "modalities": f.STRINGS,
    "moderation": f.OBJECT,
    "parallel_tool_calls": f.BOOLEAN,
    "prediction": f.OBJECT,
    "prompt_cache_options": f.OBJECT,
    "reasoning_effort": f.STRING,
    "tool_choice": f.STRING_OR_OBJECT,
    "tools": f.OBJECTS,
    "top_logprobs": f.INTEGER,
    "verbosity": f.STRING,
    "web_search_options": f.OBJECT,
    # vLLM
    "add_generation_prompt": f.BOOLEAN,
    "chat_template_kwargs": f.SCALARS_BY_NAME,
    "continue_final_message": f.BOOLEAN,
    "documents": f.STRING_OBJECTS,
    "include_reasoning": f.BOOLEAN,
}
_REFUSED: Final = sampling.REFUSED | {
    "chat_template": f.TEMPLATE,
    "media_io_kwargs": f.OPAQUE,
    "mm_processor_kwargs": f.OPAQUE,
}

_MESSAGE: Final = {
    "annotations": f.LIST,
    "audio": f.OBJECT,
    "content": f.STRING_OR_LIST,
    "function_call": f.OBJECT,
    "name": f.STRING,
    "reasoning": f.STRING,
    "reasoning_content": f.STRING,
    "refusal": f.STRING,
    "role": f.STRING,
    "tool_call_id": f.STRING,
    "tool_calls": f.OBJECTS,
    "tools": f.OBJECTS,
}

# Content parts that are text, and the field that holds it.
_TEXT_PARTS: Final = {
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "text": "text",
    "thinking": "thinking",
    "tool_reference": "name",
}

_SPOKEN_FIELDS: Final = ("reasoning", "reasoning_content", "refusal")
_SUPPLYING_ROLES: Final = frozenset({"assistant", "developer", "function", "system", "tool"})
_ROLES: Final = _SUPPLYING_ROLES | {"user"}


class ChatCompletions(Endpoint):
    """The codec of chat requests."""

    name: ClassVar[str] = "chat"
    path: ClassVar[str] = "/v1/chat/completions"

    def __init__(self, limits: Limits) -> None:
        extra = limits.extra_fields
        self.rules = FieldRules(_ALLOWED, _REFUSED, extra=extra)
        self._message_rules = FieldRules(_MESSAGE, {"prompt_embeds": f.OPAQUE}, extra=extra, prefix="messages.")
        self._parts = Parts(
            _TEXT_PARTS,
            {"text": {"prompt_cache_breakpoint": f.OBJECT}, "thinking": {"closed": f.BOOLEAN}},
            extra=extra,
            prefix="messages.content.",
            limit=limits.max_messages,
            strings=True,
        )
        self._max_messages = limits.max_messages

    @property
    def nested(self) -> Nested:
        return {"messages": {"": self._message_rules}, "messages.content": self._parts.rules}

    def check(self, body: Body) -> None:
        self.rules.check(body)
        self.check_prompt(body)

    def check_prompt(self, body: Body) -> None:
        """Check what makes the prompt, in a body whose fields are checked. Raises BadRequest."""
        messages = body.get("messages")
        if not messages:
            raise BadRequest("`messages` must be an array with at least one message.", param="messages")
        check_length(messages, self._max_messages, "messages")
        for index, message in enumerate(messages):
            self._check_message(message, f"messages[{index}].")
        for index, tool in enumerate(body.get("tools") or ()):
            if not isinstance(tool.get("function"), dict):
                raise BadRequest(f"`tools[{index}].function` must be an object.", param=f"tools[{index}].function")
        check_template_kwargs(body)

    def _check_message(self, message: Body, at: str) -> None:
        self._message_rules.check(message, at)
        if not message.get("role"):
            raise BadRequest(f"`{at}role` must be a string.", param=f"{at}role")
        if isinstance(message.get("content"), list):
            self._parts.check(message["content"], f"{at}content")

    def read(self, body: Body, decoded: Mapping[Path, str] = NO_TEXTS) -> list[Segment]:
        messages: list[Body] = body["messages"]
        last = len(messages) - 1
        # Where no user says anything, whatever else the model is given is the question.
        asked = any(
            message["role"] not in _SUPPLYING_ROLES and speaks(self._parts.texts(message.get("content"), ()))
            for message in messages
        )
        context_role = Role.SUPPLIES if asked else Role.ASKS
        segments: list[Segment] = []
        for index, message in enumerate(messages):
            # The assistant's last turn is a beginning that the model continues; earlier ones are history.
            begun = index == last and message["role"] == "assistant"
            supplies = asked and message["role"] in _SUPPLYING_ROLES and not begun
            role = Role.SUPPLIES if supplies else Role.ASKS
            segments += self._read_message(message, ("messages", index), role)
            if message["role"] not in _ROLES:
                # vLLM takes any, and a template may print it: it could ask what the content does not.
                segments.append(Segment(("messages", index, "role"), message["role"], Role.ASKS))
            segments.append(Segment(("messages", index, "name"), message.get("name") or "", context_role))
        segments += read_tools(body.get("tools"), ("tools",), context_role)
        documents: list[dict[str, str]] = body.get("documents") or []
        for index, document in enumerate(documents):
            segments += [Segment(("documents", index, key), text, context_role) for key, text in document.items()]
            segments.append(aside(document, ("documents", index)))
        segments += seams([text for document in documents for text in document.values()], ("documents",))
        segments += read_template_kwargs(body)
        return [segment for segment in segments if segment.text]

    def _read_message(self, message: Body, path: Path, role: Role) -> list[Segment]:
        turn = int(path[1]) if message["role"] == "assistant" or message["role"] not in _SUPPLYING_ROLES else -1
        instructs = message["role"] == "system"
        segments = self._parts.read(message.get("content"), (*path, "content"), role, turn, instructs=instructs)
        segments += [Segment((*path, name), message.get(name) or "", role) for name in _SPOKEN_FIELDS]
        for index, call in enumerate(message.get("tool_calls") or ()):
            function = call.get("function")
            if isinstance(function, dict):
                for name in ("name", "arguments"):
                    if isinstance(text := function.get(name), str):
                        at = (*path, "tool_calls", index, "function", name)
                        segments.append(Segment(at, text, role))
        ids = [call.get("id") for call in message.get("tool_calls") or ()]
        segments.append(aside([*ids, message.get("tool_call_id")], path))
        return segments + read_tools(message.get("tools"), (*path, "tools"), role)

    def prompts(self, body: Body) -> list[Body | list[int]]:
        request: Body = {name: body[name] for name in _TOKENIZED if body.get(name) is not None}
        # `/tokenize` does not know these fields of a chat; vLLM hands them to the template as here.
        kwargs = template_kwargs(body, body.get("reasoning_effort"), documents=body.get("documents"))
        if kwargs:
            request["chat_template_kwargs"] = kwargs
        return [request]

    def form(self, body: Body, path: Path) -> Form:
        # A name, the assistant's own or a tool's, begins no answer.
        if path[0] == "messages" and path[-1] != "name" and body["messages"][path[1]]["role"] == "assistant":
            return Form.PREFILL
        return Form.QUESTION

    def neutral(self, body: Body, path: Path, text: str, *, brief: bool = False) -> object:
        # vLLM parses the arguments of a tool call before its template prints them.
        return "{}" if path[-1] == "arguments" else super().neutral(body, path, text, brief=brief)

    def max_output(self, body: Body) -> int | None:
        limit = body.get("max_completion_tokens")
        limit = body.get("max_tokens") if limit is None else limit
        return None if limit is None else int(limit)

    def limit_output(self, body: Body, limit: int) -> Body:
        given = self.max_output(body)
        return (
            body if given is not None and given <= limit else at_least(body, limit) | {"max_completion_tokens": limit}
        )

    def stream(self, body: Body) -> AnswerStream:
        return Chunks(CHAT)

    def answer(self, raw: bytes) -> Answer:
        return Choices(raw, CHAT)

    def alone(self, body: Body, choice: int) -> Body:
        return body | {"n": 1}

    def resumed(self, body: Body, text: str, tokens: Sequence[int] = ()) -> Body | None:
        if not text:
            return body
        messages = list(body["messages"])
        role = "assistant"
        if body.get("continue_final_message"):
            text = self.begun(body, 0) + text
            role = messages.pop()["role"]
        going_on = {"continue_final_message": True, "add_generation_prompt": False}
        return body | {"messages": [*messages, {"role": role, "content": text}], **going_on}

    def continues(self, body: Body) -> bool:
        return super().continues(body) and body.get("tool_choice") in (None, "auto", "none")

    def begun(self, body: Body, choice: int, decoded: Mapping[Path, str] = NO_TEXTS) -> str:
        last = body["messages"][-1]
        # vLLM goes on with a turn of anybody's.
        if last["role"] != "assistant" and not body.get("continue_final_message"):
            return ""
        return "\n".join(text for _, text in self._parts.texts(last.get("content"), ()))

    def with_spare(self, body: Body, spare: int) -> tuple[Body, int | None]:
        wanted = body.get("top_logprobs")
        if not body.get("logprobs") or not wanted or wanted < 0:
            return body, None
        return body | {"top_logprobs": with_more(int(wanted), spare)}, int(wanted)


_TOKENIZED: Final = (
    "model",
    "messages",
    "add_generation_prompt",
    "add_special_tokens",
    "continue_final_message",
    "tools",
)
