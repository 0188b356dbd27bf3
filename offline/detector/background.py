"""Ordinary prompts: what a scope must leave alone, and where its thresholds come from.

Hand-written prompts, and templates filled from lists of entities, all under ``data/``. The draw is
seeded, so the set is the same everywhere. Written for this project; no benchmark's items are in it.
"""

from __future__ import annotations

import functools
import json
import random
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20_250_101
# Prompts drawn for each unit of a template group's share: with this the set has about 6,500, enough
# for a threshold at 0.1 % with 95 % confidence that two or three stray in-scope prompts cannot raise.
_PER_SHARE = 3
_SLOT = re.compile(r"\{(\w+)\}")


def read_data(name: str) -> Any:
    """The JSON file ``data/<name>.json``."""
    return json.loads((resources.files("offline.detector") / "data" / f"{name}.json").read_text("utf-8"))


@functools.cache
def background_prompts() -> tuple[str, ...]:
    """Distinct ordinary prompts, in a fixed shuffled order."""
    prompts = list(_written())
    entities = read_data("entities")
    for number, group in enumerate(read_data("templates")):
        draw = random.Random(f"{SEED}:{number}")  # noqa: S311
        wanted = _PER_SHARE * group["share"]
        filled = {_fill(form, entities, draw) for form in group["forms"] for _ in range(2 * wanted)}
        prompts += draw.sample(sorted(filled), min(len(filled), wanted))
    distinct = list(dict.fromkeys(prompts))
    random.Random(SEED).shuffle(distinct)  # noqa: S311
    return tuple(distinct)


def _written() -> Iterator[str]:
    directory = resources.files("offline.detector") / "data" / "prompts"
    for file in sorted(directory.iterdir(), key=lambda file: file.name):
        yield from filter(None, map(str.strip, file.read_text("utf-8").splitlines()))


def _fill(form: str, entities: dict[str, list[str]], draw: random.Random) -> str:
    used: set[str] = set()

    def choose(match: re.Match[str]) -> str:
        chosen = draw.choice([entity for entity in entities[match[1]] if entity not in used])
        used.add(chosen)
        return chosen

    return _SLOT.sub(choose, form)
