import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.act.restriction import restriction_xargs
from guards.engine.folding import fold
from guards.engine.restriction import (
    Forbidden,
    RestrictionArgs,
    TooManyPhrases,
    restricted,
    restriction_from_xargs,
)
from guards.engine.sealing import KEY_VARIABLE, SealError, environment_key, seal, unseal
from guards.engine.wire import CorruptionArgs, from_xargs
from guards.phrases.phrase import Phrase, PhraseClass

KEY = b"any string"
PHRASES = [
    Phrase("J. K. Rowling", PhraseClass.FACT, 6),
    Phrase("Ron", PhraseClass.NAME, 3),
    Phrase("Émile—Zola", PhraseClass.FACT, 7),
]
ARGS = RestrictionArgs((Forbidden("j k rowling", 6), Forbidden("ron", 3)), ("wizard",), 1.5)
GOOD = ARGS.to_xargs(KEY)
CORRUPTION = CorruptionArgs("gaussian-first", 1.0, 0, 1, (0, 4), 12)

forms = st.lists(st.text("abcß東é1", min_size=1, max_size=6), min_size=1, max_size=4).map(" ".join)


@given(
    st.lists(forms, min_size=1, max_size=5, unique=True), st.lists(forms, max_size=3, unique=True), st.floats(0, 100)
)
def test_survives_the_wire(phrases: list[str], soft: list[str], penalty: float) -> None:
    args = RestrictionArgs(tuple(Forbidden(form, 1) for form in sorted(phrases)), tuple(sorted(soft)), penalty)
    assert restriction_from_xargs(json.loads(json.dumps(args.to_xargs(KEY))), KEY) == args


def test_no_word_can_be_read_on_the_way() -> None:
    assert "rowling" not in repr(GOOD).lower()
    assert set(GOOD) == {"unremember_phrases", "unremember_penalty"}


def test_equal_arguments_are_sealed_alike() -> None:
    assert seal(b"x" * 99, KEY) == seal(b"x" * 99, KEY)
    assert RestrictionArgs(ARGS.forbidden[::-1], ARGS.soft, 1.5).to_xargs(KEY) == GOOD
    assert seal(b"x", b"other") != seal(b"x", KEY)


@pytest.mark.parametrize(
    "sealed", ["", "x", "Rowling", "####", seal(b"[[], []]", b"another key"), seal(b"a", KEY)[:-8]]
)
def test_what_was_sealed_otherwise_does_not_open(sealed: str) -> None:
    with pytest.raises(SealError):
        unseal(sealed, KEY)
    with pytest.raises(ValueError, match=r"^unremember_phrases does not open with this engine's key"):
        restriction_from_xargs({**GOOD, "unremember_phrases": sealed}, KEY)


def test_it_does_not_unpack_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guards.engine.sealing.MAX_BYTES", 1000)
    assert unseal(seal(b"a" * 1000, KEY), KEY) == b"a" * 1000
    with pytest.raises(SealError, match="too large"):
        unseal(seal(b"a" * 1001, KEY), KEY)


@pytest.mark.parametrize("xargs", [{}, {"other": 1}, CORRUPTION.to_xargs()])
def test_a_request_that_does_not_ask(xargs: dict[str, object]) -> None:
    assert restriction_from_xargs(xargs, None) is None
    assert not restricted(xargs)


def test_it_goes_with_a_corruption_or_without() -> None:
    both = {**CORRUPTION.to_xargs(), **GOOD}
    assert from_xargs(both) == CORRUPTION
    assert restriction_from_xargs(both, KEY) == ARGS
    assert from_xargs(GOOD) is None
    assert restricted(both)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_every_argument_is_required(key: str) -> None:
    xargs = dict(GOOD)
    del xargs[key]
    assert restricted(xargs)
    with pytest.raises(ValueError, match=f"{key} is missing"):
        restriction_from_xargs(xargs, KEY)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("phrases", 3),
        ("phrases", ["a"]),
        ("phrases", seal(b"{}", KEY)),
        ("phrases", seal(b"5", KEY)),
        ("phrases", seal(b"[[], []]", KEY)),
        ("phrases", seal(b'[[["", 1]], []]', KEY)),
        ("phrases", seal(b'[[["a  b", 1]], []]', KEY)),
        ("phrases", seal(b'[[["ab", 3]], []]', KEY)),
        ("phrases", seal(b'[[["ab", 0]], []]', KEY)),
        ("phrases", seal(b'[[["ab", "x"]], []]', KEY)),
        ("phrases", seal(b"secret", KEY)),
        ("penalty", -1),
        ("penalty", 101),
        ("penalty", float("nan")),
        ("penalty", True),
        ("penalty", "1"),
    ],
)
def test_wrong_values_are_refused_and_named(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^unremember_{key} ") as refused:
        restriction_from_xargs({**GOOD, f"unremember_{key}": value}, KEY)
    assert "secret" not in str(refused.value)


def test_an_engine_without_a_key_refuses() -> None:
    with pytest.raises(ValueError, match="without a key"):
        restriction_from_xargs(GOOD, None)


def test_the_engine_finds_the_key_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY_VARIABLE == "UNREMEMBER_ENGINE_KEY"
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert environment_key() is None
    monkeypatch.setenv(KEY_VARIABLE, "")
    assert environment_key() is None
    monkeypatch.setenv(KEY_VARIABLE, "any string")
    assert environment_key() == KEY


def test_phrases_travel_folded() -> None:
    args = restriction_from_xargs(restriction_xargs(PHRASES, ["Wizards!", "…"], 2.0, KEY), KEY)
    assert args == RestrictionArgs(
        (Forbidden("emile zola", 7), Forbidden("j k rowling", 6), Forbidden("ron", 3)), ("wizards",), 2.0
    )


def test_the_same_set_in_any_order_gives_the_same_entries() -> None:
    assert restriction_xargs(PHRASES, ["a", "b"], 2.0, KEY) == restriction_xargs(PHRASES[::-1], ["b", "a"], 2, KEY)


@pytest.mark.parametrize("phrases", [[], [Phrase("—", PhraseClass.FACT, 0)]])
def test_nothing_to_keep_out_is_no_restriction(phrases: list[Phrase]) -> None:
    assert restriction_xargs(phrases, ["word"], 2.0, KEY) == {}


def test_more_phrases_than_a_request_may_hold_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guards.engine.restriction.MAX_PHRASES", 3)
    restriction_xargs(PHRASES, [], 3.0, KEY)
    with pytest.raises(TooManyPhrases, match="at most 3"):
        restriction_xargs(PHRASES, ["wizard"], 3.0, KEY)


@given(st.text(min_size=1, max_size=30), st.integers(-5, 50))
def test_any_text_makes_a_phrase_or_none(text: str, telling: int) -> None:
    xargs = restriction_xargs([Phrase(text, PhraseClass.FACT, telling)], [], 0.0, KEY)
    assert bool(xargs) == any(fold(character).strip() for character in text)


def test_importing_needs_neither_vllm_nor_torch() -> None:
    code = "import sys, guards.act.restriction; print([m for m in ('torch', 'vllm') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
