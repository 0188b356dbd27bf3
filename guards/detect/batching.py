"""The encoder's own thread: texts of many requests, encoded together."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from guards.detect.allowance import CLIENT, Allowance
from guards.detect.passages import Passage, make_passage
from guards.detect.recollection import Recollection
from guards.detect.windows import Window
from guards.errors import CannotDecide, Overloaded, OverQuota

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
# Room for passages that are remembered, by `room_of`: about 100 MB at 384 dimensions.
_REMEMBERED = 60_000


class TextEncoder(Protocol):
    """What is needed of an encoder; the queue does without its counts."""

    dimension: int

    def windows(self, text: str) -> list[Window]: ...

    def token_counts(self, texts: Sequence[str]) -> list[int]: ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


@dataclass(slots=True, eq=False)
class _Job:
    """Texts of one caller. Lives on the encoder's thread between submission and answer."""

    texts: tuple[str, ...]
    whole: bool
    """Each text is one window, instead of being cut into windows."""
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Passage]]
    tokens: int
    """What it counts towards the queue's depth: an estimate."""
    client: bytes | None = None
    """Who is charged for it."""
    windows: list[list[Window]] = field(default_factory=list)
    waiting: deque[tuple[str, int]] = field(default_factory=deque)
    """Window texts still to be encoded, with their tokens, estimated."""
    vectors: list[NDArray[np.float32]] = field(default_factory=list)


class EncoderQueue:
    """Feeds an encoder from asyncio.

    Requests are encoded together up to ``batch_tokens``, a long one in shares, so that it does not hold
    up the others. At most ``max_tokens`` (estimated) wait, and none of a client that has used up its ``allowance``.
    Passages are remembered by content hash; who asks for one of them takes no time.
    """

    def __init__(
        self, encoder: TextEncoder, *, max_tokens: int, batch_tokens: int, allowance: Allowance | None = None
    ) -> None:
        self._encoder = encoder
        self._allowance = allowance or Allowance(1.0)
        self._max_tokens = max_tokens
        self._batch_tokens = batch_tokens
        self._condition = threading.Condition()
        self._inbox: deque[_Job] = deque()
        self._depth = 0
        self._closing = False
        self._thread: threading.Thread | None = None
        self._remembered: Recollection[Passage] = Recollection(_REMEMBERED)

    @property
    def depth_tokens(self) -> int:
        """Tokens submitted and not yet encoded, by estimate."""
        return self._depth

    def start(self) -> None:
        """Start the encoder's thread. A closed queue can be started again."""
        if self._thread is None:
            self._closing = False
            self._thread = threading.Thread(target=self._run, name="encoder", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread, after the batch it is encoding. Whoever still waits gets `CannotDecide`."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed each text whole: float32 [n, dimension], unit rows.

        Raises:
            OverQuota: the client has taken its share of the encoder's time.
            Overloaded: too much waits already.
            CannotDecide: the encoder failed, or the queue is closed.
        """
        passages = await self._passages(texts, whole=True)
        if not passages:
            return np.empty((0, self._encoder.dimension), dtype=np.float32)
        return np.concatenate([passage.vectors for passage in passages])

    async def read(self, texts: Sequence[str]) -> list[Passage]:
        """Cut each text into windows that cover it, and embed those. Raises as `encode` does."""
        return await self._passages(texts, whole=False)

    async def _passages(self, texts: Sequence[str], *, whole: bool) -> list[Passage]:
        keys = [_key(text, whole=whole) for text in texts]
        known = {key: passage for key in keys if (passage := self._remembered.get(key)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            passages = await self._submit(tuple(missing.values()), whole=whole)
            for key, passage in zip(missing, passages, strict=True):
                known[key] = passage
                self._remembered.put(key, passage, passage.room)
        return [known[key] for key in keys]

    async def _submit(self, texts: tuple[str, ...], *, whole: bool) -> list[Passage]:
        tokens = sum(map(_tokens, texts))
        client = CLIENT.get()
        wait = self._allowance.wait(client)
        if wait:
            raise OverQuota(wait)
        loop = asyncio.get_running_loop()
        job = _Job(texts, whole, loop, loop.create_future(), tokens, client)
        with self._condition:
            if self._thread is None or self._closing:
                raise CannotDecide("the encoder is not running")
            if self._depth and self._depth + tokens > self._max_tokens:
                raise Overloaded("too much text waits for the encoder")
            self._depth += tokens
            self._inbox.append(job)
            self._condition.notify()
        return await job.future

    # ---- the encoder's thread

    def _run(self) -> None:
        active: deque[_Job] = deque()
        while True:
            with self._condition:
                while not (self._inbox or active or self._closing):
                    self._condition.wait()
                fresh = list(self._inbox)
                self._inbox.clear()
                if self._closing:
                    break
            for job in fresh:
                if self._guarded(functools.partial(self._open, job), [job]):
                    active.append(job)
            for job in [job for job in active if job.future.cancelled()]:
                active.remove(job)
                self._finish(job, None)
            if active:
                batch = self._take(active)
                if not self._guarded(functools.partial(self._encode, batch), list(batch)):
                    for job in batch:
                        active.remove(job)
            for job in [job for job in active if not job.waiting]:
                active.remove(job)
                self._guarded(functools.partial(self._deliver, job), [job])
        for job in [*fresh, *active]:
            self._finish(job, CannotDecide("the encoder was closed"))

    def _guarded(self, work: Callable[[], None], jobs: Sequence[_Job]) -> bool:
        """Do ``work``; if it fails, so do ``jobs``, and the thread lives on.

        The cause may hold text, so only its type is told.
        """
        try:
            work()
        except Exception as error:
            _LOG.error("the encoder failed: %s", type(error).__name__)
            for job in jobs:
                self._finish(job, CannotDecide(f"the encoder failed: {type(error).__name__}"))
            return False
        return True

    def _open(self, job: _Job) -> None:
        if job.future.cancelled():
            return
        job.windows = [[Window(0, len(text))] if job.whole else self._encoder.windows(text) for text in job.texts]
        pieces = [
            text[window.start : window.end]
            for text, windows in zip(job.texts, job.windows, strict=True)
            for window in windows
        ]
        job.waiting.extend((piece, _tokens(piece)) for piece in pieces)

    def _take(self, active: Sequence[_Job]) -> dict[_Job, list[str]]:
        """From every job its share of a batch, and at least one window."""
        share = self._batch_tokens // len(active)
        batch: dict[_Job, list[str]] = {}
        for job in active:
            taken = 0
            while job.waiting and (not taken or taken + job.waiting[0][1] <= share):
                piece, tokens = job.waiting.popleft()
                batch.setdefault(job, []).append(piece)
                taken += tokens
        return batch

    def _encode(self, batch: dict[_Job, list[str]]) -> None:
        started = time.monotonic()
        vectors = self._encoder.encode([piece for pieces in batch.values() for piece in pieces])
        spent = time.monotonic() - started
        characters = {job: 1 + sum(map(len, pieces)) for job, pieces in batch.items()}
        for job, share in characters.items():
            self._allowance.charge(job.client, spent * share / sum(characters.values()))
        position = 0
        for job, pieces in batch.items():
            job.vectors.append(vectors[position : position + len(pieces)])
            position += len(pieces)

    def _deliver(self, job: _Job) -> None:
        self._finish(job, _passages_of(job))

    def _finish(self, job: _Job, outcome: list[Passage] | CannotDecide | None) -> None:
        with self._condition:
            self._depth -= job.tokens

        def answer() -> None:
            if job.future.done():
                return
            if isinstance(outcome, CannotDecide):
                job.future.set_exception(outcome)
            elif outcome is not None:
                job.future.set_result(outcome)

        # A loop that has been closed has nobody waiting.
        with contextlib.suppress(RuntimeError):
            job.loop.call_soon_threadsafe(answer)


def _passages_of(job: _Job) -> list[Passage]:
    vectors: Any = np.concatenate(job.vectors) if job.vectors else np.empty((0, 0), dtype=np.float32)
    passages = []
    position = 0
    for text, windows in zip(job.texts, job.windows, strict=True):
        passages.append(make_passage(text, windows, vectors[position : position + len(windows)].copy()))
        position += len(windows)
    return passages


def _tokens(text: str) -> int:
    """An estimate, as tokenising takes longer than what it is for: four bytes a token, and the two at the ends."""
    return len(text.encode("utf-8", "surrogatepass")) // 4 + 3


def _key(text: str, *, whole: bool) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16, person=b"whole" if whole else b"cut").digest()
