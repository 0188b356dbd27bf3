"""Systems side by side on TOFU, measured in one run."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar

from offline.evaluation.errors import DataError
from offline.metrics.readability import gibberish_rate
from offline.metrics.refusal import refusal_rate
from offline.metrics.tofu import forget_quality, model_utility
from offline.served.systems import standing
from offline.served.tofu import measure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from guards.scope import Source
    from offline.metrics.tofu import ForgetQuality
    from offline.served.answerer import Answerer, Gate
    from offline.served.systems import System
    from offline.served.tofu import Measured, Tofu

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Compared:
    """What was measured of every system, in their order."""

    systems: tuple[System, ...]
    measured: tuple[Measured, ...]
    references: tuple[str, ...]
    """Names of the systems that never saw the forget set: retain models."""

    def of(self, name: str) -> Measured:
        """One system's."""
        return self.measured[[one.name for one in self.systems].index(name)]

    def quality(self, name: str) -> ForgetQuality | None:
        """A system's forget quality against the first retain model; None where it is not defined."""
        tested = self.of(name).truth_ratios
        retain = self.of(self.references[0]).truth_ratios if self.references else None
        return None if tested is None or retain is None else forget_quality(tested, retain)

    def figures(self) -> dict[str, Any]:
        """JSON-able, without texts."""
        return {"references": list(self.references), "systems": {one.name: self._of(one) for one in self.systems}}

    def _of(self, system: System) -> dict[str, Any]:
        found = self.of(system.name)
        quality = self.quality(system.name)
        return {
            **system.describes,
            "ks_distance": None if quality is None else quality.distance,
            "forget_quality": None if quality is None else quality.p,
            "mean_truth_ratio": None if found.truth_ratios is None else fmean(found.truth_ratios),
            "forget_probability": found.forget_probability,
            "forget_rouge": fmean(found.forget_rouge) if found.forget_rouge else None,
            "model_utility": None if found.parts is None else model_utility(found.parts),
            "parts": None if found.parts is None else dict(found.parts),
            "gibberish": gibberish_rate(found.answers).figures(),
            "refusals": refusal_rate(found.answers).figures(),
            "truth_ratios": None if found.truth_ratios is None else list(found.truth_ratios),
        }


async def compare(
    systems: Sequence[System],
    references: Sequence[str],
    gate: Gate,
    requests: Sequence[Source],
    data: Tofu,
    *,
    key: str,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> Compared:
    """Measure one system after the other.

    Args:
        references: names of those systems that are retain models.
        requests: what is forgotten, for the systems that forget.
        key: of model servers that stand by themselves.

    Raises:
        DataError: a system does not answer, the gateway refuses, or something is in force on it already.
    """
    if unknown := set(references) - {one.name for one in systems}:
        raise DataError(f"There is no system {sorted(unknown)[0]!r} to compare with.")

    async def ask(system: System, answerer: Answerer) -> Measured:
        return await measure(answerer, data, counted(f"asking: {system.name}", data.size, progress))

    found = await each(systems, gate, requests, ask, key=key, seed=seed)
    return Compared(tuple(systems), tuple(found), tuple(references))


async def each(
    systems: Sequence[System],
    gate: Gate,
    requests: Sequence[Source],
    work: Callable[[System, Answerer], Awaitable[Found]],
    *,
    key: str,
    seed: int,
) -> list[Found]:
    """What ``work`` finds of one system after the other, each standing while it is asked.

    Raises:
        DataError: as ``work`` does, or the gateway refuses, or something is in force on it already.
    """
    if len({one.name for one in systems}) < len(systems):
        raise DataError("Two systems have the same name.")
    await _require_nothing_forgotten(gate)
    found = []
    for system in systems:
        async with standing(system, gate, requests, key, seed=seed) as answerer:
            found.append(await work(system, answerer))
    return found


def counted(title: str, total: int, progress: Callable[[str, int, int], None]) -> Callable[[int], None]:
    """Adds up what is done, and tells it."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(title, done, total)

    return count


async def _require_nothing_forgotten(gate: Gate) -> None:
    """What somebody else has forgotten would be in every figure, and in nobody's table."""
    states = (await gate.admin("GET", "/status"))["requests"]
    if states.get("active") or states.get("shadow"):
        raise DataError(
            "The gateway has forget requests in force, whose effect would show. Evaluate one that has none."
        )
