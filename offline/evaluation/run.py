"""An evaluation of detectors from beginning to end: one data set in, one result out."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.compile import item_texts
from guards.detect.batching import EncoderQueue
from offline.evaluation import latency
from offline.evaluation.baselines import Classifier, Cosine, OutlierDetector
from offline.evaluation.detector import evaluate, make_sheet
from offline.evaluation.errors import DataError
from offline.evaluation.guard import Guard, compiled, make_detector
from offline.evaluation.memory import RememberingEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from guards.detect.calibration import Calibration
    from guards.detect.detector import Detector
    from guards.detect.encoder import Encoder
    from guards.detect.static import StaticEncoder
    from guards.scope import Scope
    from offline.evaluation.contestant import Contestant
    from offline.evaluation.dataset import DataSet
    from offline.evaluation.detector import Column, Sheet
    from offline.evaluation.forms import Forms
    from offline.evaluation.guard import Rates
    from offline.evaluation.latency import Latency

BASELINES = ("cosine", "eco", "o3", "curate")


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and how much of it."""

    seed: int = 1
    sample: int = 200
    """Most positives of each form; half as many near neighbours."""
    latency: int = 200
    """Short prompts to take the time of; 0 for none."""
    baselines: tuple[str, ...] = BASELINES
    worst: int = 0
    """Prompts of each side to show with the page."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What detection needs, loaded."""

    encoder: Encoder
    directory: Path
    """The encoder's files."""
    calibrate: Callable[[RememberingEncoder], Calibration]
    """The calibration of an encoder, made or read."""
    rates: Rates
    cache: Path | None
    """Where embeddings are kept between runs."""
    tuned: Callable[[str], Path]
    """The files of an encoder contrastively tuned from the one of a fingerprint, made or at hand."""
    load: Callable[[Path], Encoder]
    static: Callable[[Encoder, Calibration], StaticEncoder | None] = lambda _encoder, _calibration: None
    """The static embeddings of an encoder, made or read; None if there is to be no static stage."""
    windows: int | None = None
    """With the static stage: windows of a request that the encoder reads at most."""


@dataclass(frozen=True, slots=True)
class Result:
    """Everything measured on one data set."""

    data: DataSet
    sheet: Sheet
    columns: tuple[Column, ...]
    latencies: tuple[Latency, ...]
    learning: dict[str, Any]
    encoder: str

    def figures(self) -> dict[str, Any]:
        """JSON-able, without prompts."""
        data = self.data
        return {
            "data": {
                "name": data.name,
                "notes": list(data.notes),
                "requests": len(data.requests),
                "examples": sum(len(source.examples) for source in data.requests),
                "positives": len(self.sheet.positives),
                "near": len(self.sheet.near),
                "background": len(self.sheet.background),
            },
            "detectors": {column.name: column.figures() for column in self.columns},
            "latency": {one.kind: one.figures() for one in self.latencies},
            "learning": self.learning,
        }


def run(
    data: DataSet, forms: Forms, tools: Tools, options: Options, progress: Callable[[str, int, int], None]
) -> Result:
    """Evaluate every contestant on a data set. ``progress`` is told what is done, how much of it, and of how much.

    Raises:
        DataError: ``options.baselines`` names one that there is not.
        OSError: a tuned encoder cannot be loaded.
    """
    if unknown := set(options.baselines) - set(BASELINES):
        raise DataError(f"there is no baseline {sorted(unknown)[0]!r}; there are {', '.join(BASELINES)}.")
    return asyncio.run(_run(data, forms, tools, options, progress))


async def _run(
    data: DataSet, forms: Forms, tools: Tools, options: Options, progress: Callable[[str, int, int], None]
) -> Result:
    sheet = make_sheet(data, forms.forms, sample=options.sample, seed=options.seed)
    with ExitStack() as stack:
        encoder = RememberingEncoder(tools.encoder, tools.encoder.fingerprint, tools.cache)
        stack.callback(encoder.close)
        calibration = await asyncio.to_thread(tools.calibrate, encoder)
        static = await asyncio.to_thread(tools.static, tools.encoder, calibration)
        queue = stack.enter_context(_queue(encoder))
        scopes = await _compiled(data, queue, calibration, tools.rates, progress)

        def make(queue: EncoderQueue, observe: Callable[[str, float], None] | None = None) -> Detector:
            return make_detector(scopes, queue, calibration, observe, static=static, windows=tools.windows)

        columns = []
        guard = Guard(make(queue), tools.rates, sifted=static is not None)
        for contestant in _contestants(guard, data, encoder, calibration, tools, options, stack):
            count = _Count(f"{data.name}: {contestant.name}", sheet.size, progress)
            columns.append(await evaluate(contestant, sheet, worst=options.worst, done=count))
        latencies: list[Latency] = []
        learning: dict[str, Any] = {}
        if options.latency:
            total = options.latency + max(1, options.latency // 10)
            count = _Count(f"{data.name}: latency", total, progress)
            latencies = await latency.measure(
                tools.encoder, make, sheet.near, count=options.latency, seed=options.seed, done=count
            )
            learning = await latency.learning(tools.encoder, data.requests, calibration, tools.rates)
    return Result(data, sheet, tuple(columns), tuple(latencies), learning, tools.encoder.fingerprint)


class _Count:
    """Adds up what is done."""

    def __init__(self, title: str, total: int, progress: Callable[[str, int, int], None]) -> None:
        self._title, self._total, self._progress, self._done = title, total, progress, 0

    def __call__(self, more: int) -> None:
        self._done = min(self._total, self._done + more)
        self._progress(self._title, self._done, self._total)


@contextmanager
def _queue(encoder: RememberingEncoder) -> Iterator[EncoderQueue]:
    queue = EncoderQueue(encoder, max_tokens=100_000_000, batch_tokens=16_384)
    queue.start()
    try:
        yield queue
    finally:
        queue.close()


async def _compiled(
    data: DataSet,
    queue: EncoderQueue,
    calibration: Calibration,
    rates: Rates,
    progress: Callable[[str, int, int], None],
) -> list[Scope]:
    scopes = []
    for source in data.requests:
        scopes.append(await compiled(source, queue, calibration, rates))
        progress(f"{data.name}: compiling requests", len(scopes), len(data.requests))
    return scopes


def _contestants(
    guard: Guard,
    data: DataSet,
    encoder: RememberingEncoder,
    calibration: Calibration,
    tools: Tools,
    options: Options,
    stack: ExitStack,
) -> Iterator[Contestant]:
    """Ours and the baselines, each of these made when it is its turn."""
    yield guard
    forget = list(dict.fromkeys(text for source in data.requests for text in item_texts(source).forget))
    if "cosine" in options.baselines:
        yield Cosine(encoder.encode, forget)
    if "eco" in options.baselines:
        yield Classifier(encoder.encode, forget, calibration.background.vectors)
    if "o3" in options.baselines:
        from offline.evaluation.layers import LayerEncoder

        layers = LayerEncoder(tools.directory, tools.encoder.fingerprint, tools.cache)
        stack.callback(layers.close)
        yield OutlierDetector(layers.encode, forget, seed=options.seed)
    if "curate" in options.baselines:
        loaded = tools.load(tools.tuned(tools.encoder.fingerprint))
        tuned = RememberingEncoder(loaded, loaded.fingerprint, tools.cache)
        stack.callback(tuned.close)
        yield Cosine(tuned.encode, forget, tuned=True)
