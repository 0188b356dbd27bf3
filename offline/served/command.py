"""What ``unremember evaluate tofu`` and ``attacks`` do: ask every system everything, then write pages and tables."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from offline.evaluation import dataset, forms, plots, tofu
from offline.evaluation.errors import DataError
from offline.evaluation.provenance import provenance
from offline.evaluation.report import write
from offline.served.answerer import Gate
from offline.served.attack_report import make_attack_report
from offline.served.attacks import defend, make_attacks
from offline.served.comparison import compare, counted, each
from offline.served.report import as_csv, as_latex, make_report
from offline.served.systems import parse
from offline.served.tofu import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from offline.served.answerer import Answerer
    from offline.served.attacks import Defended
    from offline.served.comparison import Compared
    from offline.served.systems import System
    from offline.served.tofu import Tofu


def evaluate_tofu(
    systems: Sequence[str],
    retain_models: Sequence[str],
    *,
    split: str,
    authors: int,
    part: str,
    retain: int,
    others: int | None,
    gateway: str,
    admin: str,
    key: str,
    admin_key: str,
    out: Path,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """The figures of every system.

    Args:
        systems: as `parse` reads them; ``retain_models`` likewise, each ``NAME=URL#model``.
        authors: how many authors of the split are forgotten, from its first: twenty questions each.
        part: of their questions, ``even`` or ``odd`` ones are asked, or ``all``: what a configuration is chosen on is
            not what it is reported on.

    Raises:
        DataError: a system cannot be asked, the data are not there, or there is something in force on the gateway.
    """
    plots.check()
    chosen = [parse(text) for text in (*systems, *retain_models)]
    references = [one.name for one in chosen[len(systems) :]]
    step = {"all": slice(0, 20 * authors), "even": slice(0, 20 * authors, 2), "odd": slice(1, 20 * authors, 2)}[part]
    data = load(split, forget=step, retain=retain, others=others)
    requests = tofu.load(split).requests[:authors]
    _prepare(out)

    async def run() -> Compared:
        async with Gate(gateway, key, admin_key, admin_url=admin) as gate:
            return await compare(chosen, references, gate, requests, data, key=key, seed=seed, progress=progress)

    compared = asyncio.run(run())
    return _written(compared, chosen, data, out, seed, split=split, authors=authors, part=part)


def evaluate_attacks(
    systems: Sequence[str],
    *,
    data: str,
    requests: int,
    sample: int,
    forms_file: Path | None,
    downloads: Path,
    gateway: str,
    admin: str,
    key: str,
    admin_key: str,
    out: Path,
    worst: int,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """The figures of every system under attack.

    Args:
        data: as `offline.evaluation.dataset.load` names data sets; the first ``requests`` of it are forgotten.
        sample: attempts of each form at most.
        worst: answers that told what they should not, shown with the page, for each system.

    Raises:
        DataError: a system cannot be asked, the data are not there, or there is something in force on the gateway.
    """
    plots.check()
    chosen = [parse(text) for text in systems]
    known = dataset.load(data, cache=downloads).sliced(requests, 0, 0)
    read = forms.load(forms_file)
    attacks = make_attacks(known, read, sample=sample, seed=seed)
    _prepare(out)

    async def attempt(system: System, answerer: Answerer) -> Defended:
        return await defend(answerer, attacks, counted(f"attacking: {system.name}", len(attacks), progress))

    async def run() -> list[Defended]:
        async with Gate(gateway, key, admin_key, admin_url=admin) as gate:
            return await each(chosen, gate, known.requests, attempt, key=key, seed=seed)

    found = dict(zip((one.name for one in chosen), asyncio.run(run()), strict=True))
    figures = {"systems": {name: one.figures() for name, one in found.items()}}
    origin = provenance(
        seed,
        data=known.name,
        requests=requests,
        sample=sample,
        forms_sha256=read.digest,
        data_sha256=dict(known.digests),
    )
    write(make_attack_report(found, origin, worst=worst), figures, out)
    return figures


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}.") from None


def _written(
    compared: Compared, systems: Sequence[System], data: Tofu, out: Path, seed: int, **more: Any
) -> dict[str, Any]:
    figures = compared.figures()
    origin = provenance(seed, systems=[one.name for one in systems], **more)
    write(make_report(compared, data, origin), figures, out)
    (out / "systems.csv").write_text(as_csv(compared), "utf-8")
    (out / "systems.tex").write_text(as_latex(compared), "utf-8")
    return figures
