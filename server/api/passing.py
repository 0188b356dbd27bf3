"""Endpoints that generate nothing. No completion can come out of them, so nothing of theirs is guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from server.api import fields as f
from server.api import sampling
from server.api.chat import ChatCompletions
from server.api.endpoint import Passage
from server.api.fields import FieldRules
from server.api.messages import Messages, anthropic_error
from server.api.messages_fields import COUNTED, REFUSED
from server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.api.body import Body
    from server.api.endpoint import Limits
    from server.api.fields import Nested, Type
    from server.errors import ApiError

_OPAQUE: Final = {"media_io_kwargs": f.OPAQUE, "mm_processor_kwargs": f.OPAQUE}
_INPUT: Final = f.Type(
    "a string, an array of strings, an array of token ids, or an array of those",
    lambda value: f.STRING_OR_STRINGS.check(value) or f.INTEGERS.check(value) or f.list_of(f.INTEGERS.check)(value),
)
_POOLING: Final = {
    "add_special_tokens": f.BOOLEAN,
    "cache_salt": f.STRING,
    "model": f.STRING,
    "padding": f.STRING,
    "truncate_prompt_tokens": f.INTEGER,
    "truncation_side": f.STRING,
    "use_activation": f.BOOLEAN,
    "user": f.STRING,
}


class CountTokens(Passage):
    """``POST /v1/messages/count_tokens``: the upstream's own count of the client's own prompt."""

    name: ClassVar[str] = "count_tokens"
    path: ClassVar[str] = "/v1/messages/count_tokens"

    def __init__(self, limits: Limits) -> None:
        self.rules = FieldRules(COUNTED, REFUSED, extra=limits.extra_fields)
        self._messages = Messages(limits)

    @property
    def nested(self) -> Nested:
        return self._messages.nested

    def check(self, body: Body) -> None:
        self.rules.check(body)
        self._messages.check_prompt(body)

    def error(self, error: ApiError) -> bytes:
        return anthropic_error(error)


class _Listed(Passage):
    """An endpoint that is served only where a setting names it."""

    types: ClassVar[Mapping[str, Type]]
    required: ClassVar[tuple[str, ...]]

    def __init__(self, limits: Limits) -> None:
        refused = {name: why for name, why in (sampling.REFUSED | _OPAQUE).items() if name not in self.types}
        self.rules = FieldRules(self.types, refused, extra=limits.extra_fields)

    def check(self, body: Body) -> None:
        self.rules.check(body)
        for name in self.required:
            if body.get(name) is None:
                raise BadRequest(f"`{name}` must be given.", param=name)


class Embeddings(_Listed):
    """``POST /v1/embeddings``, of texts and tokens."""

    name: ClassVar[str] = "embeddings"
    path: ClassVar[str] = "/v1/embeddings"
    types: ClassVar[Mapping[str, Type]] = _POOLING | {
        "dimensions": f.INTEGER,
        "embed_dtype": f.STRING,
        "encoding_format": f.STRING,
        "endianness": f.STRING,
        "input": _INPUT,
    }
    required: ClassVar[tuple[str, ...]] = ("input",)


class Rerank(_Listed):
    """``POST /v1/rerank``, of texts."""

    name: ClassVar[str] = "rerank"
    path: ClassVar[str] = "/v1/rerank"
    types: ClassVar[Mapping[str, Type]] = _POOLING | {
        "documents": f.STRING_OR_STRINGS,
        "query": f.STRING,
        "top_n": f.INTEGER,
    }
    required: ClassVar[tuple[str, ...]] = ("documents", "query")


class Tokenize(_Listed):
    """``POST /tokenize``, of a text or a chat."""

    name: ClassVar[str] = "tokenize"
    path: ClassVar[str] = "/tokenize"
    types: ClassVar[Mapping[str, Type]] = {
        "add_generation_prompt": f.BOOLEAN,
        "add_special_tokens": f.BOOLEAN,
        "chat_template_kwargs": f.SCALARS_BY_NAME,
        "continue_final_message": f.BOOLEAN,
        "messages": f.OBJECTS,
        "model": f.STRING,
        "prompt": f.STRING,
        "return_token_strs": f.BOOLEAN,
        "tools": f.OBJECTS,
    }
    required: ClassVar[tuple[str, ...]] = ()

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._chat = ChatCompletions(limits)

    @property
    def nested(self) -> Nested:
        return self._chat.nested

    def check(self, body: Body) -> None:
        super().check(body)
        if body.get("prompt") is None:
            self._chat.check_prompt(body)


class Detokenize(_Listed):
    """``POST /detokenize``."""

    name: ClassVar[str] = "detokenize"
    path: ClassVar[str] = "/detokenize"
    types: ClassVar[Mapping[str, Type]] = {"model": f.STRING, "tokens": f.INTEGERS}
    required: ClassVar[tuple[str, ...]] = ("tokens",)


LISTED: Final[Mapping[str, type[_Listed]]] = {
    endpoint.name: endpoint for endpoint in (Embeddings, Rerank, Tokenize, Detokenize)
}
"""By the names that a setting lists."""
