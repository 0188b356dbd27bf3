"""Everything that calibration and training read: what is tested with must not be among it."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from guards.detect.words import Words
from offline.detector.background import background_prompts
from offline.detector.mentions import mention_prompts
from offline.detector.reference import turns
from offline.detector.training import training_scopes
from offline.encoder.distillation import calibration_scopes
from offline.encoder.pairs import training_pairs
from offline.encoder.tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.resources.abc import Traversable

FEWEST_WORDS = 4
"""Texts of fewer words are no benchmark's ("Who is it?") and are not compared."""


def learned_texts() -> Iterator[str]:
    """What is drawn from the detector's data, by every default seed, for the encoder too; every string in its files."""
    yield from background_prompts()
    yield from (prompt.text for prompt in mention_prompts())
    for kind in turns():
        yield from kind
    for scope in (*training_scopes(), *calibration_scopes()):
        yield from (*scope.inside, *scope.near)
        for example in (*scope.source.examples, *scope.source.retain_examples):
            yield from (example.prompt, example.response, f"{example.prompt} {example.response}")
    for pair in training_pairs(Tuning().pairs, Tuning().seed):
        yield from (pair.one, pair.other)
    yield from _strings_in(resources.files("offline.detector") / "data")


@functools.cache
def learned_keys() -> frozenset[str]:
    """The folded words of each of those texts."""
    return frozenset(keys(learned_texts()))


def keys(texts: Iterable[str]) -> Iterator[str]:
    """The folded words of texts of ``FEWEST_WORDS`` words or more."""
    return (words.key for text in texts if len(words := Words(text)) >= FEWEST_WORDS)


def _strings_in(place: Traversable) -> Iterator[str]:
    if place.is_dir():
        for inner in place.iterdir():
            yield from _strings_in(inner)
    elif place.name.endswith(".json"):
        yield from _strings(json.loads(place.read_text("utf-8")))
    elif place.name.endswith((".txt", ".jsonl")):
        yield from place.read_text("utf-8").splitlines()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
