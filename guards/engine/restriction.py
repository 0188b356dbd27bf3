"""The arguments of a restriction as they travel to the engine: which phrases must not be written.

They ride in a request's ``vllm_xargs`` like those of a corruption (``guards.engine.wire``). The words are sealed
into one string, the name under which the engine keeps what it has built from them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from guards.engine.sealing import SealError, seal, unseal
from guards.engine.wire import PREFIX, RESTRICTION

if TYPE_CHECKING:
    from collections.abc import Mapping

LONG: Final = 6
"""Letters from which a phrase is matched in its letters alone, wherever blanks stand. A shorter one: in whole words."""

MAX_PHRASES: Final = 200_000
MAX_PENALTY: Final = 100.0


class TooManyPhrases(ValueError):
    """A restriction holds more than ``MAX_PHRASES``."""


@dataclass(frozen=True, slots=True, order=True)
class Forbidden:
    """A phrase that must not be written. Construction raises ValueError on what is none."""

    form: str
    """Folded (``guards.engine.folding``), single blanks between its words."""
    telling: int
    """How many of its letters, from the first, must not be written one after the other."""

    def __post_init__(self) -> None:
        if not self.form or self.form != " ".join(self.form.split()):
            raise ValueError("a phrase is folded, with single blanks between its words")
        if not 1 <= self.telling <= len(self.letters):
            raise ValueError("a phrase tells after some of its letters")

    @property
    def letters(self) -> str:
        """The form without its blanks."""
        return self.form.replace(" ", "")


@dataclass(frozen=True, slots=True)
class RestrictionArgs:
    """What one answer must not contain. Construction raises ValueError on anything out of range.

    That is TooManyPhrases where it is their number, which may grow with every forget request in force.
    """

    forbidden: tuple[Forbidden, ...]
    soft: tuple[str, ...] = ()
    """Forms of words that are only made less likely."""
    penalty: float = 0.0
    """By how much: taken from the logits of tokens that begin such a word."""

    def __post_init__(self) -> None:
        if not self.forbidden:
            raise ValueError(f"{PREFIX}phrases holds none")
        if len(self.forbidden) + len(self.soft) > MAX_PHRASES:
            raise TooManyPhrases(f"{PREFIX}phrases must hold at most {MAX_PHRASES}")
        object.__setattr__(self, "penalty", _penalty(self.penalty))

    def to_xargs(self, key: bytes) -> dict[str, str | float]:
        """The arguments as entries of ``vllm_xargs``, for an engine that knows ``key``."""
        words = [sorted([one.form, one.telling] for one in self.forbidden), sorted(self.soft)]
        plain = json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()
        return {f"{PREFIX}phrases": seal(plain, key), f"{PREFIX}penalty": self.penalty}


def restricted(xargs: Mapping[str, object] | None) -> bool:
    """Whether a request's extra arguments ask for a restriction, rightly or wrongly."""
    return xargs is not None and any(PREFIX + field in xargs for field in RESTRICTION)


def restriction_from_xargs(xargs: Mapping[str, object], key: bytes | None) -> RestrictionArgs | None:
    """Read the arguments among a request's extra arguments.

    None where there are none. Raises ValueError, naming the argument and never a value, where one is missing or
    wrong, where ``key`` is None, and where the phrases were sealed under another key.
    """
    ours = {field: xargs[PREFIX + field] for field in RESTRICTION if PREFIX + field in xargs}
    if not ours:
        return None
    for field in RESTRICTION:
        if field not in ours:
            raise ValueError(f"{PREFIX}{field} is missing")
    sealed = ours["phrases"]
    if not isinstance(sealed, str):
        raise ValueError(f"{PREFIX}phrases must be a string")
    if key is None:
        raise ValueError(f"{PREFIX}phrases cannot be read: this engine was started without a key")
    forbidden, soft = _open(sealed, key)
    return RestrictionArgs(forbidden, soft, _penalty(ours["penalty"]))


@lru_cache(maxsize=32)
def _open(sealed: str, key: bytes) -> tuple[tuple[Forbidden, ...], tuple[str, ...]]:
    # Kept, because one request's arguments are read in several places, and by several requests alike.
    try:
        plain = unseal(sealed, key)
    except SealError as error:
        raise ValueError(f"{PREFIX}phrases {error}") from None
    try:
        forbidden, soft = json.loads(plain)
        return tuple(Forbidden(form, telling) for form, telling in forbidden), tuple(map(str, soft))
    except (ValueError, TypeError, AttributeError):
        # An exception's own words could hold a phrase.
        raise ValueError(f"{PREFIX}phrases are written in a way that this engine does not know") from None


def _penalty(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{PREFIX}penalty must be a number")
    if not (math.isfinite(value) and 0 <= value <= MAX_PENALTY):
        raise ValueError(f"{PREFIX}penalty must lie between 0 and {MAX_PENALTY:g}")
    return float(value)
