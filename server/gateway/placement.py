"""From texts of a request to the tokens of its prompt that are corrupted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from guards.act.corruption import everything_but_last, token_spans
from guards.engine.wire import CorruptionArgs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.api.body import Body, Path
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
    request: Body | list[int],
    tokens: Sequence[int],
    targets: Sequence[Target],
) -> CorruptionArgs:
    """The arguments that corrupt the targets in a prompt.

    If one of them cannot be placed in the prompt, every token but the last is corrupted.

    Args:
        request: what was asked of ``/tokenize``, or the tokens of a prompt given as tokens.
        tokens: the upstream's tokens of the prompt.
    """
    return CorruptionArgs(
        kind=manner.kind,
        strength=manner.strength,
        dimensions=manner.dimensions,
        seed=seed,
        spans=await _spans(renderer, request, tokens, targets),
        prompt_tokens=len(tokens),
    )


async def _spans(
    renderer: Renderer | None, request: Body | list[int], tokens: Sequence[int], targets: Sequence[Target]
) -> tuple[int, ...]:
    texts = {target.path: target.text for target in targets}
    located = await renderer.locate(request, tokens, texts) if renderer is not None else None
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
