"""A thousand ordinary prompts that no threshold was calibrated on: a scope must leave them all alone.

Ten groups of ten things, each asked about in ten ways. Written for this project.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any


def read_data(name: str) -> Any:
    """The JSON file ``data/<name>.json``."""
    return json.loads((resources.files(__package__) / "data" / f"{name}.json").read_text("utf-8"))


@functools.cache
def ordinary_prompts() -> tuple[str, ...]:
    """The prompts, things of a group in turn, so that the first n are of many kinds."""
    groups = [
        [form.format(filler) for form in group["forms"] for filler in group["fillers"]]
        for group in read_data("ordinary")
    ]
    return tuple(prompt for of_all in zip(*groups, strict=True) for prompt in of_all)
