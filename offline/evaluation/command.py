"""What ``unremember evaluate detector`` does: reads everything first, then measures and writes set after set."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from offline.detector.recipe import fingerprint
from offline.evaluation import dataset, forms, plots
from offline.evaluation.detector_report import make_report
from offline.evaluation.errors import DataError
from offline.evaluation.guard import Rates
from offline.evaluation.provenance import provenance
from offline.evaluation.report import write
from offline.evaluation.run import Options, Tools, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from guards.detect.calibration import Calibration
    from guards.detect.encoder import Encoder
    from guards.detect.static import StaticEncoder
    from offline.evaluation.memory import RememberingEncoder


def evaluate_detectors(
    data: Sequence[str],
    *,
    forms_file: Path | None,
    out: Path,
    downloads: Path,
    encoder_directory: Path,
    load: Callable[[Path], Encoder],
    calibrate: Callable[[RememberingEncoder], Calibration],
    static: Callable[[Encoder, Calibration], StaticEncoder | None],
    windows: int | None,
    rates: tuple[float, float, float],
    cache: Path | None,
    tuned: Callable[[str], Path],
    seed: int,
    sample: int,
    latency: int,
    baselines: tuple[str, ...],
    worst: int,
    progress: Callable[[str, int, int], None],
) -> Iterator[tuple[dict[str, Any], Path]]:
    """Each data set's figures, and the directory that its page was written to.

    Args:
        static: the static stage's embeddings, or None where the settings ask for none.
        windows: as many as the encoder reads at most after the static stage.
        tuned: gives the files of CURaTE's encoder, tuned from the one of a fingerprint.
        rates: the high band's false-positive rate, the low band's, and the confidence of both.
        downloads: where packages with data are kept.
        progress: is told what is being done, how much of it, and of how much.

    Raises:
        DataError: a data set, the forms, a baseline's name, an encoder or the directory to write to cannot be used.
    """
    plots.check()
    sets = [dataset.load(name, cache=downloads) for name in dict.fromkeys(data)]
    read = forms.load(forms_file)
    options = Options(seed=seed, sample=sample, latency=latency, baselines=baselines, worst=worst)
    with TemporaryDirectory(prefix="unremember-") as scratch:
        # What the sets share, such as retained questions, is encoded once, whether it is to be kept or not.
        kept = cache or Path(scratch)
        try:
            out.mkdir(parents=True, exist_ok=True)
            tools = Tools(
                load(encoder_directory),
                encoder_directory,
                calibrate,
                Rates(*rates),
                kept,
                tuned,
                load,
                static,
                windows,
            )
        except OSError as error:
            raise DataError(str(error)) from None
        for one in sets:
            result = run(one, read, tools, options, progress)
            figures = result.figures()
            origin = provenance(
                seed,
                sample=sample,
                encoder_sha256=result.encoder,
                calibration_recipe=fingerprint(),
                forms_sha256=read.digest,
                data_sha256=dict(one.digests),
            )
            directory = out / re.sub(r"\W+", "-", one.name).strip("-")
            write(make_report(result, origin), figures, directory)
            yield figures, directory
