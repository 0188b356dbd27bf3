"""From texts of a request to the tokens of its prompt that are corrupted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from guards.act.corruption import everything_but_last, token_spans
from guards.engine.wire import CorruptionArgs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.api.body import Body, Path
    from server.api.endpoint import Rendering
    from server.upstream.tokenizer import Offsets, Renderer


class Manner(Protocol):
    """How tokens are corrupted."""

    @property
    def kind(self) -> str: ...
    @property
    def strength(self) -> float: ...
    @property
    def dimensions(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """The only prompt of a request."""

    body: Body
    tokens: Sequence[int]
    """The upstream's."""
    rendering: Rendering | None
    """How the upstream renders the body; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Target:
    """A text of a request, and what of it is corrupted."""

    path: Path
    text: str
    ranges: tuple[tuple[int, int], ...] = ()
    """Characters ``start``..``end`` of the text."""
    whole: bool = False
    """Whether all its tokens are, but the last one, which carries what the text ends in."""


async def corruption_args(
    manner: Manner,
    seed: int,
    renderer: Renderer | None,
    prompt: Prompt,
    targets: Sequence[Target],
) -> CorruptionArgs:
    """The arguments that corrupt the targets in a prompt.

    If one of them cannot be placed in the prompt, every token but the last is corrupted.
    """
    return CorruptionArgs(
        kind=manner.kind,
        strength=manner.strength,
        dimensions=manner.dimensions,
        seed=seed,
        spans=await _spans(renderer, prompt, targets),
        prompt_tokens=len(prompt.tokens),
    )


async def _spans(renderer: Renderer | None, prompt: Prompt, targets: Sequence[Target]) -> tuple[int, ...]:
    tokens = prompt.tokens
    texts = {target.path: target.text for target in targets}
    located = None
    if renderer is not None and prompt.rendering is not None:
        located = await renderer.locate(prompt.body, prompt.rendering, tokens, texts)
    if located is None:
        return everything_but_last(len(tokens))
    rendered, starts = located
    places = []
    for target in targets:
        start = starts[target.path]
        places += [(start + low, start + high) for low, high in target.ranges]
        if target.whole:
            places += _all_but_last_token(rendered.offsets, start, start + len(target.text))
    return token_spans(rendered.offsets, places, len(tokens))


def _all_but_last_token(offsets: Offsets, start: int, end: int) -> list[tuple[int, int]]:
    """The characters of a text's tokens without its last. Of one token: that one, unless the prompt ends in it."""
    inside = [index for index, (low, high) in enumerate(offsets) if low < high and low < end and start < high]
    if len(inside) > 1:
        return [(start, offsets[inside[-2]][1])]
    return [] if inside == [len(offsets) - 1] else [(start, end)]
