"""Attack forms: the same question as a detector may not recognise it, and mentions that it must leave alone."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from offline.evaluation.errors import DataError
from offline.evaluation.prompts import Prompt
from offline.evaluation.transforms import TRANSFORMS, World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FIELDS = {
    "name",
    "family",
    "transform",
    "options",
    "templates",
    "turns",
    "of",
    "expected",
    "asking",
    "sample",
    "appended",
}


@dataclass(frozen=True, slots=True)
class Form:
    """One form: a transformation of the prompt, a template around it, or both."""

    name: str
    family: str
    transform: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    templates: tuple[tuple[str, ...], ...] = (("{prompt}",),)
    """Turns to fill in; which of several is drawn for each prompt."""
    of: str = "prompts"
    """``prompts``: positives, and near neighbours in the same form. ``subjects``: made from each subject's name."""
    expected: str = "touched"
    """``untouched`` where acting on it is wrong."""
    asking: tuple[str, ...] = ()
    """Of ``subjects``: the prompts to start from."""
    sample: int | None = None
    """Most prompts of each side, where the form is expensive."""
    appended: int = 0
    """How many benign words it appends: flip rates are drawn over this."""

    def apply(self, prompt: Prompt, world: World, seed: str) -> Prompt | None:
        """The prompt in this form, the same for the same seed; None where the form does not apply to it."""
        draw = random.Random(f"{seed}:{self.name}:{prompt.text}")  # noqa: S311 - no secret
        text: str | None = prompt.turns[-1]
        if self.transform:
            text = TRANSFORMS[self.transform](prompt, draw, world, **self.options)
        template = draw.choice(self.templates)
        if text is None or (not prompt.subject and any("{subject}" in turn for turn in template)):
            return None
        turns = tuple(turn.format(prompt=text, subject=prompt.subject) for turn in template)
        return replace(prompt, turns=prompt.turns[:-1] + turns, form=self.name)

    def about(self, subjects: Sequence[str], world: World, seed: str) -> list[Prompt]:
        """Of ``subjects``: every asking (or template) filled in with every subject."""
        if self.asking:
            prompts = [Prompt((text.format(subject=subject),), subject) for text in self.asking for subject in subjects]
            made = [self.apply(prompt, world, seed) for prompt in prompts]
            return [prompt for prompt in made if prompt is not None]
        return [
            Prompt(tuple(turn.format(subject=subject, prompt="") for turn in template), subject, form=self.name)
            for template in self.templates
            for subject in subjects
        ]


@dataclass(frozen=True, slots=True)
class Forms:
    """A file of forms."""

    forms: tuple[Form, ...]
    digest: str
    """SHA-256 of the file, hexadecimal."""


def load(path: Path | None = None) -> Forms:
    """Read a file of forms; the committed one without a path.

    Raises:
        DataError: it cannot be read, or an entry is wrong; the message names it.
    """
    try:
        raw = path.read_bytes() if path else (resources.files(__package__) / "data" / "forms.json").read_bytes()
        entries = json.loads(raw)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a file with a JSON array: {type(error).__name__}.") from None
    if not isinstance(entries, list):
        raise DataError(f"{path} is not a file with a JSON array.")
    forms = tuple(_form(entry, number) for number, entry in enumerate(entries, start=1))
    names = [form.name for form in forms]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two forms have the same name.")
    return Forms(forms, hashlib.sha256(raw).hexdigest())


def _form(entry: Any, number: int) -> Form:
    if not isinstance(entry, dict) or not {"name", "family"} <= set(entry) <= _FIELDS:
        raise DataError(f"form {number}: its fields are not those that docs/evaluation.md lists.")
    name = str(entry["name"])
    turns = entry.get("turns") or [[template] for template in entry.get("templates", ["{prompt}"])]
    form = Form(
        name=name,
        family=str(entry["family"]),
        transform=entry.get("transform", ""),
        options=dict(entry.get("options", {})),
        templates=tuple(tuple(map(str, one)) for one in turns),
        of=entry.get("of", "prompts"),
        expected=entry.get("expected", "touched"),
        asking=tuple(entry.get("asking", ())),
        sample=entry.get("sample"),
        appended=int(entry.get("appended", 0)),
    )
    if form.transform and form.transform not in TRANSFORMS:
        raise DataError(
            f"form {name!r}: there is no transformation {form.transform!r}; there are {', '.join(sorted(TRANSFORMS))}."
        )
    if form.of not in {"prompts", "subjects"} or form.expected not in {"touched", "untouched"}:
        raise DataError(f"form {name!r}: of is prompts or subjects, expected is touched or untouched.")
    try:
        for template in form.templates:
            for turn in template:
                turn.format(prompt="", subject="")
    except (KeyError, IndexError, ValueError):
        raise DataError(f"form {name!r}: a template has {{prompt}} and {{subject}} and no other braces.") from None
    return form
