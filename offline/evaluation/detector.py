"""Detectors on a test set: misses and false positives of each form, at thresholds that are comparable."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from offline.evaluation.contestant import judge_all
from offline.evaluation.intervals import Difference, Share
from offline.evaluation.prompts import PLAIN
from offline.evaluation.roc import RATES, Scores
from offline.evaluation.transforms import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from offline.evaluation.contestant import Contestant, Judged
    from offline.evaluation.dataset import DataSet
    from offline.evaluation.forms import Form
    from offline.evaluation.prompts import Prompt

_Acted = dict[str, "NDArray[np.bool_]"]


def rate_name(rate: float) -> str:
    """What the threshold at a false-positive rate on near neighbours is called."""
    return f"{rate * 100:g} % of near"


@dataclass(frozen=True, slots=True)
class Cell:
    """One contestant on one form, at each threshold."""

    missed: Mapping[str, Share] = field(default_factory=dict)
    more: Mapping[str, Difference] = field(default_factory=dict)
    """Misses beyond those of the same prompts in plain form."""
    flipped: Mapping[str, Share] = field(default_factory=dict)
    """Of those found in plain form, those missed in this one. Of forms that append words only."""
    touched: Mapping[str, Share] = field(default_factory=dict)
    """Of what is to be left alone, in this form, what is found all the same."""

    def figures(self) -> dict[str, Any]:
        """JSON-able."""
        parts: dict[str, Mapping[str, Share] | Mapping[str, Difference]] = {
            "missed": self.missed,
            "more_than_plain": self.more,
            "flipped": self.flipped,
            "touched": self.touched,
        }
        return {
            name: {threshold: one.figures() for threshold, one in part.items()} for name, part in parts.items() if part
        }


@dataclass(frozen=True, slots=True)
class Column:
    """All about one contestant."""

    name: str
    note: str
    thresholds: Mapping[str, float | None]
    """By name; None where a threshold is not one number."""
    scores: Scores
    """Of plain positives and near neighbours."""
    background_scores: NDArray[np.float64]
    background: Mapping[str, Share]
    attributed: Share | None
    """Of positives whose subject is known, those taken to be about it."""
    cells: Mapping[str, Cell]
    """By form; the first is plain."""
    flipped_by_any: Mapping[str, Share]
    """Of what was found in plain form, what appended words of any number hid."""
    worst: Mapping[str, Sequence[Prompt]]
    """Positives with the lowest scores, near neighbours with the highest."""

    def figures(self) -> dict[str, Any]:
        """JSON-able, without prompts."""
        return {
            "note": self.note,
            "thresholds": dict(self.thresholds),
            "auc": self.scores.auc(),
            "background": {name: share.figures() for name, share in self.background.items()},
            "attributed": self.attributed.figures() if self.attributed else None,
            "flipped_by_any": {name: share.figures() for name, share in self.flipped_by_any.items()},
            "forms": {name: cell.figures() for name, cell in self.cells.items()},
        }


@dataclass(frozen=True, slots=True)
class Sheet:
    """The prompts of an evaluation: what every contestant is asked, and how it is grouped."""

    positives: tuple[Prompt, ...]
    near: tuple[Prompt, ...]
    background: tuple[Prompt, ...]
    forms: Mapping[str, FormPrompts]

    @property
    def size(self) -> int:
        """How many prompts."""
        in_forms = sum(len(one.positives) + len(one.untouched) for one in self.forms.values())
        return len(self.positives) + len(self.near) + len(self.background) + in_forms


@dataclass(frozen=True, slots=True)
class FormPrompts:
    """The prompts of one form."""

    family: str
    appended: int = 0
    positives: tuple[Prompt, ...] = ()
    origins: tuple[int, ...] = ()
    """For each of ``positives`` its place among the sheet's positives; empty if they have no plain form."""
    untouched: tuple[Prompt, ...] = ()


def make_sheet(data: DataSet, forms: Sequence[Form], *, sample: int, seed: int) -> Sheet:
    """The prompts in every form; of each form at most ``sample`` positives and half as many near neighbours."""
    positives, near = (_plain(prompts) for prompts in (data.positives, data.near))
    answers = [one.answer for one in near if one.answer] or [one.answer for one in positives if one.answer]
    examples = {source.subject: source.examples for source in data.requests}
    world = World(examples, tuple(dict.fromkeys(answers)))
    draw = random.Random(seed)  # noqa: S311 - no secret
    orders = [draw.sample(range(len(prompts)), len(prompts)) for prompts in (positives, near)]
    found: dict[str, FormPrompts] = {}
    for form in forms:
        limit = min(sample, form.sample or sample)
        if form.of == "subjects":
            made = form.about([source.subject for source in data.requests], world, str(seed))
            chosen = tuple(draw.sample(made, min(limit, len(made))))
            found[form.name] = (
                FormPrompts(form.family, untouched=chosen)
                if form.expected == "untouched"
                else FormPrompts(form.family, positives=chosen)
            )
            continue
        inside, outside = (
            _applied(form, prompts, order, world, str(seed), most)
            for prompts, order, most in zip((positives, near), orders, (limit, max(1, limit // 2)), strict=True)
        )
        if form.expected == "untouched":
            found[form.name] = FormPrompts(form.family, untouched=tuple(inside.values()))
        else:
            found[form.name] = FormPrompts(
                form.family, form.appended, tuple(inside.values()), tuple(inside), tuple(outside.values())
            )
    found |= _given(data)
    return Sheet(positives, near, _plain(data.background), {name: one for name, one in found.items() if _any(one)})


def _plain(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    return tuple(prompt for prompt in prompts if prompt.form == PLAIN)


def _any(prompts: FormPrompts) -> bool:
    return bool(prompts.positives or prompts.untouched)


def _applied(
    form: Form, prompts: Sequence[Prompt], order: Iterable[int], world: World, seed: str, limit: int
) -> dict[int, Prompt]:
    found: dict[int, Prompt] = {}
    for place in order:
        if len(found) == limit:
            break
        made = form.apply(prompts[place], world, seed)
        if made is not None:
            found[place] = made
    return found


def _given(data: DataSet) -> dict[str, FormPrompts]:
    """Prompts that came in another form already, by form."""
    grouped: defaultdict[str, dict[str, list[Prompt]]] = defaultdict(lambda: {"positives": [], "untouched": []})
    for side, prompts in (("positives", data.positives), ("untouched", (*data.near, *data.background))):
        for prompt in prompts:
            if prompt.form != PLAIN:
                grouped[prompt.form][side].append(prompt)
    return {
        name: FormPrompts(
            name.partition(":")[0], positives=tuple(sides["positives"]), untouched=tuple(sides["untouched"])
        )
        for name, sides in grouped.items()
    }


async def evaluate(contestant: Contestant, sheet: Sheet, *, worst: int, done: Callable[[int], None]) -> Column:
    """One contestant on every prompt of a sheet. ``done`` is told of prompts as they are judged."""
    plain = await judge_all(contestant, sheet.positives, done)
    near = await judge_all(contestant, sheet.near, done)
    background = await judge_all(contestant, sheet.background, done) if sheet.background else None
    scores = Scores(plain.scores, near.scores)
    fixed = {rate_name(rate): scores.threshold(rate) for rate in RATES}

    def acted(judged: Judged) -> _Acted:
        return {**judged.acted, **{name: judged.scores > threshold for name, threshold in fixed.items()}}

    found_plain = acted(plain)
    cells = {PLAIN: Cell(missed=_shares(found_plain, missed=True), touched=_shares(acted(near)))}
    hidden: _Acted = {name: np.zeros(len(sheet.positives), dtype=bool) for name in found_plain}
    tried = np.zeros(len(sheet.positives), dtype=bool)
    for name, prompts in sheet.forms.items():
        found = acted(await judge_all(contestant, prompts.positives, done)) if prompts.positives else {}
        touched = acted(await judge_all(contestant, prompts.untouched, done)) if prompts.untouched else {}
        cells[name] = _cell(found, touched, found_plain, prompts.origins, appended=bool(prompts.appended))
        if prompts.appended and prompts.origins:
            rows = np.array(prompts.origins)
            tried[rows] = True
            for threshold, hits in found.items():
                hidden[threshold][rows] |= found_plain[threshold][rows] & ~hits
    return Column(
        name=contestant.name,
        note=contestant.note,
        thresholds=dict.fromkeys(plain.acted) | fixed,
        scores=scores,
        background_scores=background.scores if background else np.empty(0),
        background=_shares(acted(background)) if background else {},
        attributed=_attributed(plain, sheet.positives),
        cells=cells,
        flipped_by_any={
            name: Share.where(hidden[name][found_plain[name] & tried]) for name in found_plain if tried.any()
        },
        worst={
            "positives": [sheet.positives[place] for place in np.argsort(plain.scores)[:worst]],
            "near": [sheet.near[place] for place in np.argsort(-near.scores)[:worst]],
        },
    )


def _shares(acted: _Acted, *, missed: bool = False) -> dict[str, Share]:
    return {name: Share.where(~hits if missed else hits) for name, hits in acted.items()}


def _cell(found: _Acted, touched: _Acted, plain: _Acted, origins: Sequence[int], *, appended: bool) -> Cell:
    rows = np.array(origins, dtype=np.intp)
    paired = {name: (plain[name][rows], hits) for name, hits in found.items()} if len(rows) else {}
    return Cell(
        missed=_shares(found, missed=True),
        more={name: Difference.between(~before, ~after) for name, (before, after) in paired.items()},
        flipped={name: Share.where(~after[before]) for name, (before, after) in paired.items() if appended},
        touched=_shares(touched),
    )


def _attributed(judged: Judged, prompts: Sequence[Prompt]) -> Share | None:
    known = [
        subject == prompt.subject for subject, prompt in zip(judged.subjects, prompts, strict=False) if prompt.subject
    ]
    return Share.where(np.array(known, dtype=bool)) if known else None
