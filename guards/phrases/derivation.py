"""From what somebody asked for to what must not leave in an answer."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from guards.phrases.associations import associated_words
from guards.phrases.commonness import ACCEPTABLE, assessed
from guards.phrases.entities import Form, name_parts, small_words, units
from guards.phrases.facts import facts
from guards.phrases.matching import PhraseSet
from guards.phrases.passages import background_passages
from guards.phrases.phrase import Phrase, PhraseClass
from guards.phrases.pieces import LONG
from guards.phrases.quotations import quotations
from guards.phrases.shingles import words_of
from guards.scope import Extent

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guards.phrases.entities import Unit
    from guards.phrases.matching import Hit, Matcher
    from guards.phrases.passages import Passages
    from guards.scope import Source

MOST_PHRASES: Final = 10_000
"""What one request may have. Of more derived ones the first are kept."""

# A name taken from an answer, not given as one: at most as common as the default false-positive rate.
_INNOCENT_NAME: Final = 1e-3
_WARNED: Final = 10
_NAMED: Final = frozenset({Form.NAME, Form.TITLE, Form.DATE, Form.ADDRESS})
# A number that is a name: of a customer, a case, an account. A shorter one is a year or a count.
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Derived:
    """The phrases of a scope, and what goes with them (`guards.scope.Scope`)."""

    phrases: tuple[Phrase, ...]
    associated: tuple[str, ...]
    shingles: NDArray[np.uint64] | None
    warnings: tuple[str, ...]


def derive(source: Source, ordinary: tuple[str, ...]) -> Derived:
    """Phrases, associated words and shingles of a request. ``ordinary`` are texts that mean nothing withheld.

    Phrases that an admin has given take the place of the derived ones, as given. A derived phrase that
    a text to be kept contains is left out, unless it is the subject or an alias.
    """
    background = background_passages(ordinary)
    texts, kept = [example.response for example in source.examples], _kept_texts(source)
    associated: tuple[str, ...] = ()
    shingles = None
    met: set[str] = set()
    if source.extent is Extent.TEXT:
        phrases, shingles = quotations(texts, kept, background)
    else:
        small = _small_words(ordinary) | small_words((*texts, *(example.prompt for example in source.examples)))
        read = [(text, units(text, small)) for text in texts]
        names = tuple(dict.fromkeys(_names(source, read, small)))
        phrases = _distinct(_known(source, names, read, background))
        if source.phrases is None:
            met = _met(phrases, kept)
            called = {name.strip() for name in names_of(source)}
            phrases = tuple(phrase for phrase in phrases if phrase.text not in met or phrase.text in called)
        withheld = [phrase.text for phrase in phrases if phrase.kind is PhraseClass.NAME]
        besides = {word for text in (*kept, *withheld) for word in words_of(text)}
        associated = associated_words(texts, names, besides)
    if source.phrases is not None:
        phrases = _distinct(_given(source, background))
        met = _met(phrases, kept)
    warnings = list(_warnings(phrases, met))
    if source.extent is Extent.TEXT and not phrases and (shingles is None or not shingles.size):
        warnings.append("Nothing is withheld: no passage of the examples is long and telling enough to be a quotation.")
    return Derived(phrases, associated, shingles, tuple(warnings))


def names_of(source: Source) -> tuple[str, ...]:
    """The subject and its aliases."""
    return (source.subject, *source.aliases)


def phrase_key(text: str) -> str:
    """Equal for phrases that are found in the same places: their letters, or their words where they are short."""
    words = words_of(text)
    letters = "".join(words)
    return letters if len(letters) >= LONG else " ".join(words)


def harm(phrase: Phrase) -> str:
    """What is wrong with a phrase that is too common; empty if it is not."""
    if phrase.innocent_rate <= ACCEPTABLE[phrase.kind]:
        return ""
    once_in = max(1, round(1 / phrase.innocent_rate))
    often = f'The {phrase.kind} "{phrase.text}" is in about 1 in {once_in:,} ordinary answers'
    if phrase.kind is PhraseClass.FACT:
        return f"{often}, and a fact is withheld from all of them; a name is, on recognised prompts only."
    return f"{often}: those to recognised prompts have to go around it."


def _given(source: Source, background: Passages) -> Iterator[Phrase]:
    for given in source.phrases or ():
        quoted = source.extent is Extent.TEXT and given.kind is PhraseClass.FACT
        yield assessed(given.text, given.kind, background, quoted=quoted)


def _known(
    source: Source,
    names: Iterable[str],
    read: Iterable[tuple[str, Sequence[Unit]]],
    background: Passages,
) -> Iterator[Phrase]:
    """The subject and aliases in any case; the rest where it is rare.

    A number or an address may be both a name and a fact: then it is a fact.
    """
    for name in names_of(source):
        yield assessed(name.strip(), PhraseClass.NAME, background)
    for text, parts in read:
        for span in facts(text, parts, background):
            yield assessed(span, PhraseClass.FACT, background)
    for name in names:
        phrase = assessed(name, PhraseClass.NAME, background)
        if phrase.innocent_rate <= _INNOCENT_NAME:
            yield phrase


def _names(source: Source, read: Iterable[tuple[str, Sequence[Unit]]], small: Container[str]) -> Iterator[str]:
    """Names that are not given as such: those in answers, and parts of any name that may stand alone for it."""
    whole = list(names_of(source))
    for text, parts in read:
        found = [(text[part.start : part.end], part.form) for part in parts if _is_named(text, part)]
        yield from (name for name, _ in found)
        whole += [name for name, form in found if form is Form.NAME]
    for name in whole:
        yield from (part for part in name_parts(name) if part.lower() not in small)


def _is_named(text: str, part: Unit) -> bool:
    if part.form is Form.NUMBER:
        return sum(map(str.isdecimal, text[part.start : part.end])) >= _DIGITS
    return part.form in _NAMED


def _met(phrases: Iterable[Phrase], texts: Sequence[str]) -> set[str]:
    """Which phrases the watch would find in some texts."""
    if not texts:
        return set()
    sought = PhraseSet(("", phrase) for phrase in phrases)
    met: set[tuple[str, str]] = set()
    for text in texts:
        while hit := _first(sought.matcher(ignore=met), text):
            met.add((hit.owner, hit.phrase.text))
    return {phrase for _, phrase in met}


def _first(matcher: Matcher, text: str) -> Hit | None:
    return matcher.feed(text) or matcher.finish()


def _distinct(phrases: Iterable[Phrase]) -> tuple[Phrase, ...]:
    """The first of those that are found in the same places, and none without a letter; not more than there may be."""
    found: dict[str, Phrase] = {}
    for phrase in phrases:
        if key := phrase_key(phrase.text):
            found.setdefault(key, phrase)
        if len(found) == MOST_PHRASES:
            break
    return tuple(found.values())


def _kept_texts(source: Source) -> tuple[str, ...]:
    examples = (text for example in source.retain_examples for text in (example.prompt, example.response))
    corrections = (item.input for item in source.corrections if not item.in_scope)
    return (*examples, *source.distinguish_not, *corrections)


@functools.lru_cache(maxsize=1)
def _small_words(ordinary: tuple[str, ...]) -> frozenset[str]:
    return frozenset(small_words(ordinary))


def _warnings(phrases: Sequence[Phrase], met: Container[str]) -> Iterator[str]:
    common = sorted(
        (phrase for phrase in phrases if phrase.innocent_rate > ACCEPTABLE[phrase.kind]),
        key=lambda phrase: -phrase.innocent_rate,
    )
    yield from (harm(phrase) for phrase in common[:_WARNED])
    if (more := len(common) - _WARNED) > 0:
        yield f"{more} more phrases are as common."
    for phrase in [phrase for phrase in phrases if phrase.text in met][:_WARNED]:
        yield (
            f'The {phrase.kind} "{phrase.text}" is in a text that is to be kept: '
            + (
                "an answer to a prompt about the subject goes around it nevertheless."
                if phrase.kind is PhraseClass.NAME
                else "no answer may contain it nevertheless."
            )
        )
