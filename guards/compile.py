"""From what somebody asked for to what enforcement needs: the fast path, no training."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from guards.detect.evidence import ScopeEvidence, name_strength
from guards.detect.lexical import alias_keys
from guards.detect.names import assess_aliases, names_in
from guards.detect.thresholds import neyman_pearson_threshold
from guards.detect.windows import sentences
from guards.detect.words import Words
from guards.phrases.derivation import derive
from guards.scope import Alias, Items, Kind, Scope, Source, Statement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from guards.detect.calibration import Calibration
    from guards.scope import Example, Mode, Policy, Threshold

# Texts are cut to about the size of the windows that prompts are read in: 32 tokens of four characters.
_CHUNK_CHARACTERS = 128
# The share of prompts that are taken to be near misses: of the same form, about another.
_NEAR_MISSES = 0.05
# What anybody asks first about a subject, so that a bare subject is more than a name.
_QUESTIONS = {
    Kind.PERSON: ("Who is {}?", "Tell me about {}."),
    Kind.RECORD: ("What is known about {}?",),
    Kind.WORK: ("What is {} about?", "Who created {}?"),
    Kind.TOPIC: ("What is {}?", "Tell me about {}."),
}


@dataclass(frozen=True, slots=True)
class ItemTexts:
    """The texts to embed for a request: inside the scope, and near it but to be kept. Distinct, and disjoint."""

    forget: tuple[str, ...]
    retain: tuple[str, ...]


def item_texts(source: Source, *, common_subject: bool = False) -> ItemTexts:
    """What a request's scope is made of.

    A question is embedded alone and together with its answer: on TOFU's forget10 (paraphrases against
    the retained authors' questions at 1 % false positives) both together missed 0.25 %, the questions
    alone 0.75 %, with the answers 2.0 %, the answers alone 5.0 %. A subject that is a common word
    (``common_subject``) is an item by itself only where there is nothing else: whatever else the word means
    would be near it. Of several words on the same input, the last correction counts.
    """
    forget = [text for example in source.examples for text in _texts(example)]
    if not (common_subject and forget):
        forget = [source.subject, *(form.format(source.subject) for form in _QUESTIONS[source.kind]), *forget]
    forget += [text for told in source.distinguish_is for text in _of_subject(source.subject, told)]
    retain = [text for example in source.retain_examples for text in _texts(example)]
    retain += [text for told in source.distinguish_not for text in _of_subject(source.subject, told)]
    for correction in source.corrections:
        key = Words(correction.input).key
        forget = [text for text in forget if Words(text).key != key]
        retain = [text for text in retain if Words(text).key != key]
        (forget if correction.in_scope else retain).append(correction.input)
    kept = {Words(text).key for text in retain}
    forget = [text for text in forget if Words(text).key not in kept]
    # Corrections may have taken every other item away; what is to be kept still wins, word for word.
    return ItemTexts(_distinct(forget or [source.subject]), _distinct(retain))


def _of_subject(subject: str, told: str) -> tuple[str, ...]:
    """What tells a subject from its namesakes, or them from it, and with the name that they share if it lacks that."""
    return (told,) if Words(subject).key in Words(told).key else (told, f"{subject}, {told}")


def statements_of(source: Source, forget: Sequence[str]) -> tuple[Statement, ...]:
    """The items among ``forget`` that say what is to be forgotten, rather than ask for it or name it."""
    places = {text: place for place, text in enumerate(forget)}
    found: dict[int, Statement] = {}
    for example in source.examples:
        asked, said = example.prompt.strip(), example.response.strip()
        if asked and said:
            texts, question = [f"{asked} {said}"], places.get(asked)
        else:
            texts, question = _chunks(said) if said else [], None
        found |= {places[text]: Statement(places[text], question) for text in texts if text in places}
    return tuple(found.values())


async def compile_scope(
    source: Source,
    *,
    request_id: str,
    version: int,
    mode: Mode,
    policy: Policy,
    encode: Callable[[Sequence[str]], Awaitable[NDArray[np.float32]]],
    calibration: Calibration,
    encoder: str,
    alpha_high: float,
    alpha_low: float,
    confidence: float,
) -> Scope:
    """Compile a request.

    What the thresholds guarantee: of prompts without any of the scope's names, at most ``alpha`` reach the
    band, with ``confidence``, as far as the background is like them; of near misses, at most twenty times
    that share, as far as those of the training scopes are like them; and prompts that reach it with the help
    of a name too common to decide alone are at most ``alpha`` of all prompts, by the estimate of how common
    it is. A rare name decides alone, and is itself met in at most ``alpha_high`` of ordinary prompts.

    Raises:
        CannotDecide: from ``encode``.
        ValueError: ``encoder`` is not the one that the calibration holds for.
    """
    if encoder != calibration.encoder:
        raise ValueError("the calibration holds for another encoder")
    names = (source.subject, *source.aliases)
    aliases = await asyncio.to_thread(lambda: assess_aliases(names, calibration.background.words))
    common_subject = any(alias.text == source.subject.strip() and alias.innocent_rate > alpha_high for alias in aliases)
    texts = item_texts(source, common_subject=common_subject)
    vectors = (await encode([*texts.forget, *texts.retain])).astype(np.float16)
    forget = Items(texts.forget, vectors[: len(texts.forget)])
    retain = Items(texts.retain, vectors[len(texts.forget) :])
    # Two hundred milliseconds of arithmetic: not on the event loop.
    high, low = await asyncio.to_thread(
        _thresholds, source.subject, aliases, forget, retain, calibration, alpha_high, alpha_low, confidence
    )
    derived = await asyncio.to_thread(derive, source, calibration.background.prompts)
    return Scope(
        request_id=request_id,
        version=version,
        subject=source.subject,
        kind=source.kind,
        extent=source.extent,
        mode=mode,
        policy=policy,
        aliases=aliases,
        forget=forget,
        retain=retain,
        statements=statements_of(source, texts.forget),
        high=high,
        low=low,
        encoder=encoder,
        phrases=derived.phrases,
        associated=derived.associated,
        shingles=derived.shingles,
        warnings=(*_warnings(source, aliases, high, low, alpha_high, alpha_low), *derived.warnings),
    )


def _thresholds(
    subject: str,
    aliases: Sequence[Alias],
    forget: Items,
    retain: Items,
    calibration: Calibration,
    alpha_high: float,
    alpha_low: float,
    confidence: float,
) -> tuple[Threshold, Threshold]:
    """The high and the low band's."""
    background = calibration.background
    evidence = ScopeEvidence(aliases, forget, retain, calibration.outliers)
    common = [alias for alias in aliases if alias.innocent_rate > alpha_high]
    # Prompts that name the subject are not background to it, and what a rare name decides is not up to the score.
    telling = [subject, *(alias.text for alias in aliases if alias not in common)]
    keys = {key for name in telling for key in alias_keys(name)}
    kept = np.array([not names_in(words, keys) for words in background.words])

    def probabilities(names: NDArray[np.float32]) -> NDArray[np.float64]:
        features, _, _ = evidence.features(background.vectors, background.texts, names)
        highest: NDArray[np.float64] = background.highest(calibration.fusion.probabilities(features))[kept]
        return highest

    plain = probabilities(background.name_strengths(aliases))
    high, low = (
        _raised(neyman_pearson_threshold(plain, alpha=alpha, confidence=confidence), calibration.near, _NEAR_MISSES)
        for alpha in (alpha_high, alpha_low)
    )
    if not common:
        return high, low
    # The background holds a common name far less often than prompts do. As if each of its prompts held it:
    # so many of those may reach a band that, as rare as they are among all prompts, they stay within its rate.
    strength = max(name_strength(alias.innocent_rate) for alias in common)
    named = probabilities(np.full(len(background.windows), strength, dtype=np.float32))
    rate = sum(alias.innocent_rate for alias in common)
    return _raised(high, named, rate), _raised(low, named, rate)


def _raised(threshold: Threshold, probabilities: NDArray[np.float64], rate: float) -> Threshold:
    """The threshold that also keeps prompts of another kind, which are a share ``rate`` of all, within its alpha."""
    if rate <= threshold.alpha:
        return threshold
    among = neyman_pearson_threshold(probabilities, alpha=threshold.alpha / rate, confidence=threshold.confidence)
    return replace(threshold, probability=max(threshold.probability, among.probability))


def _warnings(
    source: Source, aliases: Sequence[Alias], high: Threshold, low: Threshold, alpha_high: float, alpha_low: float
) -> Iterable[str]:
    if not source.examples:
        yield (
            "There are no examples: only prompts that name the subject, or come close to its name, are recognised. "
            "A few typical questions with their answers make the scope much stronger."
        )
    rare = [alias for alias in aliases if alias.innocent_rate <= alpha_high]
    if not rare:
        yield (
            "None of the names is rare in ordinary prompts, so none decides alone: a prompt that names the subject is "
            "recognised only if it is also close to an example."
        )
    elif len(rare) < len(aliases):
        yield (
            f"{len(aliases) - len(rare)} of {len(aliases)} names are common in ordinary prompts "
            "and do not decide alone."
        )
    for band, threshold, asked in (("high", high, alpha_high), ("low", low, alpha_low)):
        if threshold.alpha > asked:
            yield (
                f"{threshold.background} background prompts cannot guarantee a false-positive rate of {asked:.4g} "
                f"in the {band} band; the strictest threshold they allow guarantees {threshold.alpha:.4g}."
            )


def _texts(example: Example) -> list[str]:
    prompt, response = example.prompt.strip(), example.response.strip()
    if prompt:
        return [prompt, f"{prompt} {response}"] if response else [prompt]
    return _chunks(response)


def _chunks(text: str) -> list[str]:
    """Runs of whole sentences of about a window's size; a longer sentence is cut at words."""
    pieces: list[str] = []
    for sentence in sentences(text):
        piece = text[sentence.start : sentence.end]
        while len(piece) > _CHUNK_CHARACTERS:
            place = piece.rfind(" ", 1, _CHUNK_CHARACTERS)
            place = place if place > 0 else _CHUNK_CHARACTERS
            pieces.append(piece[:place])
            piece = piece[place:].strip()
        if piece:
            pieces.append(piece)
    chunks: list[str] = []
    for piece in pieces:
        if chunks and len(chunks[-1]) + len(piece) < _CHUNK_CHARACTERS:
            chunks[-1] += f" {piece}"
        else:
            chunks.append(piece)
    return chunks


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stripped for text in texts if (stripped := text.strip())))
