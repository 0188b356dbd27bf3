"""What an evaluation of detectors says, for people: tables, plots, and a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offline.evaluation import plots
from offline.evaluation.detector import rate_name
from offline.evaluation.intervals import Share, quantiles
from offline.evaluation.prompts import PLAIN
from offline.evaluation.report import Figure, Group, Report, Row, Section, Table, Tile, percent
from offline.evaluation.roc import RATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from offline.evaluation.detector import Cell, Column, Sheet
    from offline.evaluation.latency import Latency
    from offline.evaluation.run import Result

FIXED = rate_name(0.005)
"""The threshold at which detectors are compared form by form: hardly any false positive, for a set of any size."""


def make_report(result: Result, provenance: Mapping[str, Any]) -> Report:
    """The page about one data set. The first contestant is the one it is about."""
    data, sheet, ours = result.data, result.sheet, result.columns[0]
    return Report(
        title=f"Detectors on {data.name}",
        summary=(
            f"{len(data.requests)} forget request{'s' * (len(data.requests) != 1)}. {len(sheet.positives):,} held-out "
            f"prompts ask about what is to be forgotten; {len(sheet.near):,} near neighbours and "
            f"{len(sheet.background):,} unrelated prompts must be left alone. {' '.join(data.notes)} "
            "Shares stand with their 95 % Wilson interval."
        ),
        tiles=_tiles(ours, result.latencies),
        sections=tuple(_sections(result)),
        provenance=provenance,
    )


def _tiles(ours: Column, latencies: Sequence[Latency]) -> tuple[Tile, ...]:
    own = next(iter(ours.thresholds))
    plain, strict = ours.cells[PLAIN], rate_name(RATES[0])

    def tile(share: Share, title: str) -> Tile:
        _, high = share.interval
        return Tile(percent(share.share), title, f"{share.count} of {share.of:,}; at most {percent(high)}")

    tiles = [
        tile(plain.missed[own], f"missed in the {own}"),
        tile(plain.touched[own], f"near neighbours in the {own}"),
        tile(plain.missed[strict], "missed at 0.1 % false positives on near neighbours"),
    ]
    if ours.background:
        tiles.append(tile(ours.background[own], f"unrelated prompts in the {own}"))
    if latencies:
        spent = quantiles(latencies[0].stages["verdict"])
        tokens = latencies[0].tokens
        tiles.append(
            Tile(
                f"{spent['p50']['value']:.1f} ms",
                "to a verdict, p50",
                f"p99 {spent['p99']['value']:.1f} ms; {tokens:.0f} tokens",
            )
        )
    return tuple(tiles)


def _sections(result: Result) -> Iterable[Section]:
    columns, ours = result.columns, result.columns[0]
    yield _thresholds(columns)
    yield Section(
        "Scores",
        "A detector separates well where orange and blue hardly overlap. Scores compare within a detector only.",
        figures=(
            Figure("scores", "Share of each group by score, logarithmic.", plots.histograms(_groups(columns))),
            Figure(
                "curves",
                "Misses against false positives on near neighbours, at every threshold.",
                plots.curves({one.name: one.scores for one in columns}),
            ),
        ),
    )
    if any(one.positives for one in result.sheet.forms.values()):
        yield _forms(result.sheet, columns)
    yield from _alone(result.sheet, columns)
    flips = _flips(result.sheet, columns)
    if flips is not None:
        yield flips
    if result.latencies:
        yield _latency(result)
    if any(ours.worst.values()):
        yield Section(
            "The hardest prompts",
            f"By {ours.name}'s scores.",
            quotations={
                "Positives with the lowest scores": [prompt.text for prompt in ours.worst["positives"]],
                "Near neighbours with the highest scores": [prompt.text for prompt in ours.worst["near"]],
            },
        )


def _thresholds(columns: Sequence[Column]) -> Section:
    groups = []
    for column in columns:
        plain = column.cells[PLAIN]
        rows = tuple(
            Row(
                name if value is None else f"{name} (above {value:.4g})",
                (plain.missed[name], plain.touched[name], column.background.get(name)),
                strong=place == 0,
            )
            for place, (name, value) in enumerate(column.thresholds.items())
        )
        groups.append(Group(f"{column.name} · AUC {column.scores.auc():.4f}", rows))
    ours = columns[0].attributed
    told = f" {columns[0].name} names the right subject for {percent(ours.share)} of positives." if ours else ""
    table = Table(
        "Prompts in plain form.", ("missed", "near, found", "unrelated, found"), tuple(groups), first="threshold"
    )
    return Section(
        "Misses and false positives",
        "First at each detector's own thresholds, fixed before it saw any of these prompts; then at those at which "
        "so many near neighbours are found, which makes detectors comparable, and takes the near neighbours to set."
        f"{told}",
        terms={column.name: column.note for column in columns},
        tables=(table,),
    )


def _groups(columns: Sequence[Column]) -> dict[str, dict[str, Any]]:
    return {
        one.name: {
            "asks about it": one.scores.positives,
            "near neighbours": one.scores.negatives,
            "unrelated": one.background_scores,
        }
        for one in columns
    }


def _forms(sheet: Sheet, columns: Sequence[Column]) -> Section:
    ours = columns[0]
    own = next(iter(ours.thresholds))
    names = [name for name, one in sheet.forms.items() if one.positives]

    def row(name: str) -> Row:
        cell = ours.cells[name]
        return Row(
            name,
            (cell.missed[own], cell.more.get(own), cell.touched.get(own), cell.missed[FIXED], cell.more.get(FIXED)),
            strong=name == PLAIN,
        )

    columns_ = (
        f"missed, {own}",
        "more than plain",
        f"near in this form, {own}",
        f"missed, {FIXED}",
        "more than plain",
    )
    table = Table(
        f'{ours.name}. "More than plain" compares with the same prompts in plain form (Newcombe\'s paired interval).',
        columns_,
        (Group("", (row(PLAIN),)), *_by_family(sheet, names, row)),
        first="form",
    )
    compared = {name: {one.name: one.cells[name].missed[FIXED] for one in columns} for name in (PLAIN, *names)}
    figure = Figure(
        "forms",
        "Missed in each form, every detector at its threshold for 0.5 % false positives on plain near neighbours; "
        f"{ours.name} with its interval.",
        plots.dots(compared, label="missed"),
    )
    return Section(
        "Attack forms",
        "The same questions as somebody would put them who knows that there is a filter. What makes prompts look "
        "alike makes near neighbours look like positives too, so those are shown in the same form.",
        tables=(table,),
        figures=(figure,),
    )


def _by_family(sheet: Sheet, names: Sequence[str], row: Callable[[str], Row]) -> list[Group]:
    families = dict.fromkeys(sheet.forms[name].family for name in names)
    return [
        Group(family, tuple(row(name) for name in names if sheet.forms[name].family == family)) for family in families
    ]


def _alone(sheet: Sheet, columns: Sequence[Column]) -> Iterable[Section]:
    """Forms that must be left alone whatever they contain: mentions, namesakes."""
    names = [name for name, one in sheet.forms.items() if one.untouched and not one.positives]
    if not names:
        return

    def cell(column: Column, name: str) -> Cell:
        return column.cells[name]

    own = [(column, next(iter(column.thresholds))) for column in columns]
    table = Table(
        "Found, at each detector's first threshold.",
        tuple(f"{column.name}, {threshold}" for column, threshold in own),
        tuple(
            _by_family(
                sheet, names, lambda name: Row(name, tuple(cell(column, name).touched[at] for column, at in own))
            )
        ),
        first="form",
    )
    yield Section(
        "Named, and not asked about",
        "Mentions that do not ask, and namesakes: acting on them is a false positive.",
        tables=(table,),
    )


def _flips(sheet: Sheet, columns: Sequence[Column]) -> Section | None:
    appended = {
        one.appended: name
        for name, one in sorted(sheet.forms.items(), key=lambda item: item[1].appended)
        if one.appended
    }
    if not appended:
        return None
    series = {
        one.name: {float(words): one.cells[name].flipped[FIXED] for words, name in appended.items()} for one in columns
    }
    own = next(iter(columns[0].thresholds))
    table = Table(
        "Of the prompts found in plain form, those that some number of appended words hid.",
        ("at its first own threshold", FIXED),
        (
            Group(
                "",
                tuple(
                    Row(one.name, (one.flipped_by_any[next(iter(one.thresholds))], one.flipped_by_any[FIXED]))
                    for one in columns
                ),
            ),
        ),
        first="detector",
    )
    return Section(
        "Appended benign words",
        "How many found prompts are hidden by harmless words after the question. A published guard lost all of its "
        f"39 catches to 2.6 words on average. {columns[0].name}'s first own threshold is the {own}.",
        figures=(
            Figure(
                "appended",
                "Flip rate by number of appended words, with 95 % intervals.",
                plots.lines(series, x="appended words", y="found plain, then missed"),
            ),
        ),
        tables=(table,),
    )


def _latency(result: Result) -> Section:
    groups = []
    for one in result.latencies:
        rows = []
        for stage, spent in one.stages.items():
            found = quantiles(spent)
            rows.append(
                Row(
                    stage,
                    tuple(_milliseconds(found[point]) for point in ("p50", "p90", "p99")),
                    strong=stage == "verdict",
                )
            )
        groups.append(
            Group(
                f"{one.kind} prompts, {one.tokens:.0f} tokens on average ({len(one.stages['verdict'])} of them)",
                tuple(rows),
            )
        )
    learned = result.learning
    return Section(
        "Time to verdict",
        "One prompt after the other, nothing remembered, the encoder on its own thread; other work on the machine "
        f"counts in. Learning a request of {learned['examples']} examples, until it is enforced, took "
        f"{learned['seconds']:.2f} s.",
        tables=(
            Table(
                "Milliseconds, with 95 % intervals of the quantiles.",
                ("p50", "p90", "p99"),
                tuple(groups),
                first="stage",
            ),
        ),
        figures=(
            Figure(
                "latency",
                "Box: middle half; line: median; whiskers: 1st and 99th percentile.",
                plots.times({f"{one.kind}: {one.tokens:.0f} tokens": one.stages for one in result.latencies}),
            ),
        ),
    )


def _milliseconds(found: Mapping[str, float | None]) -> str:
    low, high = (f"{end:.3g}" if end is not None else "?" for end in (found["low"], found["high"]))
    return f"{found['value']:.3g} ({low}–{high})"
