"""Plots of scores, shares and times, as PNG and as SVG."""

from __future__ import annotations

import importlib.util
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from offline.evaluation.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from offline.evaluation.intervals import Share
    from offline.evaluation.roc import Scores

# Okabe and Ito's, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "axes.edgecolor": "#888888",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "unremember",
}
# Where curves on a logarithmic axis begin, and shares of 0 are drawn.
_LEAST = 1e-4


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn figure."""

    png: bytes
    svg: bytes


def curves(scores: Mapping[str, Scores]) -> Plot:
    """ROC and DET curves of several detectors. False positives on a logarithmic axis: few are what counts."""
    with drawing():
        figure, (roc, det) = subplots(1, 2, figsize=(10.5, 4.4))
        for place, (name, one) in enumerate(scores.items()):
            style = {"color": COLOURS[place % len(COLOURS)], "linewidth": 2.2 if place == 0 else 1.5}
            false, true = one.roc()
            roc.step(np.maximum(false, _LEAST), true, where="post", label=f"{name} ({one.auc():.4f})", **style)
            false, missed = one.det()
            det.step(np.maximum(false, _LEAST), np.maximum(missed, _LEAST), where="pre", label=name, **style)
        for axes in (roc, det):
            axes.set_xscale("log")
            axes.set_xlim(_LEAST, 1)
            axes.set_xlabel("false positives on near neighbours")
            _percent(axes.xaxis)
            _percent(axes.yaxis)
        roc.set_ylim(0, 1.02)
        roc.set_ylabel("found")
        roc.set_title("ROC (area under the curve)")
        roc.legend(loc="lower right", fontsize=9)
        det.set_yscale("log")
        det.set_ylim(_LEAST, 1)
        det.set_ylabel("missed")
        det.set_title("DET: lower left is better")
        _percent(det.yaxis)
        return save(figure)


def histograms(groups: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> Plot:
    """For each detector how its scores are distributed in each group: share of the group by score."""
    with drawing():
        rows = -(-len(groups) // 2)
        figure, grid = subplots(rows, 2, figsize=(10.5, 2.6 * rows), squeeze=False)
        for axes in grid.flat[len(groups) :]:
            axes.set_visible(False)
        for axes, (name, values) in zip(grid.flat, groups.items(), strict=False):
            every = np.concatenate(list(values.values()))
            edges = np.linspace(every.min(), every.max() + 1e-9, 41)
            for (group, scores), colour in zip(values.items(), ("#D55E00", "#0072B2", "#999999"), strict=False):
                if len(scores):
                    weights = np.full(len(scores), 1.0 / len(scores))
                    style = {
                        "histtype": "stepfilled",
                        "alpha": 0.45,
                        "color": colour,
                        "label": f"{group} ({len(scores):,})",
                    }
                    axes.hist(scores, bins=edges, weights=weights, **style)
            axes.set_yscale("log")
            axes.set_ylim(_LEAST, 1.5)
            axes.set_title(name)
            axes.set_xlabel("score")
            _percent(axes.yaxis)
        grid.flat[0].legend(fontsize=8, loc="upper center")
        return save(figure)


def dots(rows: Mapping[str, Mapping[str, Share]], *, label: str) -> Plot:
    """A line a row: the first series as a dot with its interval, the others as marks."""
    with drawing():
        figure, axes = subplots(1, 1, figsize=(10.5, 0.8 + 0.23 * len(rows)))
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        for place, name in reversed(list(enumerate(names))):
            places = [number for number, row in enumerate(rows.values()) if name in row and row[name].of]
            shares = [row[name] for row in rows.values() if name in row and row[name].of]
            values = np.array([one.share for one in shares])
            colour = COLOURS[place % len(COLOURS)]
            if place == 0 and shares:
                ends = np.array([one.interval for one in shares])
                spread = np.abs(np.stack([values - ends[:, 0], ends[:, 1] - values]))
                axes.errorbar(values, places, xerr=spread, fmt="o", color=colour, label=name, capsize=2, zorder=3)
            else:
                marker = _MARKERS[place % len(_MARKERS)]
                style = {"marker": marker, "facecolors": "none", "edgecolors": colour, "linewidths": 1.2, "s": 28}
                axes.scatter(values, places, label=name, **style)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel(label)
        _percent(axes.xaxis)
        handles, labels = axes.get_legend_handles_labels()
        order = [labels.index(name) for name in names]
        shown = [handles[place] for place in order], [labels[place] for place in order]
        axes.legend(*shown, ncols=len(names), loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=9)
        return save(figure)


def lines(series: Mapping[str, Mapping[float, Share]], *, x: str, y: str) -> Plot:
    """Shares over a number, with their intervals as bands."""
    with drawing():
        figure, axes = subplots(1, 1, figsize=(10.5, 3.8))
        for place, (name, points) in enumerate(series.items()):
            colour, marker = COLOURS[place % len(COLOURS)], _MARKERS[place % len(_MARKERS)]
            at = list(points)
            axes.plot(at, [one.share for one in points.values()], color=colour, marker=marker, label=name)
            ends = np.array([one.interval for one in points.values()])
            axes.fill_between(at, ends[:, 0], ends[:, 1], color=colour, alpha=0.12, linewidth=0)
        axes.set_ylim(bottom=-0.01)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        _percent(axes.yaxis)
        axes.legend(fontsize=9)
        return save(figure)


def times(groups: Mapping[str, Mapping[str, Sequence[float]]]) -> Plot:
    """Milliseconds by stage, of each kind of prompt: a box for the middle half, whiskers to 1st and 99th percentile."""
    with drawing():
        figure, grid = subplots(1, len(groups), figsize=(10.5, 3.2), squeeze=False)
        for axes, (title, stages) in zip(grid.flat, groups.items(), strict=True):
            names = list(stages)[::-1]
            axes.boxplot(
                [stages[name] for name in names],
                orientation="horizontal",
                whis=(1, 99),
                showfliers=False,
                tick_labels=names,
                patch_artist=True,
                boxprops={"facecolor": "#cfe3f1", "edgecolor": "#0072B2"},
                medianprops={"color": "#D55E00", "linewidth": 2},
            )
            axes.set_xscale("log")
            _plain(axes.xaxis, lambda value: f"{value:g}")
            axes.set_xlabel("milliseconds")
            axes.set_title(title)
        return save(figure)


def check() -> None:
    """Raises DataError where plots cannot be drawn: before hours of measuring."""
    if importlib.util.find_spec("matplotlib") is None:
        raise DataError("Plots need matplotlib: pip install 'unremember[evaluation]'.")


def drawing() -> Any:
    """Matplotlib's context, without a display."""
    import matplotlib as mpl

    mpl.use("Agg")
    return mpl.rc_context(_STYLE)


def subplots(rows: int, columns: int, **options: Any) -> tuple[Any, Any]:
    """A figure and its axes, within `drawing`."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, layout="constrained", **options)
    return figure, axes


def _percent(axis: Any) -> None:
    _plain(axis, lambda value: f"{100 * value:g} %")


def _plain(axis: Any, shown: Callable[[float], str]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    axis.set_minor_locator(NullLocator())


def save(figure: Any) -> Plot:
    """The figure in both formats; it is closed."""
    import matplotlib.pyplot as plt

    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what was laid out once need not be for each format
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    figure.savefig(svg, format="svg", metadata={"Date": None})
    plt.close(figure)
    return Plot(png.getvalue(), svg.getvalue())
