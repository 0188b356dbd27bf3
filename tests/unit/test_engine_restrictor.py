"""Bans in a batch of logits, without vLLM: what each row may still sample."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from guards.engine import restrictor
from guards.engine.restriction import Forbidden, RestrictionArgs
from guards.engine.restrictor import Restrictor, Row
from guards.engine.vocabulary import Vocabulary, read_vocabulary
from guards.engine.wire import CorruptionArgs
from tests.fakes.tokenizers import byte_level

pytestmark = pytest.mark.thorough

KEY = b"key"
ARGS = RestrictionArgs((Forbidden("rowling", 5), Forbidden("ron", 3)), ("hogwarts",), 2.0)
END = 0
PADDING = 7
"""Logits past the vocabulary, as models have them."""


@dataclass
class Params:
    extra_args: dict[str, Any] | None = None
    eos_token_id: int | None = END
    stop_token_ids: list[int] | None = None
    all_stop_token_ids: set[int] = field(default_factory=lambda: {END})
    structured_outputs: object = None
    allowed_token_ids: list[int] | None = None
    bad_words_token_ids: list[list[int]] | None = None
    min_tokens: int = 0


@functools.cache
def vocabulary() -> Vocabulary:
    return read_vocabulary(byte_level())


def width() -> int:
    return len(vocabulary()) + PADDING


@pytest.fixture(params=["one by one", "together"])
def made(request: pytest.FixtureRequest) -> Restrictor:
    """As on a CPU, and as on a GPU."""
    found = Restrictor(vocabulary(), KEY, width=width(), device=torch.device("cpu"))
    if request.param == "together":
        found._ban = found._ban_together
    return found


def encode(text: str) -> list[int]:
    return list(byte_level().encode(text, add_special_tokens=False))


def row(made: Restrictor, prompt: str = "", answer: str = "", args: RestrictionArgs = ARGS, **params: Any) -> Row:
    found = made.row(Params(args.to_xargs(KEY), **params), encode(prompt))
    assert found is not None
    found.follow(encode(answer))
    return found


def allowed(logits: torch.Tensor) -> set[int]:
    return set(torch.nonzero(logits > float("-inf")).flatten().tolist())


def test_only_the_asked_rows_change(made: Restrictor) -> None:
    logits = torch.randn(4, width())
    before = logits.clone()
    rows = {1: row(made), 3: row(made, "J. K. Row", "l")}
    made.restrict(logits, rows)
    assert torch.equal(logits[[0, 2]], before[[0, 2]])
    (rowling,) = encode(" Rowling")
    (following,) = encode("i")
    assert logits[1, rowling] == logits[3, rowling] == float("-inf")
    assert logits[1, following] == before[1, following]
    assert logits[3, following] == float("-inf")
    assert len(allowed(logits[1]) & allowed(logits[3])) > 300


def test_a_row_in_a_batch_gets_what_it_gets_alone(made: Restrictor) -> None:
    other = RestrictionArgs((Forbidden("tolkien", 4),), (), 0.0)
    rows = {0: row(made, "", "It was J.K. Row"), 1: row(made, "Ro"), 2: row(made, "", "Tol", other), 3: row(made)}
    together = torch.zeros(4, width())
    made.restrict(together, rows)
    for index, one in rows.items():
        alone = torch.zeros(1, width())
        made.restrict(alone, {0: one})
        assert torch.equal(alone[0], together[index])


def test_associated_words_lose_the_penalty_where_they_begin(made: Restrictor) -> None:
    logits = torch.zeros(2, width())
    made.restrict(logits, {0: row(made, "", "the"), 1: row(made, "", "the ")})
    (behind,), bare = (
        encode(" Hogwarts"),
        [token for token, form in enumerate(vocabulary().forms) if form == "hogwarts"],
    )
    assert logits[0, behind] == -2
    assert not bare or (logits[0, bare[0]] == 0 and logits[1, bare[0]] == -2)


def test_what_is_banned_twice_or_softened_too_is_banned(made: Restrictor) -> None:
    known = Vocabulary([b"end", b"ab", b"c", b"d"], ())
    args = RestrictionArgs((Forbidden("abcdef", 3), Forbidden("bcdefg", 2)), ("c", "d"), 2.0)
    found = Restrictor(known, KEY, width=4, device=torch.device("cpu"))
    found._ban = getattr(found, made._ban.__name__)
    one = found.row(Params(args.to_xargs(KEY)), [1])
    assert one is not None
    assert one.phrases is not None
    assert one.state is not None
    assert one.phrases.automaton.banned(one.state).tolist() == [2, 2]
    logits = torch.ones(1, 4)
    found.restrict(logits, {0: one})
    assert logits.tolist() == [[1, 1, float("-inf"), 1]]
    one.state = one.state._replace(form=" ")
    logits = torch.ones(1, 4)
    found.restrict(logits, {0: one})
    assert logits.tolist() == [[1, 1, float("-inf"), -1]]


def test_an_answer_that_shrinks_is_read_again(made: Restrictor) -> None:
    one = row(made, "", "It was J.K. Rowl")
    state, answer = one.state, encode("It was J.K. Rowl")
    one.rewind(2)
    one.follow(answer[:2])
    assert one.state != state
    one.follow(answer[2:])
    assert (one.state, one.read) == (state, len(answer))


@pytest.mark.parametrize(
    "params",
    [{"structured_outputs": object()}, {"allowed_token_ids": [3]}, {"bad_words_token_ids": [[3]]}, {"min_tokens": 2}],
)
def test_where_nothing_else_is_left_the_answer_ends(made: Restrictor, params: dict[str, Any]) -> None:
    (rowling,) = encode(" Rowling")
    logits = torch.full((2, width()), float("-inf"))
    logits[:, rowling] = 3.0
    made.restrict(logits, {1: row(made, **params)})
    assert allowed(logits[0]) == {rowling}
    assert allowed(logits[1]) == {END}


def test_where_something_is_left_nothing_is_added(made: Restrictor) -> None:
    (rowling,), (potter,) = encode(" Rowling"), encode(" Potter")
    logits = torch.full((1, width()), float("-inf"))
    logits[0, [rowling, potter]] = 3.0
    made.restrict(logits, {0: row(made, structured_outputs=object())})
    assert allowed(logits[0]) == {potter}


@pytest.mark.parametrize(
    ("params", "ending"),
    [
        ({}, END),
        ({"eos_token_id": None, "stop_token_ids": [9], "all_stop_token_ids": {END, 9}}, 9),
        ({"eos_token_id": None, "all_stop_token_ids": {5}}, 5),
        ({"eos_token_id": None, "all_stop_token_ids": set()}, 0),
    ],
)
def test_what_ends_an_answer(made: Restrictor, params: dict[str, Any], ending: int) -> None:
    assert row(made, **params).ending == ending


@pytest.mark.parametrize("extra", [None, {}, {"other": 1}, CorruptionArgs("reverse", 1.0, 0, 1, (0, 4), 9).to_xargs()])
def test_a_request_that_does_not_ask_has_no_row(made: Restrictor, extra: dict[str, Any] | None) -> None:
    assert made.row(Params(extra), [1, 2]) is None


@pytest.mark.parametrize(
    ("known", "key", "extra"),
    [
        (True, b"another", ARGS.to_xargs(KEY)),
        (True, None, ARGS.to_xargs(KEY)),
        (True, KEY, {"unremember_phrases": "x"}),
        (False, KEY, ARGS.to_xargs(KEY)),
    ],
)
def test_what_cannot_be_acted_on_ends_the_answer(known: bool, key: bytes | None, extra: dict[str, Any]) -> None:
    made = Restrictor(vocabulary() if known else None, key, width=width(), device=torch.device("cpu"))
    one = made.row(Params(extra), [1, 2])
    assert one is not None
    one.follow([4])
    logits = torch.zeros(1, width())
    made.restrict(logits, {0: one})
    assert allowed(logits[0]) == {END}


def test_a_token_that_is_not_known_yet_ends_the_answer(made: Restrictor) -> None:
    one = row(made, "", "the")
    one.follow([-1])
    logits = torch.zeros(1, width())
    made.restrict(logits, {0: one})
    assert allowed(logits[0]) == {END}
    one.follow(encode(" Row"))
    logits = torch.zeros(1, width())
    made.restrict(logits, {0: one})
    assert len(allowed(logits[0])) > 300


def test_a_set_of_phrases_is_built_once(made: Restrictor) -> None:
    assert row(made).phrases is row(made, "other").phrases


def test_sets_are_kept_up_to_a_number_of_phrases(made: Restrictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restrictor, "MAX_PHRASES", 4)
    running = row(made)
    for number in range(20):
        row(made, args=RestrictionArgs((Forbidden(f"phrase{number}", 6),), (), 0.0))
    assert sum(one.automaton.size for one in made._kept.values()) <= 4
    assert row(made).phrases is not running.phrases
    # The request that runs keeps its own.
    logits = torch.zeros(1, width())
    made.restrict(logits, {0: running})
    assert logits[0, encode(" Rowling")[0]] == float("-inf")
