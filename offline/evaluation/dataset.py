"""A test set: what is to be forgotten, what asks about it, and what must be left alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offline.evaluation.errors import DataError
from offline.evaluation.learned import keys, learned_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from guards.scope import Source
    from offline.evaluation.prompts import Prompt


@dataclass(frozen=True, slots=True)
class DataSet:
    """Held out: no item of it may be in what a detector was trained or calibrated with."""

    name: str
    requests: tuple[Source, ...]
    positives: tuple[Prompt, ...]
    near: tuple[Prompt, ...]
    background: tuple[Prompt, ...]
    digests: Mapping[str, str]
    """SHA-256, hexadecimal, of each file that it was read from."""
    notes: tuple[str, ...] = ()
    """What a reader of figures should know about it."""

    def texts(self) -> Iterable[str]:
        """Every text: examples' prompts and answers, and all prompts."""
        for source in self.requests:
            for example in source.examples:
                yield from (text for text in (example.prompt, example.response) if text)
        for prompts in (self.positives, self.near, self.background):
            for prompt in prompts:
                yield from prompt.turns

    def sliced(self, requests: int, near: int, background: int) -> DataSet:
        """The first so many requests with the positives about them, and the first so many of each other part."""
        kept = self.requests[:requests]
        subjects = {source.subject for source in kept}
        return replace(
            self,
            requests=kept,
            positives=tuple(one for one in self.positives if one.subject in subjects),
            near=self.near[:near],
            background=self.background[:background],
        )


def held_out(data: DataSet) -> DataSet:
    """Without the prompts that calibration or training read, word for word after folding; its notes tell how many.

    Questions of general knowledge that everybody asks are all that is expected here.
    """
    learned = learned_keys()

    def kept(prompts: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
        return tuple(prompt for prompt in prompts if learned.isdisjoint(keys(prompt.turns)))

    parts = {"positives": kept(data.positives), "near": kept(data.near), "background": kept(data.background)}
    left_out = {name: len(getattr(data, name)) - len(part) for name, part in parts.items()}
    told = ", ".join(f"{count} of {name}" for name, count in left_out.items() if count)
    note = (f"Left out, as the detector's calibration has them too: {told}.",) if told else ()
    positives, near, background = parts.values()
    return replace(data, positives=positives, near=near, background=background, notes=(*data.notes, *note))


def load(name: str, *, cache: Path) -> DataSet:
    """The data set that ``--data`` names, `held_out`: ``tofu:forget10``, ``trivia:harrypotter``, or a directory.

    ``cache`` is where a package with data may be downloaded to.

    Raises:
        DataError: there is no such data set, or it is not in order.
    """
    from offline.evaluation import directory, tofu, trivia

    known: dict[str, Callable[[str], DataSet]] = {
        "tofu": tofu.load,
        "trivia": lambda topic: trivia.load(topic, cache=cache / "datasets"),
    }
    collection, colon, member = name.partition(":")
    if colon and collection in known:
        return held_out(known[collection](member))
    path = Path(name).expanduser()
    if path.is_dir():
        return held_out(directory.load(path))
    raise DataError(f"{name} is neither tofu:forget01|forget05|forget10, nor trivia:harrypotter, nor a directory.")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with a JSON object a line.

    Raises:
        DataError: it cannot be read, or a line is no object.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}.") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} is not a JSON object.")
        rows.append(row)
    return rows


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
