"""Plots of comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from offline.evaluation.plots import COLOURS, drawing, save, subplots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from offline.evaluation.plots import Plot

_LEAST: Final = 1e-12
"""Where p-values are drawn that are smaller."""


def truth_ratios(ratios: Mapping[str, Sequence[float]], reference: str) -> Plot:
    """Empirical distribution of each system's truth ratios; the reference's is the heavy black line."""
    with drawing():
        figure, axes = subplots(1, 1, figsize=(8.0, 4.4))
        place = 0
        for name, values in ratios.items():
            ordered = np.sort(np.asarray(values))
            shares = np.arange(1, len(ordered) + 1) / len(ordered)
            if name == reference:
                axes.step(ordered, shares, where="post", label=name, color="#000000", linewidth=2.6)
            else:
                colour = COLOURS[place % (len(COLOURS) - 1)]
                axes.step(ordered, shares, where="post", label=name, color=colour, linewidth=1.5)
                place += 1
        axes.set_xscale("log")
        axes.axvline(1.0, color="#888888", linestyle=":", linewidth=1)
        axes.set_xlabel("truth ratio (under 1: the right answer is the likelier one)")
        axes.set_ylabel("share of questions")
        axes.set_ylim(0, 1.02)
        axes.legend(loc="upper left", fontsize=8)
        return save(figure)


def quality_and_utility(points: Mapping[str, tuple[float, float]]) -> Plot:
    """Each system's forget quality (a p-value, logarithmic) by its model utility."""
    with drawing():
        figure, axes = subplots(1, 1, figsize=(8.0, 4.4))
        for place, (name, (quality, utility)) in enumerate(points.items()):
            height = max(quality, _LEAST)
            axes.plot([utility], [height], "o", color=COLOURS[place % len(COLOURS)], markersize=8)
            axes.annotate(name, (utility, height), textcoords="offset points", xytext=(8, -3), fontsize=8)
        axes.axhline(0.05, color="#888888", linestyle="--", linewidth=1)
        axes.set_yscale("log")
        axes.set_ylim(_LEAST / 3, 3)
        axes.set_xlim(0, max([1.0, *(utility for _, utility in points.values())]) * 1.15)
        axes.set_xlabel("model utility")
        axes.set_ylabel("forget quality (p)")
        return save(figure)


def heat(shares: Mapping[str, Mapping[str, float]]) -> Plot:
    """A cell for each form and system: the darker, the larger the share, which stands in it in per cent."""
    rows = list(shares)
    columns = list(next(iter(shares.values())))
    values = np.array([[shares[row][column] for column in columns] for row in rows])
    with drawing():
        figure, axes = subplots(1, 1, figsize=(3.0 + 1.1 * len(columns), 1.0 + 0.24 * len(rows)))
        axes.imshow(values, aspect="auto", cmap="Reds", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(values):
            colour = "#ffffff" if value > 0.5 else "#333333"
            axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=colour)
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.grid(visible=False)
        return save(figure)
