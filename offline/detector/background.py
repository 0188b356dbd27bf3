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
from typing import Any

SEED = 20_250_101
# Prompts drawn for each unit of a template group's share: with this the set has about 6,500, enough
# for a threshold at 0.1 % with 95 % confidence that two or three stray in-scope prompts cannot raise.
_PER_SHARE = 3
# Long prompts put together from hand-written ones: the more windows, the more chances to come near a scope.
_LONG = 150
_SLOT = re.compile(r"\{(\w+)\}")


def read_data(name: str) -> Any:
    """The JSON file ``data/<name>.json``."""
    return json.loads((resources.files("offline.detector") / "data" / f"{name}.json").read_text("utf-8"))


@functools.cache
def background_prompts() -> tuple[str, ...]:
    """Distinct ordinary prompts, in a fixed shuffled order."""
    written = written_prompts()
    prompts = [*(prompt for of_file in written.values() for prompt in of_file), *_long_prompts(written)]
    entities = read_data("entities")
    for number, group in enumerate(read_data("templates")):
        draw = random.Random(f"{SEED}:{number}")  # noqa: S311 - no secret
        wanted = _PER_SHARE * group["share"]
        filled = {_fill(form, entities, draw) for form in group["forms"] for _ in range(2 * wanted)}
        prompts += draw.sample(sorted(filled), min(len(filled), wanted))
    distinct = list(dict.fromkeys(prompts))
    random.Random(SEED).shuffle(distinct)  # noqa: S311 - no secret
    return tuple(distinct)


def written_prompts() -> dict[str, list[str]]:
    """The hand-written prompts by the name of their file."""
    directory = resources.files("offline.detector") / "data" / "prompts"
    return {
        file.name: [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
        for file in sorted(directory.iterdir(), key=lambda file: file.name)
    }


def _long_prompts(written: dict[str, list[str]]) -> list[str]:
    """Several paragraphs and a request at the end, as when somebody pastes text and asks about it."""
    draw = random.Random(f"{SEED}:long")  # noqa: S311 - no secret
    paragraphs = written["long.txt"]
    requests = [prompt for of_file in written.values() for prompt in of_file if prompt not in paragraphs]
    return ["\n\n".join([*draw.sample(paragraphs, draw.randint(1, 4)), draw.choice(requests)]) for _ in range(_LONG)]


def _fill(form: str, entities: dict[str, list[str]], draw: random.Random) -> str:
    used: set[str] = set()

    def choose(match: re.Match[str]) -> str:
        known = entities[match[1]]
        chosen = draw.choice([entity for entity in known if entity not in used] if used else known)
        used.add(chosen)
        return chosen

    return _SLOT.sub(choose, form)
