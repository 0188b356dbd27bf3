"""What leaves a stream is no hit by the plain definition (`tests.fakes.hits`), and all the rest leaves.

For phrases of any letters, in disguise, see `test_withheld`.
"""

from __future__ import annotations

import itertools
import random
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guards.phrases.matching import Hit, PhraseSet
from guards.phrases.phrase import Phrase, PhraseClass
from guards.phrases.shingles import RUN, hashes, words_of
from tests.fakes.hits import contains, is_hit, letters

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

Pass = tuple[Hit | None, str, int | None]


def a_phrase(text: str, telling: int = 1000) -> Phrase:
    return Phrase(text, PhraseClass.FACT, min(telling, len(letters(text))))


def a_set(*texts: str | Phrase, owner: str = "r1") -> PhraseSet:
    return PhraseSet((owner, text if isinstance(text, Phrase) else a_phrase(text)) for text in texts)


def stream(
    phrases: PhraseSet, chunks: Iterable[str], *, before: str = "", ignore: Container[tuple[str, str]] = ()
) -> Pass:
    """A gateway's way with a stream: the hit, what was passed on, and the characters fed when it was found."""
    matcher = phrases.matcher(before=before, ignore=ignore)
    fed = passed = ""
    for chunk in chunks:
        fed += chunk
        hit = matcher.feed(chunk)
        assert 0 <= matcher.pending <= len(fed)
        now = fed[: len(fed) - matcher.pending]
        assert now == passed if hit else now.startswith(passed)
        if hit:
            return hit, passed, len(fed)
        passed = now
    hit = matcher.finish()
    assert hit or matcher.pending == 0
    return hit, fed[: len(fed) - matcher.pending], None


def cut(text: str, places: Iterable[int]) -> list[str]:
    ends = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in itertools.pairwise(ends)]


def check(texts: Sequence[Phrase], text: str, places: Sequence[int]) -> None:
    """Letter by letter and in any chunks: found at once, nothing of it passed on, all passed on where there is none."""
    phrases = a_set(*texts)
    hit, passed, at = stream(phrases, text)
    earliest = (end for end in range(1, len(text) + 1) if is_hit(text[:end], texts, finished=False))
    assert at == next(earliest, None)
    assert (hit is not None) == (at is not None or is_hit(text, texts, finished=True))
    chunked, passed_in_chunks, _ = stream(phrases, cut(text, places))
    assert _span(chunked) == _span(hit)
    for each in (passed, passed_in_chunks):
        assert text.startswith(each)
        assert each == text if hit is None else not is_hit(each, texts, finished=True)


def _span(hit: Hit | None) -> tuple[int, int] | None:
    return hit and (hit.start, hit.end)


# Few letters make near misses, overlaps and repetitions common.


@st.composite
def near_misses(draw: st.DrawFn) -> tuple[list[Phrase], str]:
    alphabet = draw(st.sampled_from(["ab", "abc", "abcdefgh"]))
    spelt = st.text(alphabet + " ", min_size=1, max_size=28).filter(lambda text: bool(letters(text)))
    texts = draw(st.lists(spelt, min_size=1, max_size=3))
    if draw(st.booleans()):
        texts.append(_edited(draw, texts[0], alphabet) or "a")
    phrases = [a_phrase(text, draw(st.integers(1, 30))) for text in texts if letters(text)]
    parts = draw(st.lists(st.one_of(st.sampled_from(texts), st.text(alphabet + " -", max_size=8)), max_size=3))
    gap = draw(st.sampled_from(["", " ", " -"]))
    return phrases, gap.join(_edited(draw, part, alphabet + " ") for part in parts)


def _edited(draw: st.DrawFn, text: str, alphabet: str) -> str:
    edits = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["", "."]), st.sampled_from(alphabet)), max_size=4)
    for place, kept, letter in draw(edits):
        at = place % (len(text) + 1)
        text = text[:at] + letter + (text[at:] if kept else text[at + 1 :])
    return text[: draw(st.integers(len(text) // 2, len(text)))] if draw(st.booleans()) else text


PLACES = st.lists(st.integers(0, 80), max_size=6)


@settings(deadline=None)
@given(near_misses(), PLACES)
@example(([a_phrase("harrypotter", 7), a_phrase("tomriddle")], "harrypotttomriddle"), [15])
@example(([a_phrase("ron"), a_phrase("abcdefgh")], "ronabcdefgh"), [9])
@example(([a_phrase("abcdefghij")], "abcdxfghij abcdfghij abcdexfghi"), [])
@example(([a_phrase("abcdefghij")], "abcfghijx abcdxfghij"), [])
def test_what_is_passed_on_is_no_hit_and_is_everything_without_one(
    case: tuple[list[Phrase], str], at: list[int]
) -> None:
    check(*case, at)


@settings(deadline=None)
@given(near_misses(), st.integers(0, 60), PLACES)
# With the first letter more a stretch of 28 letters may differ in as many as one of 27 may not.
@example(([a_phrase("hhbcecgfgbcbeef cdbgeeheadh", 10)], ".a. hhbcecgfgcbeef cdbgebehheaddh."), 31, [])
def test_a_text_that_stands_before_counts_like_one_that_was_fed(
    case: tuple[list[Phrase], str], place: int, at: list[int]
) -> None:
    texts, text = case
    before, rest = text[:place], text[place:]
    if is_hit(before, texts, finished=True):
        return
    phrases = a_set(*texts)
    whole, _, _ = stream(phrases, [text])
    hit, passed, _ = stream(phrases, cut(rest, at), before=before)
    assert _span(hit) == (whole and (max(whole.start - len(before), 0), whole.end - len(before)))
    assert passed == rest if hit is None else not is_hit(before + passed, texts, finished=True)


@settings(deadline=None)
@given(near_misses())
def test_phrases_in_a_whole_text_are_found_and_nothing_else(case: tuple[list[Phrase], str]) -> None:
    texts, text = case
    found = a_set(*texts).find(text)
    assert {hit.phrase for hit in found} == {phrase for phrase in texts if contains(text, phrase, finished=True)}
    assert all(contains(text[hit.start : hit.end], hit.phrase, finished=True) for hit in found)


@settings(deadline=None)
@given(st.text(max_size=60), PLACES)
def test_any_characters_pass_unchanged(text: str, at: list[int]) -> None:
    assert stream(a_set("\U0001f600 not in there, surely"), cut(text, at)) == (None, text, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I met Ron.", "Ron"),
        ("RON", "RON"),
        ("r-o-n it is", "r-o-n"),
        ("from one", None),
        ("Ronald", None),
        ("Ron\u200bald", None),
        ("ro n", None),
        ("in 京都 now", "京都"),
        ("京 都", "京 都"),
        ("東京の都", None),
        ("I saw 東京タワー", "東京タワー"),
        ("the harrypotters", "harrypotte"),
        ("Harry Pottr", "Harry Pottr"),
        ("Hary Poter", None),
        ("the sHarry Pxotter", "Harry Pxotter"),
        ("Voldemort", "Voldemor"),
        ("Voldem", "Voldem"),
        ("Voldemast", None),
        ("xVoldem or", "Voldem or"),
        ("to Vol-dem, he", "Vol-dem"),
    ],
)
def test_what_is_a_hit(text: str, said: str | None) -> None:
    phrases = a_set("Ron", "京都", "東京タワー", "Harry Potter", a_phrase("Voldemort", 6))
    hit, _, _ = stream(phrases, text)
    whole, _, _ = stream(phrases, [text])
    assert hit == whole
    assert (hit and text[hit.start : hit.end]) == said


def test_only_what_may_become_a_phrase_is_held_back() -> None:
    matcher = a_set("Harry Potter", "Ron").matcher()
    pending = []
    for token in [
        "The",
        " boy",
        " Harr",
        "y",
        " Po",
        "ll",
        "ard",
        " xHarry",
        "Po",
        " met",
        " Ro",
        "se",
        " \u200b",
        "R",
    ]:
        assert matcher.feed(token) is None
        pending.append(matcher.pending)
    # Within a word nothing is held before half of the phrase has been said, and what has been let go stays so.
    assert pending == [0, 0, 4, 5, 8, 0, 0, 0, 2, 0, 2, 0, 0, 1]


def test_a_set_without_letters_is_empty() -> None:
    phrases = a_set("", " ", "!?", "\u200b")
    assert not phrases
    assert len(a_set("a", "b", "Harry Potter")) == 3
    matcher = phrases.matcher(before="Harry")
    assert matcher.feed("!? \ud800") is None
    assert matcher.finish() is None
    assert matcher.pending == 0
    assert phrases.find("!?") == []


def test_what_the_text_before_says_by_itself_is_no_hit() -> None:
    phrases = a_set("Albus Dumbledore", "Ron", a_phrase("Voldemort", 6))
    for before in ("Albus Dumbledore", "Albus Dumbledor", "Ron", "Voldem", "x Albus\u200b Dumbledore, Ron"):
        assert stream(phrases, ["", " and", " others."], before=before)[0] is None
    for before, rest in (
        ("Albus Dumble", "dore"),
        ("Ro", "n."),
        ("Vold", "em!"),
        ("so " * 500 + "Albus D", "umbledore"),
    ):
        hit, passed, _ = stream(phrases, rest, before=before)
        assert hit is not None
        assert hit.start == 0
        assert not is_hit(before[-20:] + passed, [hit.phrase], finished=True)


def test_an_owner_is_named_for_each_phrase() -> None:
    phrases = PhraseSet([("r1", a_phrase("Harry Potter")), ("r2", a_phrase("harry-potter")), ("r2", a_phrase("Ron"))])
    found = phrases.find("Ron is no Harry Potter, Ron")
    assert [(hit.owner, hit.phrase.text, hit.start, hit.end) for hit in found] == [
        ("r2", "Ron", 0, 3),
        ("r1", "Harry Potter", 10, 22),
        ("r2", "harry-potter", 10, 22),
        ("r2", "Ron", 24, 27),
    ]
    hit, _, _ = stream(phrases, "Harry Potter", ignore={("r1", "Harry Potter")})
    assert hit is not None
    assert hit.owner == "r2"


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("It was Harry Porter.", None),  # may pass
        ("It was Harry Portex.", None),  # like it
        ("It was Hermione Granger.", "r1"),  # another phrase
        ("It was Harry Potter.", "r1"),  # which may not pass, though it is like one that may
        ("It was Ron.", None),
        ("It was Rhon.", None),
        ("It was Herbert Granger-Smith.", None),
        ("It was Herbert Granger-Sm.", None),
        ("It was Herbert Granger-Smythe", "r2"),
        ("It was Herbert Granger-Smyth", "r2"),
    ],
)
def test_what_is_ignored_passes_with_what_is_like_it(text: str, owner: str | None) -> None:
    phrases = PhraseSet(
        [
            ("r1", a_phrase("Harry Potter")),
            ("r1", a_phrase("Harry Porter", 8)),
            ("r1", a_phrase("Hermione Granger", 8)),
            ("r1", a_phrase("Ron")),
            ("r2", a_phrase("Herbert Granger-Smith", 12)),
            ("r2", a_phrase("Herbert Granger-Smythe", 12)),
        ]
    )
    ignore = {("r1", "Harry Porter"), ("r1", "Ron"), ("r2", "Herbert Granger-Smith"), ("r2", "Hermione Granger")}
    hit, passed, _ = stream(phrases, text, ignore=ignore)
    assert (hit and hit.owner) == owner
    assert hit or passed == text


def test_what_is_ignored_is_not_held_back() -> None:
    phrases = a_set("Harry Potter", "Hermione Granger")
    matcher = phrases.matcher(ignore={("r1", "Harry Potter")})
    assert matcher.feed("Harry Po") is None
    assert matcher.pending == 0
    assert matcher.feed(" Hermi") is None
    assert matcher.pending == 5


QUOTATION = (
    "It was a bright cold day in April, and the clocks were striking thirteen; Winston Smith slipped quickly through"
)


@settings(deadline=None)
@given(PLACES, st.sampled_from(["", "He wrote: ", "said-"]), st.integers(0, 8))
def test_a_quotation_is_found_with_its_last_word(places: list[int], ahead: str, skipped: int) -> None:
    phrases = PhraseSet([], shingles={"r1": np.empty(0, np.uint64), "r2": hashes(words_of(QUOTATION))})
    assert phrases
    quoted = " ".join(QUOTATION.upper().split()[skipped:])
    text = f"{ahead}{quoted}, and so on"
    hit, passed, _ = stream(phrases, cut(text, places))
    assert hit is not None
    assert hit.owner == "r2"
    assert hit.phrase.kind is PhraseClass.FACT
    run = " ".join(words_of(quoted)[:RUN])
    assert hit.phrase.text == run
    assert " ".join(words_of(text[hit.start : hit.end])) == run
    known = set(hashes(words_of(QUOTATION)).tolist())
    assert known.isdisjoint(hashes(words_of(passed)).tolist())


@given(st.integers(0, 8), st.integers(0, 8))
def test_every_run_of_a_quotation_is_found_in_a_whole_text(skipped: int, left: int) -> None:
    phrases = PhraseSet([], shingles={"r1": np.empty(0, np.uint64), "r2": hashes(words_of(QUOTATION))})
    quoted = " ".join(QUOTATION.split()[skipped : len(QUOTATION.split()) - left])
    text = f"He wrote - {quoted} - and so on"
    hits = phrases.find(text)
    assert [hit.phrase.text for hit in hits] == [
        " ".join(words_of(quoted)[first : first + RUN]) for first in range(len(words_of(quoted)) - RUN + 1)
    ]
    assert all(hit.owner == "r2" and hit.run for hit in hits)
    assert all(words_of(text[hit.start : hit.end]) == hit.phrase.text.split() for hit in hits)


def test_what_of_a_quotation_was_supplied_passes() -> None:
    phrases = PhraseSet([], shingles={"r1": hashes(words_of(QUOTATION))})
    stated = {(hit.owner, hit.phrase.text) for hit in phrases.find(QUOTATION[:80])}
    words = QUOTATION.split()
    matcher = phrases.matcher(ignore=stated)
    assert matcher.feed(" ".join(words[:12])) is None
    hit = matcher.feed(" " + " ".join(words[12:]))
    assert hit is not None
    assert hit.run


def test_seven_words_are_no_quotation_but_the_end_of_the_text_may_make_eight() -> None:
    phrases = PhraseSet([], shingles={"r1": hashes(words_of(QUOTATION))})
    seven, eight = " ".join(QUOTATION.split()[:7]), " ".join(QUOTATION.split()[:8]).rstrip(",")
    assert stream(phrases, [seven, "x", " yes"]) == (None, f"{seven}x yes", None)
    assert stream(phrases, [eight, "x"]) == (None, f"{eight}x", None)
    hit, passed, _ = stream(phrases, [*eight])
    assert hit is not None
    assert passed == eight[:-1]
    hit, _, _ = stream(phrases, ["bright cold day in April and", " the..."], before="It was a ")
    assert hit is not None
    assert hit.start == 0


@pytest.mark.thorough
@pytest.mark.parametrize("filler", ["ordinary words ", "abcdefgh", "harry", "har ry po", "\u200b", "- "])
def test_what_a_stream_needs_does_not_grow_with_it(filler: str) -> None:
    matcher = a_set("Harry Potter", "Ron", "Harry Harry Hermione").matcher()
    rng = random.Random(0)

    def feed(characters: int) -> None:
        for _ in range(characters // 1000):
            start = rng.randrange(len(filler))
            assert matcher.feed((filler * 1001)[start : start + 1000]) is None

    feed(10_000)
    tracemalloc.start()
    feed(30_000)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 30_000
    assert matcher.feed(" Ron ") is not None


@pytest.mark.parametrize("into", [list[str], lambda text: [text]])
def test_a_long_text_is_searched_to_its_end(into: Callable[[str], list[str]]) -> None:
    text = "All work and no play makes Jack a dull boy. " * 400 + "Harry Potter"
    hit, passed, _ = stream(a_set("Harry Potter"), into(text))
    assert hit is not None
    assert hit.start == text.index("Harry")
    assert text.startswith(passed)
    assert [each.start for each in a_set("Harry Potter").find(text)] == [hit.start]
