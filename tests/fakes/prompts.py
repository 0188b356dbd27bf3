"""Ordinary prompts for tests that need many and no model."""

from __future__ import annotations

_VERBS = ("explain", "summarise", "describe", "translate", "compare", "list", "review")
_THINGS = ("bread", "tennis", "gravity", "sonnets", "rivers", "taxes", "bicycles", "volcanoes", "chess", "tea", "opera")
_ENDS = ("for a child", "in one line", "with examples", "politely", "as a table", "step by step", "from memory")


def ordinary_prompts(count: int) -> list[str]:
    """Distinct prompts about nothing in particular."""
    prompts = [
        f"Please {verb} {thing} {end}, part {number}."
        for number in range(count // (len(_VERBS) * len(_THINGS)) + 1)
        for verb in _VERBS
        for thing in _THINGS
        for end in (_ENDS[number % len(_ENDS)],)
    ]
    return prompts[:count]
