"""The arguments of a corruption as they travel to the engine.

They ride in a request's ``vllm_xargs``, which vLLM hands to the engine as ``SamplingParams.extra_args``.
vLLM admits strings, numbers and lists of those there, so the spans are one flat list.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "unremember_"
"""Keys that begin with this are ours; one that is not known is refused, never ignored."""

REORDERINGS = ("reverse", "shuffle")
"""Kinds that give a token the embedding of another one. They ignore ``dimensions``."""

KINDS = (
    "gaussian-first",
    "gaussian-random",
    "gaussian-top",
    "replace-first",
    "zero-first",
    "zero-top",
    "flip-first",
    "flip-top",
    "subtract-first",
    "subtract-top",
    "add-first",
    "add-least",
    *REORDERINGS,
)
"""Every kind of corruption, as ``guards.engine.noise`` defines them."""

MAX_STRENGTH = 1e6
MAX_DIMENSIONS = 1 << 20
MAX_SEED = (1 << 63) - 1
MAX_SPANS = 4096
"""Most spans in one request."""
MAX_PROMPT_TOKENS = 1 << 24

RESTRICTION = ("phrases", "penalty")
"""Arguments of a restriction (``guards.engine.restriction``), with those of a corruption or without."""

_FIELDS = ("kind", "strength", "dimensions", "seed", "spans", "prompt_tokens")


@dataclass(frozen=True, slots=True)
class CorruptionArgs:
    """What to do to which tokens of one prompt. Construction raises ValueError on anything out of range."""

    kind: str
    strength: float
    """In standard deviations of the model's embedding matrix. 0 leaves the prompt clean under every kind."""
    dimensions: int
    """How many dimensions of an embedding are changed; 0 is all of them."""
    seed: int
    spans: tuple[int, ...]
    """Token positions to corrupt as flat ``[start, end, start, end, ...)``: ascending, disjoint, not empty."""
    prompt_tokens: int
    """The prompt's length. Where the engine counts otherwise, it corrupts every token but the last."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{PREFIX}kind must be one of {', '.join(KINDS)}")
        if isinstance(self.strength, bool) or not isinstance(self.strength, int | float):
            raise ValueError(f"{PREFIX}strength must be a number")
        object.__setattr__(self, "strength", float(self.strength))
        if not (math.isfinite(self.strength) and 0 <= self.strength <= MAX_STRENGTH):
            raise ValueError(f"{PREFIX}strength must lie between 0 and {MAX_STRENGTH:g}")
        _whole(self.dimensions, "dimensions", 0, MAX_DIMENSIONS)
        _whole(self.seed, "seed", 0, MAX_SEED)
        _whole(self.prompt_tokens, "prompt_tokens", 1, MAX_PROMPT_TOKENS)
        object.__setattr__(self, "spans", tuple(self.spans))
        _check_spans(self.spans, self.prompt_tokens)

    def to_xargs(self) -> dict[str, str | float | int | list[int]]:
        """The arguments as entries of ``vllm_xargs``."""
        return {
            f"{PREFIX}kind": self.kind,
            f"{PREFIX}strength": self.strength,
            f"{PREFIX}dimensions": self.dimensions,
            f"{PREFIX}seed": self.seed,
            f"{PREFIX}spans": list(self.spans),
            f"{PREFIX}prompt_tokens": self.prompt_tokens,
        }

    def canonical(self) -> bytes:
        """One encoding of all the arguments: equal exactly when they are. What the cache salt is an HMAC of."""
        fields = [
            self.kind,
            self.strength.hex(),
            self.dimensions,
            self.seed,
            list(self.spans),
            self.prompt_tokens,
        ]
        return b"unremember-corruption/1 " + json.dumps(fields, separators=(",", ":")).encode()


def from_xargs(xargs: Mapping[str, object]) -> CorruptionArgs | None:
    """Read the arguments among a request's extra arguments.

    None where no key asks for a corruption. Raises ValueError, naming the key and never a value, where one is
    unknown, missing or wrong.
    """
    ours = {key[len(PREFIX) :]: value for key, value in xargs.items() if key.startswith(PREFIX)}
    unknown = sorted(ours.keys() - {*_FIELDS, *RESTRICTION})
    if unknown:
        raise ValueError(f"unknown argument {PREFIX}{unknown[0][:64]}")
    if ours.keys() <= set(RESTRICTION):
        return None
    for field in _FIELDS:
        if field not in ours:
            raise ValueError(f"{PREFIX}{field} is missing")
    kind, strength, spans = ours["kind"], ours["strength"], ours["spans"]
    if not isinstance(kind, str):
        raise ValueError(f"{PREFIX}kind must be a string")
    if not isinstance(strength, int | float):
        raise ValueError(f"{PREFIX}strength must be a number")
    if not isinstance(spans, list | tuple):
        raise ValueError(f"{PREFIX}spans must be a list of whole numbers")
    return CorruptionArgs(
        kind=kind,
        strength=strength,
        dimensions=_whole(ours["dimensions"], "dimensions", 0, MAX_DIMENSIONS),
        seed=_whole(ours["seed"], "seed", 0, MAX_SEED),
        spans=tuple(spans),
        prompt_tokens=_whole(ours["prompt_tokens"], "prompt_tokens", 1, MAX_PROMPT_TOKENS),
    )


def _whole(value: object, field: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{PREFIX}{field} must be a whole number")
    if not least <= value <= most:
        raise ValueError(f"{PREFIX}{field} must lie between {least} and {most}")
    return value


def _check_spans(spans: Sequence[object], prompt_tokens: int) -> None:
    if not spans or len(spans) % 2:
        raise ValueError(f"{PREFIX}spans must hold pairs of start and end, at least one")
    if len(spans) > 2 * MAX_SPANS:
        raise ValueError(f"{PREFIX}spans must hold at most {MAX_SPANS} pairs")
    previous_end = 0
    for start, end in zip(spans[::2], spans[1::2], strict=True):
        first = _whole(start, "spans", 0, prompt_tokens)
        last = _whole(end, "spans", 0, prompt_tokens)
        if not previous_end <= first < last:
            raise ValueError(f"{PREFIX}spans must be ascending, disjoint and not empty")
        previous_end = last
