"""Whatever phrases there are and however they are written, cut into chunks or tokens: what leaves holds none of them.

The measure is `tests.fakes.hits` on what a reader reads (`tests.fakes.writing`): the phrase, a stretch at least 0.85
like it, or its first three fifths up to a word's end where these give it away. Of a phrase of fewer than six letters
it is the word itself, also with its letters apart. Without any of it a text leaves unchanged and complete.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guards.act.restriction import restriction_xargs
from guards.engine.restrictor import Restrictor
from guards.engine.vocabulary import Vocabulary, read_vocabulary
from guards.phrases.matching import PhraseSet
from guards.watch.watchlist import Watchlist
from server.api.endpoint import Enumerated, Limits
from server.gateway.events import EventSplitter
from server.gateway.line import Line
from server.gateway.watch import Watch
from tests.examples import examples
from tests.fakes import tokenizers
from tests.fakes.codecs import CODECS
from tests.fakes.hits import contains, gives_away, is_hit
from tests.fakes.scopes import scope
from tests.fakes.wire import CHAT, COMPLETIONS, RESPONSES, Said, Wire
from tests.fakes.writing import disguise, meaning, phrases, plain, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guards.phrases.phrase import Phrase

pytestmark = pytest.mark.thorough

BODY = {"model": "m"}
SEEDS = st.integers(0, 2**32).map(random.Random)


@st.composite
def cases(draw: st.DrawFn, *, fewest: int = 1) -> tuple[list[Phrase], str]:
    """Phrases, and a text that may hold some of them."""
    known = draw(st.lists(phrases(fewest=fewest), min_size=1, max_size=3))
    return known, draw(texts(known))


def told(text: str, known: Sequence[Phrase]) -> bool:
    """Whether a text, as it stands or however it goes on, tells a phrase."""
    return is_hit(meaning(text), map(plain, known), finished=True)


def pieces_of(rng: random.Random, text: Any) -> list[Any]:
    """Text or bytes cut anywhere, in small pieces or large."""
    most = rng.choice([1, 3, 9, 40])
    ends = itertools.accumulate(iter(lambda: rng.randint(1, most), 0))
    cuts = [0, *itertools.takewhile(lambda end: end < len(text), ends), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


def watched(known: Sequence[Phrase], chunks: Iterable[str]) -> tuple[bool, str]:
    """Whether the watch stops a stream, and what it lets out of it until then."""
    matcher = PhraseSet(("fr_1", phrase) for phrase in known).matcher()
    fed = ""
    for chunk in chunks:
        fed += chunk
        if matcher.feed(chunk):
            return True, fed[: len(fed) - matcher.pending]
        assert not told(fed[: len(fed) - matcher.pending], known)
    met = matcher.finish() is not None
    return met, fed[: len(fed) - matcher.pending]


@examples(400)
@given(cases(), SEEDS)
def test_the_watch_lets_no_phrase_out_and_all_else(case: tuple[list[Phrase], str], rng: random.Random) -> None:
    known, text = case
    met, out = watched(known, pieces_of(rng, text))
    assert text.startswith(out)
    assert met == told(text, known)
    assert out == text if not met else not told(out, known)
    said = {phrase for phrase in known if contains(meaning(text), plain(phrase), finished=True)}
    assert {hit.phrase for hit in PhraseSet(("fr_1", phrase) for phrase in known).find(text)} == said


@pytest.mark.parametrize("path", CODECS)
@examples(100)
@given(st.lists(phrases(), min_size=1, max_size=3), st.data(), SEEDS)
def test_nor_does_a_stream_of_events_cut_anywhere(
    path: str, known: list[Phrase], data: st.DataObject, rng: random.Random
) -> None:
    said = data.draw(st.lists(texts(known), min_size=1, max_size=2 if path in (CHAT, COMPLETIONS) else 1))
    line = Line(CODECS[path](Limits()).stream(BODY), watch_for(known), lambda choice: "")
    sent = events(path, rng, said)
    splitter, out = EventSplitter(), list[bytes]()
    for piece in pieces_of(rng, b"".join(sent)):
        for event in splitter.feed(piece):
            out += line.take(event)
    out += line.finish()
    for choice, text in enumerate(said):
        left = content(out, choice)
        assert text.startswith(left)
        assert (choice in line.cut) == told(text, known)
        assert left == text or choice in line.cut
        assert choice not in line.cut or not told(left, known)
    if not line.cut:
        assert b"".join(out) == b"".join(sent)
    elif path == RESPONSES:
        assert not any(told(text, known) for raw in out for text in repeated(loaded(raw)))


@examples(150)
@given(st.lists(phrases(), min_size=1, max_size=3), st.data(), SEEDS)
def test_neither_does_what_an_answer_goes_on_with(known: list[Phrase], data: st.DataObject, rng: random.Random) -> None:
    """One that is rolled back, and whatever it is continued with: what has left and what follows are one text."""
    line = Line(CODECS[CHAT](Limits()).stream(BODY), watch_for(known), lambda choice: "")
    out: list[bytes] = []
    for place, text in enumerate(data.draw(st.lists(texts(known), min_size=1, max_size=4))):
        continuation, kept = CODECS[CHAT](Limits()).stream(BODY), content(out, 0)
        for raw in events(CHAT, rng, [text])[:-1]:
            if 0 not in line.cut:
                out += line.take_of(0, continuation, raw, closes=True) if place else line.take(raw)
        left = content(out, 0)
        assert (kept + text).startswith(left)
        if 0 not in line.cut:
            assert left == kept + text
            break
        line.resume(0, 0, closes=True)
    assert not told(content([*out, *line.finish()], 0), known)


def watch_for(known: Sequence[Phrase]) -> Watch:
    watchlist = Watchlist()
    # The strategy's own share of a phrase that gives it away instead of the scope's.
    forgotten = scope()
    object.__setattr__(forgotten, "phrases", tuple(known))
    asyncio.run(watchlist.apply(forgotten))
    return Watch(watchlist, (), own=lambda: (), enumerated=Enumerated)


def events(path: str, rng: random.Random, said: Sequence[str]) -> list[bytes]:
    """A streamed answer: of several choices, they take turns, in JSON that is written either way. So are its lines."""
    end = rng.choice([b"\n", b"\r\n", b"\r"])
    if path not in (CHAT, COMPLETIONS):
        return [event.replace(b"\n", end) for event in Wire(path, BODY, Said(pieces_of(rng, said[0])), 1).chunks()]
    left = [[*pieces_of(rng, text), None] for text in said]
    plainly = rng.random() < 0.5
    sent = []
    while any(left):
        choice = rng.choice([index for index, pieces in enumerate(left) if pieces])
        piece = left[choice].pop(0)
        shown = {"text": piece or ""} if path == COMPLETIONS else {"delta": {} if piece is None else {"content": piece}}
        one = {"index": choice, **shown, "logprobs": None, "finish_reason": "stop" if piece is None else None}
        answer = {"id": "x", "created": 1, "model": "m", "choices": [one]}
        sent.append(f"data: {json.dumps(answer, ensure_ascii=plainly)}".encode() + 2 * end)
    return [*sent, b"data: [DONE]" + 2 * end]


def content(out: Iterable[bytes], choice: int) -> str:
    """The text of a choice, put together from what came of it event by event."""
    found = []
    for raw in out:
        event = loaded(raw)
        found += [one.get("delta") or one for one in event.get("choices", ()) if one["index"] == choice]
        found += [{"text": event["delta"]}] if event.get("type", "").endswith("text.delta") else []
        found += [event["delta"]] if event.get("type") == "content_block_delta" else []
    return "".join(one.get("content") or one.get("text") or "" for one in found)


def loaded(raw: bytes) -> dict[str, Any]:
    return {} if raw.strip() in (b"", b"data: [DONE]") else dict(json.loads(raw.partition(b"data: ")[2]))


def repeated(value: object) -> list[str]:
    """The texts that an event of a response says whole, after they have come piece by piece."""
    if isinstance(value, list):
        return [text for one in value for text in repeated(one)]
    if not isinstance(value, dict):
        return []
    own = [value["text"]] if isinstance(value.get("text"), str) else []
    return own + repeated(list(value.values()))


KEY = b"key"
END = 0


def random_vocabulary(rng: random.Random, *likes: str) -> Vocabulary:
    """Every byte, and pieces of texts cut anywhere, in the middle of characters too."""
    found = {piece for text in likes for piece in (text.encode(), *pieces_of(rng, text.encode()))}
    found |= {piece for text in likes for _ in range(2) for piece in pieces_of(rng, text.encode())}
    return Vocabulary([b"<end>", *(bytes([byte]) for byte in range(256)), *sorted(found)], (END,))


@functools.cache
def trained_vocabulary(kind: str) -> Vocabulary:
    return read_vocabulary(KINDS[kind]())


KINDS = {"byte level": tokenizers.byte_level, "byte fallback": tokenizers.byte_fallback}


class Model:
    """Writes what it pleases in tokens, as far as the logits processor lets it. Of a ``kind``, or any vocabulary."""

    def __init__(self, rng: random.Random, known: Sequence[Phrase], *likes: str, kind: str = "") -> None:
        self.rng = rng
        self.kind = kind
        vocabulary = trained_vocabulary(kind) if kind else random_vocabulary(rng, *likes)
        self.pieces = vocabulary._pieces
        self.tokens: dict[bytes, list[int]] = {}
        for token, piece in enumerate(self.pieces):
            if piece and token not in vocabulary.special:
                self.tokens.setdefault(piece, []).append(token)
        self.longest = max(map(len, self.pieces))
        self.restrictor = Restrictor(vocabulary, KEY, width=len(self.pieces), device=torch.device("cpu"))
        self.xargs = restriction_xargs(known, [], 0.0, KEY)
        self.banned = 0
        """Tokens that it might not write. Within a character one may be banned for what it would say by itself."""

    def write(self, text: str, prompt: str = "") -> str:
        """What comes of it where ``text`` is wanted: another token where one is banned, and else a character less."""
        params = SimpleNamespace(
            extra_args=self.xargs,
            eos_token_id=END,
            stop_token_ids=None,
            all_stop_token_ids={END},
            structured_outputs=None,
            allowed_token_ids=None,
            bad_words_token_ids=None,
            min_tokens=0,
        )
        row = self.restrictor.row(params, [self.tokens[bytes([byte])][0] for byte in prompt.encode()])
        wanted, at, answer = text.encode(), 0, list[int]()
        while at < len(wanted):
            fitting = self.fitting(wanted[at : at + self.longest])
            if row is not None:
                logits = torch.zeros(1, len(self.pieces))
                self.restrictor.restrict(logits, {0: row})
                allowed = [token for token in fitting if logits[0, token] > float("-inf")]
                # Within a character a token is judged for both readings: it may not go on with it after all.
                if wanted[at] & 0xC0 != 0x80:
                    self.banned += len(fitting) - len(allowed)
                fitting = allowed
            if not fitting:
                at = next((end for end in range(at + 1, len(wanted)) if wanted[end] & 0xC0 != 0x80), len(wanted))
                continue
            token = self.rng.choice(fitting)
            answer.append(token)
            at += len(self.pieces[token])
            if row is not None:
                row.follow([token])
        if self.kind:
            return str(KINDS[self.kind]().decode(answer, clean_up_tokenization_spaces=False))
        return b"".join(self.pieces[token] for token in answer).decode("utf-8", "replace")

    def fitting(self, wanted: bytes) -> list[int]:
        return [token for end in range(1, len(wanted) + 1) for token in self.tokens.get(wanted[:end], ())]


def restrained(text: str, known: Sequence[Phrase]) -> bool:
    """Whether a text is free of phrases and of what gives them away, but perhaps not of what is only like them."""
    read = meaning(text)
    return not any(
        contains(read, phrase, finished=True) or gives_away(read, phrase, finished=True) for phrase in map(plain, known)
    )


@pytest.mark.parametrize("kind", ["", *KINDS])
@examples(200)
@given(cases(), SEEDS)
def test_the_engine_writes_no_phrase_in_any_tokens(
    kind: str, case: tuple[list[Phrase], str], rng: random.Random
) -> None:
    """Nor does anything like one leave: the engine knows no near misses, and the watch reads behind it."""
    known, text = case
    likes = [disguise(rng, meaning(phrase.text)) for phrase in known]
    written = Model(rng, known, text, *likes, kind=kind).write(text)
    assert restrained(written, known)
    _, out = watched(known, pieces_of(rng, written))
    assert not told(out, known)


@examples(200)
@given(cases(fewest=6), SEEDS)
def test_the_engine_lets_all_else_be_written(case: tuple[list[Phrase], str], rng: random.Random) -> None:
    """Of long phrases: a short one, which is banned as a word, may be the beginning of a longer word."""
    known, text = case
    model = Model(rng, known, text)
    begun = [plain(phrase).text.replace(" ", "")[: phrase.telling] for phrase in known]
    if not any(letters in meaning(text).replace(" ", "") for letters in begun):
        assert model.write(text) == text
        assert not model.banned


@examples(200)
@given(cases(), SEEDS, st.integers(0, 60))
def test_what_the_prompt_has_begun_is_not_completed(
    case: tuple[list[Phrase], str], rng: random.Random, place: int
) -> None:
    known, text = case
    prompt, rest = text[:place], text[place:]
    written = Model(rng, known, rest).write(rest, prompt)
    for phrase in map(plain, known):
        if not contains(meaning(prompt), phrase, finished=True):
            assert not contains(meaning(prompt + written), phrase, finished=True)
