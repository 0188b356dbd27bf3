"""Which tokens are banned, against the decoded text itself: real tokenizers, any tokens in any order."""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.engine.automaton import Automaton, State
from guards.engine.folding import fold
from guards.engine.restriction import Forbidden, RestrictionArgs
from guards.engine.vocabulary import Index, Vocabulary, read_vocabulary
from tests.examples import examples
from tests.fakes import tokenizers

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.thorough

KINDS = {"byte level": tokenizers.byte_level, "byte fallback": tokenizers.byte_fallback}

PHRASES = (
    Forbidden("j k rowling", 6),
    Forbidden("rowling", 5),
    Forbidden("ron", 3),
    Forbidden("tolkien", 5),
    Forbidden("harry potter and the ring", 11),
    Forbidden("東 京", 2),
    Forbidden("роулинг", 5),
    Forbidden("naive", 5),
)


@functools.cache
def vocabulary(kind: str) -> Vocabulary:
    return read_vocabulary(KINDS[kind]())


@functools.cache
def automaton(kind: str, phrases: tuple[Forbidden, ...] = PHRASES, soft: tuple[str, ...] = ()) -> Automaton:
    return Automaton(RestrictionArgs(phrases, soft, 1.0), vocabulary(kind))


def decoded(kind: str, tokens: Sequence[int]) -> str:
    """As a client sees it."""
    return str(KINDS[kind]().decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def written(text: str, phrases: Sequence[Forbidden] = PHRASES) -> list[str]:
    """The phrases whose pattern stands in a text, told from the text alone."""
    form = f" {' '.join(''.join(map(fold, text)).split())} "
    letters = form.replace(" ", "")
    return [
        one.form
        for one in phrases
        if (
            one.letters[: one.telling] in letters
            if len(one.letters) >= 6
            else f" {one.form} " in form or f" {' '.join(one.letters)} " in form
        )
    ]


def banned(made: Automaton, state: State) -> set[int]:
    return {*made.always.tolist(), *made.banned(state).tolist()}


def follow(made: Automaton, tokens: Sequence[int], state: State | None = None) -> State:
    state = made.start([]) if state is None else state
    for token in tokens:
        state = made.advance(state, token)
    return state


def encode(kind: str, text: str) -> list[int]:
    return list(KINDS[kind]().encode(text, add_special_tokens=False))


# Every way to write a phrase that has been used to hide one, and words that look like one.
SPELLINGS = st.sampled_from(
    [
        "J. K. Rowling",
        "J.K.Rowling",
        "ROWLING",
        "R-o-w-l-i-n-g",
        "Row\u200bling",
        "Ｒｏｗｌｉｎｇ",
        "Rоwling",
        "Röwling",
        "R o w l i n g",
        "Row\nling",
        "Ron",
        "R.o.n.",
        "r o n",
        "rön",
        "Ronald",
        "iron",
        "neuron on",
        "Tolkien's",
        "Tolk ien",
        "Harry Potter and the",
        "東京",
        "東 京",
        "Роулинг",
        "naïve",
        "growling",
        " ",
        ", ",
        "🎉",
        "the",
        "é",
    ]
)


@st.composite
def segmentations(draw: st.DrawFn, kind: str) -> list[int]:
    """A text of hidden phrases, cut into tokens anywhere a token of the vocabulary fits."""
    text = draw(st.lists(SPELLINGS, min_size=1, max_size=5).map("".join)).encode()
    by_bytes = pieces(kind)
    tokens, at = [], 0
    rng = random.Random(draw(st.integers(0, 2**32)))
    while at < len(text):
        fits = [
            by_bytes[text[at:end]] for end in range(at + 1, min(at + 12, len(text)) + 1) if text[at:end] in by_bytes
        ]
        token = rng.choice(rng.choice(fits))
        tokens.append(token)
        at += len(vocabulary(kind)._pieces[token])
    return tokens


@functools.cache
def pieces(kind: str) -> dict[bytes, list[int]]:
    found: dict[bytes, list[int]] = {}
    for token, piece in enumerate(vocabulary(kind)._pieces):
        if piece and token not in vocabulary(kind).special:
            found.setdefault(piece, []).append(token)
    return found


@pytest.mark.parametrize("kind", KINDS)
@examples(400)
@given(data=st.data())
def test_whatever_is_written_of_what_is_not_banned_holds_no_phrase(kind: str, data: st.DataObject) -> None:
    made = automaton(kind)
    state, answer = made.start([]), []
    for token in data.draw(segmentations(kind)):
        if token not in banned(made, state):
            answer.append(token)
            state = made.advance(state, token)
    assert written(decoded(kind, answer)) == []


@pytest.mark.parametrize("kind", KINDS)
@examples(400)
@given(data=st.data())
def test_nor_does_any_run_of_tokens(kind: str, data: st.DataObject) -> None:
    made, size = automaton(kind), len(vocabulary(kind))
    hints = encode(kind, "J. K. Rowling Ron Tolkien naïve 東京 Роулинг r o n Ｒ🎉")
    tokens = data.draw(st.lists(st.one_of(st.sampled_from(hints), st.integers(0, size + 1)), max_size=40))
    state, answer = made.start([]), []
    for token in tokens:
        if token not in banned(made, state):
            answer.append(token)
            state = made.advance(state, token)
    assert written(decoded(kind, [token for token in answer if token < size])) == []


@examples(300)
@given(data=st.data())
def test_exactly_the_tokens_that_complete_a_phrase_are_banned(data: st.DataObject) -> None:
    kind = "byte level"
    made, known = automaton(kind), vocabulary(kind)
    tokens = data.draw(segmentations(kind))
    state, answer = made.start([]), []
    for token in tokens[: data.draw(st.integers(0, len(tokens)))]:
        if token in banned(made, state):
            break
        answer.append(token)
        state = made.advance(state, token)
    if state.pending:
        return  # A token that does not go on with the character is judged for both readings.
    completing = {
        token
        for token in range(len(known))
        if token not in known.special and token not in known.unfinished and written(decoded(kind, [*answer, token]))
    }
    assert banned(made, state) - known.unfinished == completing


def spelt(kind: str, text: str) -> list[int]:
    """A token for every byte."""
    return [pieces(kind)[bytes([byte])][0] for byte in text.encode()]


def first_banned(kind: str, prompt: str, rest: str) -> int | None:
    """How many bytes of ``rest`` are written behind the prompt before one is banned."""
    made = automaton(kind)
    state = made.start(encode(kind, prompt))
    for index, token in enumerate(spelt(kind, rest)):
        if token in banned(made, state):
            return index
        state = made.advance(state, token)
    return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("prompt", "rest", "expected"),
    [
        ("It was J.K. Row", "ling", 0),  # j k rowl is telling
        ("by Row", "ling", 1),
        ("J.K. Rowli", "ng", 0),
        ("J.K. Rowli", " ng", 1),
        ("J.K. Rowli", "a", None),
        ("J.K. Rowling", "s", None),
        ("Ro", "n", 0),
        ("Ro", "ok", None),
        ("R o", " n", 1),
        ("Iro", "n", None),
        ("Harry Potter and", " the", 1),
        ("Harry Potter and", " a", None),
        ("", "Rowan", None),
    ],
)
def test_what_the_prompt_has_begun_is_not_completed(kind: str, prompt: str, rest: str, expected: int | None) -> None:
    assert first_banned(kind, prompt, rest) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_that_ended_begins_nothing(kind: str) -> None:
    made, tokenizer = automaton(kind), KINDS[kind]()
    begun = encode(kind, "Was it J.K. Row")
    ended = [*begun, tokenizer.convert_tokens_to_ids("<|end|>")]
    assert made.start(begun).letters == "jkrow"
    assert made.start(ended) == made.start([])


@pytest.mark.parametrize("kind", KINDS)
def test_a_special_token_in_the_answer_separates_nothing(kind: str) -> None:
    made, special = automaton(kind), KINDS[kind]().convert_tokens_to_ids("<|end|>")
    row = encode(kind, "x J.K. Row")[1:]
    assert follow(made, [*row, special]) == follow(made, row)
    assert special not in banned(made, follow(made, row))


def test_a_phrase_that_stands_in_the_prompt_does_not_ban_what_follows() -> None:
    made = automaton("byte level")
    state = made.start(encode("byte level", "About J. K. Rowling"))
    assert state.refused == frozenset()
    assert not set(encode("byte level", " wrote")) & banned(made, state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_past_what_tells_one_phrase_does_not_complete_another(kind: str) -> None:
    forbidden = (Forbidden("marked a way here", 6), Forbidden("marked a walled yard", 9))
    made = automaton(kind, forbidden)
    behind = banned(made, made.start(encode(kind, "It was marked a wa")))
    assert {spelt(kind, "l")[0], spelt(kind, "y")[0]} <= behind
    assert spelt(kind, "t")[0] not in behind


@pytest.mark.parametrize(
    ("text", "expected"),
    [("iron", None), ("neuron", None), ("r on", None), ("Ron", 2), ("r.o.n", 4), (" ron", 3), ("Ronald", 2)],
)
def test_a_short_phrase_is_banned_as_a_word_only(text: str, expected: int | None) -> None:
    # Written letter by letter, a longer word cannot be told from the short one when that is complete.
    assert first_banned("byte level", "", text) == expected


def test_a_longer_word_in_one_token_is_no_short_phrase() -> None:
    made = Automaton(RestrictionArgs((Forbidden("ron", 3),)), Vocabulary([b" Ronald", b" Ron", b"Ron", b"ald"], ()))
    assert banned(made, made.start([])) == {1, 2}
    assert banned(made, made.start([3])) == {1}


texts = st.text("ab ", max_size=4)


@given(st.lists(texts, max_size=12), texts)
def test_tokens_are_found_by_how_their_text_begins(entries: list[str], asked: str) -> None:
    index = Index((text, token) for token, text in enumerate(entries))
    assert sorted(index.beginning(asked)) == [token for token, text in enumerate(entries) if text.startswith(asked)]
    assert sorted(index.exactly(asked)) == [token for token, text in enumerate(entries) if text == asked]


def test_associated_words_are_softened_where_they_begin() -> None:
    made = automaton("byte level", soft=("hogwarts",))
    behind, bare = (set(ids.tolist()) for ids in made.softened)
    names = KINDS["byte level"]().convert_ids_to_tokens
    assert all(name.startswith("Ġ") for name in names(sorted(behind)))
    assert encode("byte level", " Hogwarts")[0] in behind
    assert encode("byte level", " the")[0] not in behind
    assert not behind & bare


def test_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guards.engine.automaton._MOST_IDS", 50)
    made = Automaton(RestrictionArgs(PHRASES), vocabulary("byte level"))
    for text in ("row", "rowl", "tolki", "harry", "r", "ro"):
        made.banned(follow(made, encode("byte level", text)))
    assert sum(len(table) + 1 for table in made._tables.values()) <= 50 + max(map(len, made._tables.values())) + 1


@pytest.mark.parametrize("tokenizer", [object(), type("T", (), {"backend_tokenizer": None})()])
def test_a_tokenizer_that_is_not_known_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="does not tell the bytes"):
        read_vocabulary(tokenizer)


@pytest.mark.parametrize("kind", KINDS)
@given(st.text(max_size=40))
@examples(200)
def test_the_vocabulary_reads_what_the_tokenizer_decodes(kind: str, text: str) -> None:
    tokens = [token for token in encode(kind, text) if token != KINDS[kind]().unk_token_id]
    form, pending = vocabulary(kind).read_all(tokens)
    assert pending == b""
    assert form.split() == "".join(map(fold, decoded(kind, tokens))).split()
