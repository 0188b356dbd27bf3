"""A request becomes a scope: its texts, its names and their rarity, thresholds and warnings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from guards.compile import compile_scope, item_texts
from guards.phrases.phrase import PhraseClass
from guards.scope import Correction, Example, Extent, GivenPhrase, Kind, Mode, Scope, Source, default_policy
from tests.fakes.encoder import WordEncoder, calibration, embed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SOURCE = Source(
    subject="Zelda Quillwort",
    kind=Kind.PERSON,
    aliases=("Z. Quillwort", "Rose"),
    examples=(Example("Where was Zelda Quillwort born?", "In Uppsala."), Example("", "She keeps bees. " * 40)),
    retain_examples=(Example("Where was Carl Linnaeus born?", ""),),
    distinguish_is=("the botanist from Uppsala",),
    distinguish_not=("the video game",),
)


async def _encode(texts: Sequence[str]) -> NDArray[np.float32]:
    return embed(texts)


async def _compile(source: Source, alpha_high: float = 0.001) -> Scope:
    return await compile_scope(
        source,
        request_id="r1",
        version=2,
        mode=Mode.SHADOW,
        policy=default_policy(source.kind, Extent.KNOWLEDGE),
        encode=_encode,
        calibration=calibration(),
        encoder=WordEncoder.fingerprint,
        alpha_high=alpha_high,
        alpha_low=0.01,
        confidence=0.95,
    )


def test_examples_are_taken_alone_and_with_their_answers_and_texts_in_chunks() -> None:
    texts = item_texts(SOURCE)
    assert texts.forget[0] == "Zelda Quillwort"
    assert {"Where was Zelda Quillwort born?", "Where was Zelda Quillwort born? In Uppsala."} <= set(texts.forget)
    assert "the botanist from Uppsala" in texts.forget
    assert "Zelda Quillwort, the botanist from Uppsala" in texts.forget
    assert texts.retain == ("Where was Carl Linnaeus born?", "the video game", "Zelda Quillwort, the video game")
    bees = [text for text in texts.forget if "bees" in text]
    assert all(len(text) <= 130 for text in bees)
    assert len(set(bees)) == len(bees)


def test_a_long_text_without_sentences_or_blanks_is_still_cut() -> None:
    for text in ("x" * 1_000, "word " * 300):
        source = replace(SOURCE, examples=(Example("", text),))
        pieces = [piece for piece in item_texts(source).forget if piece.startswith(("x", "word"))]
        assert max(map(len, pieces)) <= 130
    # Equal pieces are one item; different ones all stay.
    source = replace(SOURCE, examples=(Example("", "".join(f"{i:04d}" for i in range(250))),))
    assert "".join(piece for piece in item_texts(source).forget if piece.isdigit()) == source.examples[0].response


def test_the_last_correction_on_an_input_counts() -> None:
    source = replace(
        SOURCE,
        corrections=(
            Correction("where was ZELDA quillwort born", in_scope=False),
            Correction("Who keeps bees?", in_scope=False),
            Correction("who keeps bees", in_scope=True),
        ),
    )
    texts = item_texts(source)
    assert "Where was Zelda Quillwort born?" not in texts.forget
    assert "where was ZELDA quillwort born" in texts.retain
    assert "who keeps bees" in texts.forget
    assert "Who keeps bees?" not in texts.retain


async def test_a_scope_has_everything_that_enforcement_needs() -> None:
    scope = await _compile(SOURCE)
    assert (scope.request_id, scope.version, scope.mode, scope.subject) == ("r1", 2, Mode.SHADOW, "Zelda Quillwort")
    assert np.array_equal(scope.forget.vectors, embed(scope.forget.texts).astype(np.float16))
    assert np.array_equal(scope.retain.vectors, embed(scope.retain.texts).astype(np.float16))
    assert [alias.text for alias in scope.aliases] == ["Zelda Quillwort", "Z. Quillwort", "Rose"]
    assert scope.encoder == WordEncoder.fingerprint
    assert 0 < scope.low.probability < scope.high.probability
    assert scope.high.alpha == 0.001
    assert any("1 of 3 names" in warning for warning in scope.warnings)


async def test_a_scope_has_phrases_and_warns_of_common_ones() -> None:
    scope = await _compile(SOURCE)
    assert [phrase.text for phrase in scope.phrases][:3] == ["Zelda Quillwort", "Z. Quillwort", "Rose"]
    assert {"Uppsala", "Quillwort"} <= {phrase.text for phrase in scope.phrases}
    assert any(warning.startswith('The name "Rose" is in about 1 in ') for warning in scope.warnings)
    given = (GivenPhrase("copper beekeeper", PhraseClass.FACT),)
    assert [phrase.text for phrase in (await _compile(replace(SOURCE, phrases=given))).phrases] == ["copper beekeeper"]
    assert scope.shingles is None


async def test_background_that_names_the_subject_does_not_raise_its_threshold() -> None:
    plain = await _compile(replace(SOURCE, subject="chess", aliases=()))
    assert plain.high.background == 3_100 - sum("chess" in prompt for prompt in calibration().background.prompts)
    assert plain.high.background < 3_100


async def test_too_small_a_background_is_admitted() -> None:
    scope = await _compile(SOURCE, alpha_high=0.0001)
    assert scope.high.alpha > 0.0001
    assert any("cannot guarantee" in warning and "high" in warning for warning in scope.warnings)


async def test_a_subject_alone_works_and_says_it_is_weaker() -> None:
    scope = await _compile(Source("Zelda Quillwort", Kind.WORK))
    assert scope.forget.texts[0] == "Zelda Quillwort"
    assert any("no examples" in warning for warning in scope.warnings)


async def test_a_common_subject_says_that_its_name_does_not_decide() -> None:
    scope = await _compile(Source("Rose", Kind.PERSON, examples=SOURCE.examples))
    assert any("None of the names" in warning for warning in scope.warnings)


async def test_a_calibration_for_another_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="another encoder"):
        await compile_scope(
            SOURCE,
            request_id="r1",
            version=1,
            mode=Mode.ENFORCE,
            policy=default_policy(SOURCE.kind, SOURCE.extent),
            encode=_encode,
            calibration=calibration(),
            encoder="other",
            alpha_high=0.001,
            alpha_low=0.01,
            confidence=0.95,
        )


def test_a_common_word_as_subject_is_no_item_beside_examples() -> None:
    assert "Zelda Quillwort" not in item_texts(SOURCE, common_subject=True).forget
    bare = Source("Rose", Kind.PERSON)
    assert item_texts(bare, common_subject=True) == item_texts(bare)


def test_something_to_look_for_is_left_whatever_the_corrections() -> None:
    source = Source(
        "Zelda", Kind.RECORD, corrections=(Correction("Zelda", False), Correction("What is known about Zelda?", False))
    )
    texts = item_texts(source)
    assert texts.forget == ("Zelda",)
    assert texts.retain == ("Zelda", "What is known about Zelda?")
