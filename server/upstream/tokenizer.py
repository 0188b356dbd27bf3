"""A prompt as the engine sees it, with each token's place in the text.

vLLM's ``/tokenize`` renders a chat but gives no offsets, so a prompt that is to be corrupted is
rendered here as well, with the served model's own tokenizer files and template. The upstream's
answer stays the truth: where the two differ, the rendering is not used.
"""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from server.api.body import replace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path as FilePath

    from server.api.body import Body, Path
    from server.api.endpoint import Rendering

# Stands in for a text, to find where the template puts it. No signs: a template may trim or escape.
_MARK: Final = "unrememberzqmarkzq"
_MARKS: Final = re.compile(_MARK + r"(\d+)q")

Offsets = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt's text, tokens, and the characters ``start``..``end`` that each token stands for."""

    text: str
    tokens: tuple[int, ...]
    offsets: Offsets


class Renderer:
    """Renders prompts with one model's tokenizer, in a thread of its own."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="render")

    @classmethod
    def load(cls, directory: FilePath) -> Renderer:
        """Load tokenizer files. Takes seconds: it imports transformers.

        Raises:
            ValueError: the directory holds no tokenizer that reports offsets.
        """
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
        except (OSError, ValueError) as error:
            raise ValueError(f"{directory} holds no usable tokenizer") from error
        if not tokenizer.is_fast:
            raise ValueError(f"the tokenizer in {directory} does not report offsets")
        return cls(tokenizer)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def locate(
        self, body: Body, rendering: Rendering, tokens: Sequence[int], texts: dict[Path, str]
    ) -> tuple[Rendered, dict[Path, int]] | None:
        """Render a body's prompt and find texts in it.

        Args:
            rendering: how the upstream renders the body.
            tokens: the upstream's tokens of the prompt.
            texts: texts of the body by their path.

        Returns:
            The rendering and where in its text each of ``texts`` begins; None if it differs from
            what the upstream tokenised, or a text cannot be found in it.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._locate, body, rendering, tuple(tokens), texts)

    def _locate(
        self, body: Body, rendering: Rendering, tokens: tuple[int, ...], texts: dict[Path, str]
    ) -> tuple[Rendered, dict[Path, int]] | None:
        request = rendering(body)
        for content_format in ("string", "openai") if isinstance(request, dict) and "messages" in request else ("",):
            try:
                rendered = self._render(request, content_format)
                if rendered.tokens == tokens:
                    if isinstance(request, list) or "messages" not in request:
                        return rendered, _in_prompt(texts)
                    return rendered, self._starts(body, rendering, rendered.text, texts, content_format)
            # A template may raise anything, and a tokenizer too; the caller then corrupts the whole prompt.
            except Exception:  # noqa: S112
                continue
        return None

    def _render(self, request: Body | list[int], content_format: str) -> Rendered:
        special = False
        if isinstance(request, list):
            text = self._tokenizer.decode(request)
        elif "messages" in request:
            text = self._chat(request, content_format)
            special = bool(request.get("add_special_tokens"))
        else:
            text = request["prompt"]
            special = request.get("add_special_tokens", True)
        encoded = self._tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        return Rendered(text, tuple(encoded["input_ids"]), tuple(encoded["offset_mapping"]))

    def _chat(self, request: Body, content_format: str) -> str:
        text = self._tokenizer.apply_chat_template(
            [_as_vllm(message, content_format) for message in request["messages"]],
            tools=request.get("tools"),
            tokenize=False,
            **{
                "add_generation_prompt": request.get("add_generation_prompt", True),
                "continue_final_message": request.get("continue_final_message", False),
            }
            | (request.get("chat_template_kwargs") or {}),
        )
        return str(text)

    def _starts(
        self, body: Body, rendering: Rendering, rendered: str, texts: dict[Path, str], content_format: str
    ) -> dict[Path, int]:
        """Where each text, at its path of the body, begins in the rendered prompt. Raises ValueError."""
        starts: dict[Path, int] = {}
        # A text within another cannot be marked at the same time.
        inner = {path for path in texts if any(path[:length] in texts for length in range(1, len(path)))}
        for paths in (texts.keys() - inner, inner):
            if paths:
                some = {path: texts[path] for path in sorted(paths, key=str)}
                starts |= self._marked(body, rendering, rendered, some, content_format)
        return starts

    def _marked(
        self, body: Body, rendering: Rendering, rendered: str, texts: dict[Path, str], content_format: str
    ) -> dict[Path, int]:
        """As ``_starts``, by one rendering with a mark in place of each text. None of them is within another."""
        paths = list(texts)
        marks = {path: f"{_MARK}{number}q" for number, path in enumerate(paths)}
        request = rendering(replace(body, marks))
        marked = self._chat(request, content_format) if isinstance(request, dict) else ""
        starts: dict[Path, int] = {}
        read = at = 0
        for mark in _MARKS.finditer(marked):
            between = marked[read : mark.start()]
            path = paths[int(mark[1])]
            if path in starts or not rendered.startswith(between, at):
                raise ValueError("the template prints a text more than once, or by what another says")
            at += len(between)
            text = texts[path]
            shown = text if rendered.startswith(text, at) else text.strip()  # a template may trim
            if not rendered.startswith(shown, at):
                raise ValueError("the template changes a text")
            starts[path] = at if shown == text else at - (len(text) - len(text.lstrip()))
            at += len(shown)
            read = mark.end()
        if len(starts) < len(texts) or rendered[at:] != marked[read:]:
            raise ValueError("the template leaves a text out, or prints it more than once")
        return starts


def _in_prompt(texts: dict[Path, str]) -> dict[Path, int]:
    """As ``_starts``, where the prompt is not rendered."""
    if any(path[0] != "prompt" for path in texts):
        raise ValueError("only the prompt is sent")
    return dict.fromkeys(texts, 0)


def _as_vllm(message: Body, content_format: str) -> Body:
    """A message as vLLM 0.32 hands it to a template, whose content is a string or a list of parts."""
    content = message.get("content")
    parts = [content] if isinstance(content, str) else content or []
    texts = [part if isinstance(part, str) else next(iter(_text_of(part))) for part in parts]
    shaped: Body = {"role": message["role"]}
    if content_format == "string" or message["role"] == "tool":
        shaped["content"] = "\n".join(texts)
    else:
        shaped["content"] = [{"type": "text", "text": text} for text in texts]
    for name in ("name", "tool_call_id", "reasoning", "reasoning_content"):
        if message.get(name) is not None:
            shaped[name] = message[name]
    if "reasoning" in shaped:
        shaped["reasoning_content"] = shaped["reasoning"]
    if calls := message.get("tool_calls"):
        shaped["tool_calls"] = [_with_arguments(call) for call in calls]
    return shaped


def _text_of(part: Body) -> list[str]:
    return [value for key, value in part.items() if key != "type" and isinstance(value, str)]


def _with_arguments(call: Body) -> Body:
    function = dict(call["function"])
    arguments = function.get("arguments")
    function["arguments"] = json.loads(arguments) if isinstance(arguments, str) and arguments else arguments or {}
    return call | {"function": function}
