"""The page of a comparison on TOFU, and its tables as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from offline.evaluation.report import Figure, Group, Report, Row, Section, Table, Tile
from offline.metrics.readability import gibberish_rate
from offline.metrics.refusal import refusal_rate
from offline.metrics.tofu import UTILITY_PARTS, model_utility
from offline.served.plots import quality_and_utility, truth_ratios

if TYPE_CHECKING:
    from collections.abc import Mapping

    from offline.evaluation.report import Value
    from offline.served.comparison import Compared
    from offline.served.tofu import Tofu

_UNDEFINED: Final = "not defined"
_COLUMNS: Final = (
    "distance",
    "forget quality",
    "truth ratio",
    "model utility",
    "ROUGE-L, forget",
    "gibberish",
    "refusals",
)


def make_report(compared: Compared, data: Tofu, provenance: Mapping[str, Any]) -> Report:
    """The page."""
    names = [one.name for one in compared.systems]
    reference = compared.references[0] if compared.references else ""
    ratios = {name: found for name in names if (found := compared.of(name).truth_ratios) is not None}
    points = {
        name: (quality.p, model_utility(parts))
        for name in names
        if (quality := compared.quality(name)) is not None and (parts := compared.of(name).parts) is not None
    }
    figures = [
        Figure(
            "truth-ratios",
            "Distribution of truth ratios on the forget set. A system that cannot be told from a retain model lies "
            "on its line.",
            truth_ratios(ratios, reference),
        )
    ]
    if points:
        figures.append(
            Figure(
                "quality-and-utility",
                "Forget quality and model utility: upper right is better. Below the dashed line the system and the "
                "retain model are told apart at 5 %.",
                quality_and_utility(points),
            )
        )
    return Report(
        title="What served systems still know: TOFU",
        summary=(
            f"{len(data.forget)} questions to be forgotten, {len(data.retain)} to be retained, "
            f"{len(data.real_authors)} on real authors and {len(data.world_facts)} world facts, each asked of every "
            "system over HTTP, one system after the other."
        ),
        tiles=_tiles(compared, reference),
        sections=(
            Section(
                "Systems",
                f"Compared with {reference or 'no retain model'}, a model that never saw what is forgotten. "
                "Teacher-forced figures do not show what declining and restriction do: there they are not defined, and "
                "ROUGE-L of what is generated tells.",
                tables=(_table(compared),),
                figures=tuple(figures),
                terms={
                    "distance": "Kolmogorov-Smirnov distance of the truth ratios to the retain model's: 0 is the same",
                    "forget quality": "p of that test; under 0.05 the two are told apart. It falls with the number of "
                    "questions",
                    "truth ratio": "mean; under 1 for a model that knows the answers",
                    "model utility": "harmonic mean of nine parts on what is retained",
                    "ROUGE-L, forget": "recall of the true answers in what is said to paraphrased questions: mean",
                },
            ),
            Section("Model utility, part by part", "Means over the questions.", tables=(_parts(compared),)),
        ),
        provenance={**provenance, "data_sha256": dict(data.digests)},
    )


def as_csv(compared: Compared) -> str:
    """A row a system."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("system", *_COLUMNS))
    for system in compared.systems:
        writer.writerow((system.name, *map(_plain, _cells(compared, system.name))))
    return out.getvalue()


def as_latex(compared: Compared) -> str:
    """The same as a tabular environment for a paper."""
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(_COLUMNS)}}}",
        r"\hline",
        " & ".join(("system", *_COLUMNS)) + r" \\",
        r"\hline",
    ]
    for system in compared.systems:
        cells = (system.name, *map(_plain, _cells(compared, system.name)))
        lines.append(" & ".join(_escaped(cell) for cell in cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def _table(compared: Compared) -> Table:
    rows = tuple(
        Row(one.name, tuple(_cells(compared, one.name)), strong=one.name in compared.references)
        for one in compared.systems
    )
    return Table("", _COLUMNS, (Group("", rows),), first="system")


def _cells(compared: Compared, name: str) -> list[Value]:
    found = compared.of(name)
    quality = compared.quality(name)
    return [
        _UNDEFINED if quality is None else f"{quality.distance:.3f}",
        _UNDEFINED if quality is None else f"{quality.p:.2g}",
        _UNDEFINED if found.truth_ratios is None else f"{fmean(found.truth_ratios):.3f}",
        _UNDEFINED if found.parts is None else f"{model_utility(found.parts):.3f}",
        f"{fmean(found.forget_rouge):.3f}" if found.forget_rouge else "",
        gibberish_rate(found.answers),
        refusal_rate(found.answers),
    ]


def _parts(compared: Compared) -> Table:
    rows = tuple(
        Row(one.name, tuple(f"{parts[name]:.3f}" for name in UTILITY_PARTS))
        for one in compared.systems
        if (parts := compared.of(one.name).parts) is not None
    )
    columns = tuple(name.replace("_", " ") for name in UTILITY_PARTS)
    return Table("", columns, (Group("", rows),), first="system")


def _tiles(compared: Compared, reference: str) -> tuple[Tile, ...]:
    scored = {
        one.name: quality
        for one in compared.systems
        if one.name not in compared.references and (quality := compared.quality(one.name)) is not None
    }
    if not scored:
        return ()
    name, best = min(scored.items(), key=lambda item: item[1].distance)
    return (
        Tile(f"{best.distance:.3f}", "smallest distance", f"{name}, to {reference}; p = {best.p:.2g}"),
        Tile(str(best.tested), "forget questions", "each scored and answered"),
    )


def _plain(value: Value) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    figures: Mapping[str, float] = value.figures()
    return f"{figures.get('share', figures.get('difference', 0.0)):.3f}"


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "&%$#_{}" else char for char in text)
