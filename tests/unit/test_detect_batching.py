"""The encoder's queue: batches across callers, bounded, and right when callers leave or the encoder fails."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from guards.detect.allowance import CLIENT, Allowance
from guards.detect.batching import EncoderQueue
from guards.errors import CannotDecide, Overloaded, OverQuota
from tests.fakes.encoder import DIMENSION, WordEncoder, embed

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture
def queue(encoder: WordEncoder) -> Iterator[EncoderQueue]:
    made = EncoderQueue(encoder, max_tokens=1_000, batch_tokens=100)
    made.start()
    yield made
    encoder.gate.set()
    made.close()


async def _until(condition: object) -> None:
    for _ in range(500):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not happen")


async def test_texts_come_back_in_order_and_are_encoded_off_the_loop(queue: EncoderQueue, encoder: WordEncoder) -> None:
    texts = ["one apple", "two pears", "one apple", ""]
    assert np.array_equal(await queue.encode(texts), embed(texts))
    assert encoder.threads.isdisjoint({threading.get_ident()})
    assert (await queue.encode([])).shape == (0, DIMENSION)


async def test_what_was_read_is_remembered(queue: EncoderQueue, encoder: WordEncoder) -> None:
    first = await queue.read(["a question?"])
    again = await queue.read(["another one", "a question?"])
    assert again[1] is first[0]
    assert encoder.batches == [["a question?"], ["another one"]]


async def test_reading_cuts_a_long_text_into_windows(queue: EncoderQueue) -> None:
    text = "A sentence of five words. " * 20 + "Who wrote it?"
    (passage,) = await queue.read([text])
    windows = [text[window.start : window.end] for window in passage.windows]
    assert len(windows) > 3
    assert np.array_equal(passage.vectors, embed(windows))
    assert "wrote" in passage.texts[-1].words
    (blank,) = await queue.read(["  "])
    assert blank.windows == ()


async def test_callers_share_a_batch_and_a_long_one_does_not_hold_up_the_rest(
    queue: EncoderQueue, encoder: WordEncoder
) -> None:
    encoder.gate.clear()
    first = asyncio.create_task(queue.encode(["first"]))
    await _until(lambda: encoder.batches)
    long = asyncio.create_task(queue.encode([f"word{i} " * 20 for i in range(20)]))
    short = asyncio.create_task(queue.encode(["short"]))
    await asyncio.sleep(0)
    encoder.gate.set()
    await asyncio.gather(first, long, short)
    assert "short" in encoder.batches[1]
    assert len(encoder.batches[1]) > 1
    assert all(sum(encoder.token_counts(batch)) <= 100 for batch in encoder.batches)


async def test_a_full_queue_refuses_and_recovers(encoder: WordEncoder) -> None:
    queue = EncoderQueue(encoder, max_tokens=30, batch_tokens=100)
    queue.start()
    encoder.gate.clear()
    waiting = asyncio.create_task(queue.encode(["a text of some length that fills the queue " * 3]))
    await _until(lambda: queue.depth_tokens)
    with pytest.raises(Overloaded):
        await queue.encode(["one more"])
    encoder.gate.set()
    await waiting
    await _until(lambda: not queue.depth_tokens)
    assert len(await queue.encode(["one more"])) == 1
    queue.close()


async def test_a_cancelled_callers_texts_are_dropped(queue: EncoderQueue, encoder: WordEncoder) -> None:
    encoder.gate.clear()
    first = asyncio.create_task(queue.encode(["first"]))
    await _until(lambda: encoder.batches)
    dropped = asyncio.create_task(queue.encode(["dropped"]))
    kept = asyncio.create_task(queue.encode(["kept"]))
    await asyncio.sleep(0)
    dropped.cancel()
    await asyncio.sleep(0)
    encoder.gate.set()
    await asyncio.gather(first, kept)
    assert encoder.batches == [["first"], ["kept"]]
    assert dropped.cancelled()
    await _until(lambda: queue.depth_tokens == 0)


async def test_a_failing_encoder_fails_those_who_wait_and_serves_the_next(
    queue: EncoderQueue, encoder: WordEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    encoder.failure = RuntimeError("cannot encode: a secret text")
    with caplog.at_level(logging.DEBUG), pytest.raises(CannotDecide) as caught:
        await queue.encode(["a secret text"])
    assert "secret" not in str(caught.value)
    assert "secret" not in caplog.text
    assert len(await queue.encode(["the next"])) == 1
    assert queue.depth_tokens == 0


async def test_closing_answers_who_waits_and_leaves_no_thread(encoder: WordEncoder) -> None:
    queue = EncoderQueue(encoder, max_tokens=1_000, batch_tokens=10)
    before = threading.active_count()
    queue.start()
    encoder.gate.clear()
    waiting = [asyncio.create_task(queue.encode(["text number 0"]))]
    await _until(lambda: encoder.batches)
    waiting += [asyncio.create_task(queue.encode([f"text number {i}"])) for i in range(1, 4)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(queue.close))
    await _until(lambda: queue._closing)
    encoder.gate.set()
    await closing
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(outcome, CannotDecide) for outcome in outcomes] == [False, True, True, True]
    assert queue.depth_tokens == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "encoder"]
    assert threading.active_count() <= before + 1
    with pytest.raises(CannotDecide):
        await queue.encode(["too late"])


async def test_a_queue_that_was_never_started_says_so(encoder: WordEncoder) -> None:
    with pytest.raises(CannotDecide):
        await EncoderQueue(encoder, max_tokens=10, batch_tokens=10).encode(["text"])


def test_it_serves_more_than_one_event_loop(encoder: WordEncoder) -> None:
    queue = EncoderQueue(encoder, max_tokens=1_000, batch_tokens=100)
    queue.start()
    for text in ("one", "two"):
        assert len(asyncio.run(queue.encode([text]))) == 1
    queue.close()


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_allowance_fills_again_and_is_each_clients_own() -> None:
    clock = _Clock()
    allowance = Allowance(0.1, clock=clock)
    assert allowance.wait(b"one") == 0.0
    allowance.charge(b"one", 8.0)
    assert allowance.wait(b"one") == pytest.approx(20.0)
    assert allowance.wait(b"two") == allowance.wait(None) == 0.0
    clock.now = 19.0
    assert allowance.wait(b"one") == pytest.approx(1.0)
    clock.now = 1_000.0
    allowance.charge(b"one", 5.9)
    assert allowance.wait(b"one") == 0.0
    allowance.charge(b"one", 0.2)
    assert allowance.wait(b"one") == pytest.approx(1.0)


async def test_a_client_beyond_its_share_waits_and_the_others_do_not(encoder: WordEncoder) -> None:
    allowance = Allowance(0.5)
    queue = EncoderQueue(encoder, max_tokens=1_000, batch_tokens=100, allowance=allowance)
    queue.start()
    CLIENT.set(b"one")
    await queue.encode(["something of its own"])
    assert allowance._left[b"one"][0] < 30.0
    allowance.charge(b"one", 35.0)
    with pytest.raises(OverQuota) as caught:
        await queue.encode(["something new"])
    assert 0.0 < caught.value.wait < 20.0
    assert len(await queue.encode(["something of its own"])) == 1
    CLIENT.set(b"two")
    assert len(await queue.encode(["something new"])) == 1
    CLIENT.set(None)
    assert len(await queue.encode(["nobody's"])) == 1
    queue.close()
