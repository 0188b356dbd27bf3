"""The static stage: what it ends is not given to the encoder, and nothing that the detector finds is ended."""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.detect.batching import EncoderQueue
from guards.detect.detector import Detector
from guards.detect.explanation import PASSED_OVER
from guards.detect.index import VectorIndex
from guards.detect.static import Cutoff, StaticEncoder, coverage
from guards.detect.words import Words
from guards.plan import Band, Role, Segment
from guards.scope import Correction, Example, Kind, Scope, Source
from tests.examples import examples
from tests.fakes.encoder import WordEncoder, calibration, compiled, static_encoder
from tests.fakes.prompts import ordinary_prompts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = Source(
    subject="Zelda Quillwort",
    kind=Kind.PERSON,
    examples=(Example("Which botanist found the glowing moss of the old forest?", "The botanist of the moss."),),
)
ASKED = "Which botanist found the moss of the old forest, the glowing moss?"
ORDINARY = "Please explain how a bicycle works, step by step."
PROSE = ordinary_prompts(40)


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture
def queue(encoder: WordEncoder) -> Iterator[EncoderQueue]:
    made = EncoderQueue(encoder, max_tokens=100_000, batch_tokens=1_000)
    made.start()
    yield made
    encoder.gate.set()
    made.close()


@pytest.fixture
def static() -> StaticEncoder:
    return replace(static_encoder([ASKED, ORDINARY, *PROSE, SOURCE.examples[0].prompt]), cutoff=Cutoff(0.5))


async def _scope(queue: EncoderQueue, source: Source = SOURCE, request_id: str = "r1") -> Scope:
    return await compiled(queue, source, request_id)


@pytest.fixture
async def detector(queue: EncoderQueue, static: StaticEncoder, encoder: WordEncoder) -> Detector:
    made = Detector(queue, calibration(), static=static)
    made.apply(await _scope(queue))
    encoder.batches.clear()
    return made


def _asks(*texts: str) -> list[Segment]:
    return [Segment(("messages", place, "content"), text, Role.ASKS) for place, text in enumerate(texts)]


def _read(encoder: WordEncoder) -> list[str]:
    return [text for batch in encoder.batches for text in batch]


async def test_what_is_surely_outside_is_not_given_to_the_encoder(detector: Detector, encoder: WordEncoder) -> None:
    assert await detector.detect(_asks(ORDINARY)) == []
    assert _read(encoder) == []


async def test_what_may_be_inside_is_found_as_without_the_stage(
    detector: Detector, queue: EncoderQueue, encoder: WordEncoder
) -> None:
    whole = Detector(queue, calibration())
    for scope in detector.scopes():
        whole.apply(scope)
    (found,) = await detector.detect(_asks(ASKED))
    assert found.band is Band.HIGH
    assert _read(encoder) == [ASKED]
    assert [found] == await whole.detect(_asks(ASKED))


async def test_a_request_in_which_a_name_stands_is_read_in_full(detector: Detector, encoder: WordEncoder) -> None:
    found = await detector.detect(_asks(ORDINARY, "and who is zelda quillwort, please?"))
    assert [one.segments for one in found] == [(1,)]
    assert ORDINARY in _read(encoder)


@pytest.mark.parametrize(
    "text",
    [
        "wer hat das leuchtende moos im alten wald gefunden?",
        "请问谁发现了森林里的苔藓",
        "blorptang frumious snickersnee?",
        "???",
    ],
)
async def test_what_is_not_english_is_read(detector: Detector, encoder: WordEncoder, text: str) -> None:
    assert coverage(Words(text)) < 0.95
    await detector.detect(_asks(text))
    assert _read(encoder) == [text]


async def test_a_word_that_the_examples_have_as_a_name_is_read(
    queue: EncoderQueue, static: StaticEncoder, encoder: WordEncoder
) -> None:
    detector = Detector(queue, calibration(), static=static)
    source = replace(SOURCE, examples=(Example("Which moss did the botanist find in Helsinki?", "A green one."),))
    detector.apply(await _scope(queue, source))
    encoder.batches.clear()
    texts = ["What should we see in Helsinki?", "What should we see in London?"]
    await detector.detect(_asks(*texts))
    assert _read(encoder) == texts[:1]


async def test_a_text_seen_before_is_looked_at_again_when_scopes_change(
    detector: Detector, queue: EncoderQueue, encoder: WordEncoder
) -> None:
    assert await detector.detect(_asks(ORDINARY)) == []
    other = replace(SOURCE, subject="Wheels", kind=Kind.TOPIC, examples=(Example(ORDINARY, "It rolls."),))
    detector.apply(await _scope(queue, other, "r2"))
    encoder.batches.clear()
    (found,) = await detector.detect(_asks(ORDINARY))
    assert found.request_id == "r2"
    detector.remove("r2")
    assert await detector.detect(_asks(ORDINARY)) == []


async def test_a_scope_that_comes_while_the_encoder_reads_is_not_missed(
    detector: Detector, queue: EncoderQueue, encoder: WordEncoder
) -> None:
    other = replace(SOURCE, subject="Wheels", kind=Kind.TOPIC, examples=(Example(ORDINARY, "It rolls."),))
    scope = await _scope(queue, other, "r2")
    encoder.batches.clear()
    encoder.gate.clear()
    asked = asyncio.create_task(detector.detect(_asks(ORDINARY, ASKED)))
    for _ in range(1_000):
        await asyncio.sleep(0.001 * (not encoder.batches))
    detector.apply(scope)
    encoder.gate.set()
    assert {found.request_id for found in await asked} == {"r1", "r2"}


async def test_items_are_kept_in_half_precision_and_what_is_as_near_as_the_cutoff_is_read(
    queue: EncoderQueue, static: StaticEncoder, encoder: WordEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    add = VectorIndex.add
    monkeypatch.setattr(VectorIndex, "add", lambda *given: kept.append(given[2].dtype) or add(*given))
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=static.mapping.shape))
    static = replace(static, mapping=turned.astype(np.float32))
    texts = sorted({prompt.partition(", part")[0] for prompt in PROSE})
    rows = static.encode(texts)
    exact, half = rows @ rows.T, rows @ rows.astype(np.float16).astype(np.float32).T
    np.fill_diagonal(half, 2.0)
    text, item = np.unravel_index((exact - half).argmax(), exact.shape)
    near = float(exact[text, item])
    detector = Detector(queue, calibration(), static=replace(static, cutoff=Cutoff(near)))
    corrected = replace(SOURCE, examples=(), corrections=(Correction(texts[item], in_scope=True),))
    detector.apply(await _scope(queue, corrected))
    assert detector.likely(texts[text]) < near
    encoder.batches.clear()
    await detector.detect(_asks(texts[text]))
    assert _read(encoder) == [texts[text]]
    assert set(kept) == {np.dtype(np.float16)}


async def test_of_a_long_request_the_likeliest_windows_are_read(
    queue: EncoderQueue, static: StaticEncoder, encoder: WordEncoder
) -> None:
    near = [f"{prompt} {ASKED.replace('?', '.')}" for prompt in PROSE[:6]]
    detector = Detector(queue, calibration(), static=static, windows=2)
    detector.apply(await _scope(queue))
    encoder.batches.clear()
    (found,) = await detector.detect(_asks(*near, ASKED, "吗 " * 3))
    assert found.segments[-1] == len(near)
    assert len(found.segments) == 2
    read = _read(encoder)
    # Two by likelihood, and one that only the encoder can tell of.
    assert len(read) == 3
    assert ASKED in read


async def test_what_is_supplied_takes_no_windows_from_what_asks(
    queue: EncoderQueue, static: StaticEncoder, encoder: WordEncoder
) -> None:
    detector = Detector(queue, calibration(), static=static, windows=1)
    detector.apply(await _scope(queue))
    encoder.batches.clear()
    # Likelier than what asks, each of them.
    documents = [Segment(("documents", place, "text"), ASKED + "?" * place, Role.SUPPLIES) for place in range(3)]
    (asked,) = _asks(f"Please tell me {ASKED.lower()}")
    (found,) = await detector.detect([*documents, asked])
    assert (found.band, found.segments) == (Band.HIGH, (3,))
    assert sorted(text in asked.text for text in _read(encoder)) == [False, True]
    encoder.batches.clear()
    (found,) = await detector.detect([*documents, *_asks("And now?")])
    assert (found.band, found.segments) == (Band.LOW, ())


async def test_what_must_be_read_is_read_beyond_the_bound(
    queue: EncoderQueue, static: StaticEncoder, encoder: WordEncoder
) -> None:
    detector = Detector(queue, calibration(), static=static, windows=1)
    detector.apply(await _scope(queue))
    named = "Please tell me something about zelda quillwort."
    # The same text twice, of which the bound would read one.
    found = await detector.detect(_asks(ASKED, ASKED, named, *PROSE[:5]))
    assert [(one.band, one.segments) for one in found] == [(Band.HIGH, (0, 1, 2))]


async def test_a_correction_is_heard_however_far_the_text_is(
    queue: EncoderQueue, static: StaticEncoder, encoder: WordEncoder
) -> None:
    far = "Please explain the rivers of the world."
    corrected = replace(SOURCE, corrections=(Correction(far, in_scope=True),))
    detector = Detector(queue, calibration(), static=replace(static, cutoff=Cutoff(1.1)))
    detector.apply(await _scope(queue, corrected))
    (found,) = await detector.detect(_asks(far))
    assert found.probability == 1.0


async def test_a_turn_that_refers_back_is_explained_as_it_is_judged(detector: Detector) -> None:
    told = [
        ("Hello there!", Role.ASKS),
        ("Zelda Quillwort was a botanist.", Role.SUPPLIES),
        ("Tell me about her.", Role.ASKS),
    ]
    turns = [Segment(("messages", place, "content"), text, role, turn=place) for place, (text, role) in enumerate(told)]
    judged = await detector.detect(turns)
    explained, _ = await detector.explain(turns)
    assert [one.band for one in judged] == [one.band for one in explained] == [Band.HIGH]


async def test_the_same_text_twice_is_read_once(detector: Detector, encoder: WordEncoder) -> None:
    (found,) = await detector.detect(_asks(ASKED, ASKED, ORDINARY, ASKED))
    assert found.segments == (0, 1, 3)
    assert _read(encoder) == [ASKED]
    (again,) = await detector.detect(_asks(ASKED))
    assert again.probability == found.probability
    assert _read(encoder) == [ASKED]


async def test_the_same_text_beside_others_is_read_as_each_request_has_it(
    queue: EncoderQueue, static: StaticEncoder, encoder: WordEncoder
) -> None:
    """The bound chooses other windows of a text by what stands beside it, also in two requests at once."""
    detector = Detector(queue, calibration(), static=static, windows=1)
    detector.apply(await _scope(queue))
    near = f"{PROSE[0]} {ASKED.replace('?', '.')}"
    for _ in range(3):
        alone, beside = await asyncio.gather(detector.detect(_asks(near)), detector.detect(_asks(near, ASKED)))
        assert [one.segments for one in alone] == [(0,)]
        assert [one.segments for one in beside] == [(1,)]


async def test_an_explanation_has_the_evidence_and_says_that_it_was_not_asked_for(
    queue: EncoderQueue, static: StaticEncoder, detector: Detector, encoder: WordEncoder
) -> None:
    detections, spent = await detector.explain(_asks(ORDINARY))
    assert min(spent.values()) >= 0.0
    assert [(one.band, one.evidence.read_as) for one in detections] == [(Band.CLEAR, PASSED_OVER)]
    assert _read(encoder) == [ORDINARY]
    blind = Detector(queue, calibration(), static=replace(static, cutoff=Cutoff(1.1)))
    for scope in detector.scopes():
        blind.apply(scope)
    assert await blind.detect(_asks(ASKED)) == []
    (found,), _ = await blind.explain(_asks(ASKED))
    # What is shown is what is done.
    assert found.band is Band.CLEAR
    assert found.probability >= found.threshold
    (asked,), _ = await detector.explain(_asks(ASKED))
    assert asked.band is Band.HIGH
    assert PASSED_OVER not in asked.evidence.read_as


async def test_no_text_asks_nothing(detector: Detector, encoder: WordEncoder) -> None:
    assert await detector.detect(_asks("", "  ")) == []
    assert _read(encoder) == []


@given(st.text(max_size=300))
@examples(50)
def test_windows_hold_every_character_that_is_no_blank_and_vectors_are_of_length_one(text: str) -> None:
    static = static_encoder([ASKED])
    windows, vectors = static.windows(text)
    held = {place for window in windows for place in range(window.start, window.end)}
    assert {match.start() for match in re.finditer(r"\w", text)} <= held
    assert vectors.shape == (len(windows), static.dimension)
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.all((np.abs(lengths - 1.0) < 1e-4) | (lengths < 1e-4))


def test_it_is_kept_in_a_file(tmp_path: Path, static: StaticEncoder) -> None:
    kept = replace(static, cutoff=Cutoff(0.5, 0.001, 0.95, (0.75, math.inf)))
    kept.save(tmp_path / "static.npz")
    again = StaticEncoder.load(tmp_path / "static.npz")
    assert np.array_equal(again.encode([ASKED, ORDINARY]), kept.encode([ASKED, ORDINARY]))
    assert again.cutoff == kept.cutoff
    (tmp_path / "static.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="no static encoder"):
        StaticEncoder.load(tmp_path / "static.npz")
