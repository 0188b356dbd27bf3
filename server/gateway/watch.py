"""What must not leave in the answers to one request, and how far each of their texts has come."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from guards.detect.windows import sentences
from guards.engine.folding import fold
from guards.phrases.matching import Hit
from guards.phrases.phrase import Phrase, PhraseClass
from guards.scope import Context
from server.api.answer import STOP, TEXT, TOKENS, TOOL

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from guards.detect.windows import Window
    from guards.phrases.matching import Matcher, PhraseSet
    from guards.scope import Scope
    from guards.watch.watchlist import Watchlist
    from server.api.endpoint import Enumerated

# Text before an answer that a phrase might have begun in: longer than any phrase worth watching for.
_BEFORE = 400
# From so many characters on, which take a few milliseconds, the client's own texts are read off the event loop.
_LONG: Final = 10_000
# From so many phrases on, which take as long, they are gone through there too.
_MANY: Final = 1_000
_ESCAPE: Final = re.compile(r"\\(u([0-9a-fA-F]{4})|.)", re.DOTALL)
# Letters written as JSON's numbers, or what may become that with the next token.
_HIDDEN: Final = re.compile(r"\\(?:u[0-9a-fA-F]|u?\Z)")
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
NO_STOPS: Final[Mapping[str, str]] = MappingProxyType({})


class Watch:
    """The phrases in force for one request.

    Args:
        near: the requests that the prompt comes near to: their names are watched for too.
        own: the texts of the client's own request, read only where a phrase is met.
        enumerated: strings that the client's schemas list; they may stand where the schema binds the answer.
        context: how text that the client supplies itself is treated, instead of as each scope says.
        stops: texts at which the answer ends, before it says them, by what the upstream calls them.
    """

    def __init__(
        self,
        watchlist: Watchlist,
        near: Sequence[str],
        own: Callable[[], Sequence[str]],
        enumerated: Callable[[], Enumerated],
        context: Context | None = None,
        stops: Mapping[str, str] = NO_STOPS,
    ) -> None:
        self.stops = stops
        self._watchlist = watchlist
        self._near = near
        self._names = watchlist.names(near) if near else None
        self._sets: tuple[PhraseSet, ...] = watchlist.facts() + ((self._names,) if self._names else ())
        self.own = own
        self._enumerated = enumerated
        self.context = context
        self._stated: set[tuple[str, str]] | None = None
        self._listed: tuple[set[tuple[str, str]], set[tuple[str, str]]] | None = None

    def __bool__(self) -> bool:
        return any(map(len, self._sets))

    async def prepare(self) -> None:
        """Read a long request of the client's before what an answer says may depend on it: in a thread."""
        if self and self._stated is None and sum(map(len, self.own())) >= _LONG:
            self._stated = await asyncio.to_thread(self._found_in, self.own(), self._supplied)

    def may_pass(self, key: tuple[str, str], channel: str) -> bool:
        """Whether a phrase, by owner and text, may stand in a channel: the client stated it, or its scope is gone."""
        if self._watchlist.live(key[0]) is None:
            return True
        if self._stated is None:
            self._stated = self._found_in(self.own(), self._supplied)
        return key in self._stated or any(key in listed for listed in self._listed_for(channel))

    def names(self, text: str) -> list[Hit]:
        """The names in a whole text, whether they may stand there or not."""
        return self._names.find(text) if self._names else []

    def matchers(self, channel: str, before: str = "") -> tuple[Matcher, ...]:
        """Matchers for one text of a channel that goes on from ``before``."""
        ignore = _Passing(self, channel)
        return tuple(phrases.matcher(before=before[-_BEFORE:], ignore=ignore) for phrases in self._sets if len(phrases))

    def forbids(self, text: str, before: str, channel: str = TOKENS) -> bool:
        """Whether ``text``, a token's, after ``before`` may not be shown."""
        letters = "".join(fold(character) for character in text).replace(" ", "")
        if not letters:
            return False
        return any(
            matcher.feed(text) or matcher.finish()
            for phrases in self._sets
            if len(phrases) and phrases.may_meet(letters)
            for matcher in (phrases.matcher(before=before[-_BEFORE:], ignore=_Passing(self, channel)),)
        )

    async def restrictions(self, request_ids: Sequence[str]) -> tuple[list[Phrase], list[str]]:
        """Phrases, and words that go with them, to keep the engine from in the name of some requests."""
        held = self._watchlist.scopes(request_ids)
        if sum(len(scope.phrases) for scope in held.values()) < _MANY:
            return self._restrictions(held)
        return await asyncio.to_thread(self._restrictions, held)

    def _restrictions(self, held: Mapping[str, Scope]) -> tuple[list[Phrase], list[str]]:
        phrases: dict[str, Phrase] = {}
        associated: dict[str, None] = {}
        for name, scope in held.items():
            phrases |= {
                phrase.text: phrase for phrase in scope.phrases if not self.may_pass((name, phrase.text), TOKENS)
            }
            associated |= dict.fromkeys(scope.associated)
        return list(phrases.values()), list(associated)

    def _listed_for(self, channel: str) -> Sequence[Container[tuple[str, str]]]:
        """The phrases that the client's schemas list for a channel. The engine, and tokens, know no channels."""
        if self._listed is None:
            text, calls = (self._found_in(listed) for listed in self._enumerated())
            self._listed = text, calls
        text, calls = self._listed
        if channel == TOKENS:
            return (text, calls)
        return (text,) if channel == TEXT else (calls,) if channel.startswith(TOOL) else ()

    def _found_in(self, texts: Sequence[str], counts: Callable[[Hit], bool] = lambda hit: True) -> set[tuple[str, str]]:
        return {
            (hit.owner, hit.phrase.text)
            for text in texts
            for phrases in self._sets
            for hit in phrases.find(text)
            if counts(hit)
        }

    def _supplied(self, hit: Hit) -> bool:
        if hit.phrase.kind is PhraseClass.NAME:
            return True
        scope = self._watchlist.live(hit.owner)
        return scope is not None and (self.context or scope.policy.context) is Context.SUPPLIED


class _Passing:
    """The phrases that may stand in one channel of an answer."""

    __slots__ = ("_channel", "_watch")

    def __init__(self, watch: Watch, channel: str) -> None:
        self._watch = watch
        self._channel = channel

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and self._watch.may_pass(key, self._channel)


def unescaped(text: str) -> str:
    """A text with its JSON escapes resolved, whether it is JSON or not."""
    resolved = _ESCAPE.sub(
        lambda found: chr(int(found[1][1:], 16)) if found[2] else _CONTROLS.get(found[1], found[1]), text
    )
    return resolved.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def sentences_in(text: str) -> list[str]:
    """The sentences of the strings in a JSON text, names among them; of the text itself where it is no JSON."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    return [one[window.start : window.end] for one in _strings(value) for window in sentences(one)]


def _strings(value: object) -> Iterator[str]:
    # As deep as JSON may be, which is deeper than calls may. A name of one word says nothing.
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            left += [*one.values(), *(name for name in one if " " in name)]
        elif isinstance(one, list):
            left += reversed(one)


class Met(NamedTuple):
    """A phrase that an answer met."""

    hit: Hit
    channel: str
    text: str
    """What stands there: the phrase in these letters, or nearly it."""
    kept: int
    """How much of the channel's text may stay: up to the word that it begins in, whose beginning may say something."""

    @property
    def literal(self) -> Phrase:
        """What stands there as a phrase of its own: the engine knows no near misses."""
        letters = sum(character != " " for written in self.text for character in fold(written))
        return Phrase(self.text, PhraseClass.FACT, telling=max(letters * 3 // 5, 1))


class Thread:
    """The text of one channel of one choice, as far as it has come."""

    __slots__ = ("_hidden", "_matchers", "_parts", "_watch", "before", "channel", "complete", "length")

    def __init__(self, watch: Watch, channel: str, before: str = "") -> None:
        self.channel = channel
        self._watch = watch
        self._matchers = watch.matchers(channel, before)
        self._parts: list[str] = []
        self._hidden: int | None = None
        """Where letters written as numbers begin: what they say is known only once the text is complete."""
        self.before = before
        """What stands before it and is not watched."""
        self.length = 0
        self.complete = False
        """Whether no more is expected, so that its end holds nothing back. If more comes after all, it no longer is."""

    def feed(self, text: str) -> Met | None:
        """Take in more text. What is met is the last thing it finds."""
        if self.channel == STOP:
            text = self._watch.stops.get(text, text)
        self._parts.append(text)
        self.length += len(text)
        self.complete = False
        if self._hidden is not None or "\\" in text or text.startswith("u"):
            begin = self.length - len(text) - 2 if self._hidden is None else self._hidden
            found = _HIDDEN.search(self.text, max(begin, 0))
            self._hidden = found.start() if found else None
        return self._met([matcher.feed(text) for matcher in self._matchers])

    def finish(self) -> Met | None:
        """The text is complete."""
        self.complete = True
        clear = self.clear
        met = self._met([matcher.finish() for matcher in self._matchers])
        return met or self._cut_off(clear) or self._escaped()

    def _cut_off(self, clear: int) -> Met | None:
        """A phrase that the client has cut off itself, by ending the answer at a part of it that it knows.

        That an answer came to a stop which is a whole phrase is seen where the upstream names the stop.
        """
        for stop in self._watch.stops.values() if self.channel not in (STOP, TOKENS) else ():
            if clear == self.length and self._watch.forbids(stop, "", self.channel):
                continue
            for matcher in self._watch.matchers(self.channel, self.before + self.text):
                if (hit := matcher.feed(stop) or matcher.finish()) is not None:
                    met = replace(hit, start=clear, end=self.length)
                    return Met(met, self.channel, self.text[clear:] + stop, clear)
        return None

    def _escaped(self) -> Met | None:
        """A phrase that whoever reads the text as JSON finds in it: the arguments of a call, a structured answer."""
        if "\\" not in self.text or self.channel == TOKENS:
            return None
        text = unescaped(self.text)
        for matcher in self._watch.matchers(self.channel):
            if (hit := matcher.feed(text) or matcher.finish()) is not None:
                return Met(replace(hit, start=0, end=self.length), self.channel, text[hit.start : hit.end], 0)
        return None

    def _met(self, hits: Sequence[Hit | None]) -> Met | None:
        hit = min((hit for hit in hits if hit is not None), key=lambda hit: hit.start, default=None)
        if hit is None:
            return None
        kept = hit.start
        while kept and " " not in fold(self.text[kept - 1]):
            kept -= 1
        return Met(hit, self.channel, self.text[hit.start : hit.end], kept)

    def met(self, window: Window, owner: str) -> Met:
        """A sentence that says what its owner's statements say."""
        text = self.text[window.start : window.end]
        hit = Hit(owner, Phrase(text, PhraseClass.FACT, telling=len(text)), window.start, window.end)
        return Met(hit, self.channel, text, window.start)

    @property
    def clear(self) -> int:
        """How many characters may leave."""
        if not self._matchers:
            return self.length
        clear = self.length - max(matcher.pending for matcher in self._matchers)
        return clear if self._hidden is None or self.complete or self.channel == TOKENS else min(clear, self._hidden)

    @property
    def text(self) -> str:
        """All of it."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""
