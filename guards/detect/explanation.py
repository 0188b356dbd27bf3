"""A verdict in words that an operator understands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guards.plan import Band

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guards.detect.evidence import ScopeEvidence, WindowText
    from guards.detect.readings import Reading
    from guards.detect.scoring import ScopeScorer, Verdict
    from guards.detect.values import Values

# `rarity` of a name from which on it is worth telling.
_FOREIGN_TOLD = 0.2
# Names and dates that are told of a kind.
_TOLD = 5
PASSED_OVER: Final = "Let through by the static stage: too far from every example for the encoder to be asked."


def how_it_was_read(reading: Reading, verdict: Verdict, request_id: str) -> str:
    """How the text that decided came out of the prompt; empty where it stands there, spelt right."""
    if verdict.refers_back:
        return "It refers back to an earlier turn of the conversation, which is about the subject."
    said = []
    if reading.of.supplied:
        said.append("In text that is only supplied: names are watched for, and nothing else is done.")
    if reading.of.after:
        said.append("Read together with the turns before it, to which it refers back.")
    if decoding := reading.of.decoding:
        said.append(f"Decoded from {', then '.join(decoding.forms)}.")
    own = [match for match in reading.matches if match.request_id == request_id]
    right = {match.alias for match in own if match.misspelt is None}
    wrong = {match.alias: match for match in own if match.alias not in right}
    for alias, match in wrong.items():
        said.append(f'"{reading.of.text[match.start : match.end]}" is taken for the name "{alias}", misspelt.')
    return " ".join(said)


def what_would_change(scorer: ScopeScorer, verdict: Verdict, band: Band, reading: Reading) -> str:
    """What decided, and what would move the prompt across the nearest threshold."""
    scope = scorer.scope
    if reading.of.supplied and band is Band.LOW:
        return (
            "What is only supplied is in the low band and no higher, whatever it says; asked, it would have "
            f"probability {verdict.probability:.3g}, and the high band begins at {scope.high.probability:.3g}. "
            "A retain example close to it would keep it out."
        )
    if verdict.by_example:
        if verdict.probability > 0.5:
            return (
                "The prompt is, word for word, an example of what to forget. Only removing that example changes this."
            )
        return "The prompt is, word for word, an example of what to keep. Only removing that example changes this."
    if verdict.by_name_alone and band is Band.LOW:
        return (
            f'It names "{verdict.alias}" and asks nothing about it, so it is in the low band and no higher. '
            "A correction (expected: forgotten) would bring it in."
        )
    if verdict.by_name:
        return (
            f'It names "{verdict.alias}", which is rare enough in ordinary prompts to decide alone. A correction '
            "(expected: untouched), or a retain example nearer to the prompt than every forget example, keeps it out."
        )
    high, low = scope.high.probability, scope.low.probability
    reasons = [f"Probability {verdict.probability:.3g}; the high band begins at {high:.3g}, the low band at {low:.3g}."]
    if verdict.window < 0:
        reasons.append("Nothing in the prompt is near any example of what to forget.")
    elif verdict.retain_similarity > verdict.forget_similarity:
        reasons.append("The nearest retain example is nearer than the nearest forget example, which counts against it.")
    if verdict.alias:
        reasons.append(f'It names "{verdict.alias}", which is too common in ordinary prompts to decide alone.')
    elif band is not Band.HIGH:
        reasons.append("It holds none of the scope's names; one of them would count strongly.")
    if verdict.text is not None:
        reasons += _what_its_words_say(scorer.evidence, verdict.text)
    if band is Band.HIGH:
        reasons.append(
            "A retain example close to the prompt, or a correction (expected: untouched), would keep it out."
        )
    else:
        reasons.append(
            "A forget example close to the prompt, or a correction (expected: forgotten), would bring it in."
        )
    return " ".join(reasons)


def _what_its_words_say(evidence: ScopeEvidence, text: WindowText) -> Iterable[str]:
    """The names and dates of a window, as far as they speak for or against a scope."""
    if known := evidence.known_names(text):
        yield f"Names from the examples stand in it: {_listed(sorted(known))}."
    agrees, disagrees = evidence.agreement(text.values)
    said = _days(text.values)
    if agrees:
        yield f"A date in it ({said}) is one that the examples give, which counts strongly."
    elif disagrees:
        theirs = _days(evidence.values)
        yield f"Its dates ({said}) are others than those that the examples give ({theirs}), which counts against it."
    foreign = [word for word, weight in evidence.foreign_names(text).items() if weight >= _FOREIGN_TOLD]
    if foreign:
        yield f"It holds names that the examples do not have ({_listed(foreign)}), which count against it."


def _days(values: Values) -> str:
    """Dates, each with what else it may mean, or else years."""
    dates = [" or ".join(day.isoformat() for day in sorted(readings)) for readings in values.dates]
    return _listed(dates or map(str, sorted(values.years)))


def _listed(told: Iterable[str]) -> str:
    every = list(told)
    return ", ".join(every[:_TOLD]) + ", …" * (len(every) > _TOLD)
