"""``POST /v1/completions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from guards.act.decline import Form
from guards.plan import Role, Segment
from server.api import fields as f
from server.api import sampling
from server.api.chunks import COMPLETION, Choices, Chunks
from server.api.endpoint import NO_TEXTS, Endpoint, Limits, at_least, check_length, with_more
from server.api.fields import FieldRules
from server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from server.api.answer import Answer, AnswerStream
    from server.api.body import Body, Path


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_is_tokens: Final = f.list_of(_is_token)


def _is_prompt(value: object) -> bool:
    if isinstance(value, str):
        return True
    # Of one kind throughout: vLLM reads a mixed list in its own way.
    return isinstance(value, list) and (
        _is_tokens(value)
        or all(isinstance(item, str) for item in value)
        or all(item and _is_tokens(item) for item in value)
    )


_ALLOWED: Final = sampling.ALLOWED | {
    "best_of": f.INTEGER,
    "logprobs": f.INTEGER,
    "prompt": f.Type("a string, an array of strings, an array of token ids, or an array of those", _is_prompt),
    "suffix": f.STRING,
}


class Completions(Endpoint):
    """The codec of text completion requests."""

    name: ClassVar[str] = "completions"
    path: ClassVar[str] = "/v1/completions"
    reasons: ClassVar[bool] = False

    def __init__(self, limits: Limits) -> None:
        self.rules = FieldRules(_ALLOWED, sampling.REFUSED, extra=limits.extra_fields)
        self._max_prompts = limits.max_messages

    def check(self, body: Body) -> None:
        self.rules.check(body)
        prompt = body.get("prompt")
        if not prompt:
            raise BadRequest("`prompt` must be given and not be empty.", param="prompt")
        if isinstance(prompt, list) and not _is_token(prompt[0]):
            check_length(prompt, self._max_prompts, "prompt")

    def read(self, body: Body, decoded: Mapping[Path, str] = NO_TEXTS) -> list[Segment]:
        prompt = body["prompt"]
        if isinstance(prompt, str):
            texts: dict[Path, str] = {("prompt",): prompt}
        elif isinstance(prompt[0], str):
            texts = {("prompt", index): text for index, text in enumerate(prompt)}
        else:
            texts = {path: decoded.get(path, "") for path in self.token_prompts(body)}
        segments = [Segment(path, text, Role.ASKS) for path, text in texts.items() if text]
        if suffix := body.get("suffix"):
            segments.append(Segment(("suffix",), suffix, Role.ASKS))
        return segments

    def token_prompts(self, body: Body) -> dict[Path, list[int]]:
        prompt = body["prompt"]
        if isinstance(prompt, str) or isinstance(prompt[0], str):
            return {}
        if _is_token(prompt[0]):
            return {("prompt",): prompt}
        return {("prompt", index): tokens for index, tokens in enumerate(prompt)}

    def prompts(self, body: Body) -> list[Body | list[int]]:
        prompt = body["prompt"]
        if not isinstance(prompt, str) and not isinstance(prompt[0], str):
            return list(self.token_prompts(body).values())
        shared: dict[str, Any] = {
            name: body[name] for name in ("model", "add_special_tokens") if body.get(name) is not None
        }
        return [shared | {"prompt": text} for text in ([prompt] if isinstance(prompt, str) else prompt)]

    def form(self, body: Body, path: Path) -> Form:
        return Form.COMPLETION

    def max_output(self, body: Body) -> int | None:
        limit = body.get("max_tokens")
        return 16 if limit is None else int(limit)  # OpenAI's default, and vLLM's

    def limit_output(self, body: Body, limit: int) -> Body:
        return body if (self.max_output(body) or 0) <= limit else at_least(body, limit) | {"max_tokens": limit}

    def stream(self, body: Body) -> AnswerStream:
        return Chunks(COMPLETION)

    def answer(self, raw: bytes) -> Answer:
        return Choices(raw, COMPLETION)

    def alone(self, body: Body, choice: int) -> Body:
        return body | {"prompt": self._prompt_of(body, choice), "n": 1}

    def resumed(self, body: Body, text: str, tokens: Sequence[int] = ()) -> Body | None:
        prompt = body["prompt"]
        return body | {"prompt": prompt + text if isinstance(prompt, str) else [*prompt, *tokens]}

    def begun(self, body: Body, choice: int, decoded: Mapping[Path, str] = NO_TEXTS) -> str:
        prompt = self._prompt_of(body, choice)
        if isinstance(prompt, str):
            return prompt
        return decoded.get(("prompt",) if prompt is body["prompt"] else ("prompt", choice // self.choices(body)), "")

    def with_spare(self, body: Body, spare: int) -> tuple[Body, int | None]:
        wanted = body.get("logprobs")
        if not wanted or wanted < 0:
            return body, None
        return body | {"logprobs": with_more(int(wanted), spare)}, int(wanted)

    def _prompt_of(self, body: Body, choice: int) -> str | list[int]:
        prompt = body["prompt"]
        if isinstance(prompt, str) or _is_token(prompt[0]):
            return prompt  # type: ignore[no-any-return]
        return prompt[choice // self.choices(body)]  # type: ignore[no-any-return]
