"""Pairs that teach a sentence encoder that wording is not what matters: who is asked about is.

Paraphrases of a question are alike; the same wording about another is not (hard negatives, as in
CURaTE, ACL Findings 2026). Filled from the forms and entities that detection's training scopes are made
of, with other owners than theirs, so that what calibration measures is not what the encoder was tuned on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.scope import Kind
from offline.detector.background import SEED
from offline.detector.training import dress, make_owners, training_owners

if TYPE_CHECKING:
    from offline.detector.training import Fact, Owner

_PEOPLE = 400
_RECORDS = 120
_WORKS = 15
_ANSWERED = 0.25


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, and whether they ask for the same."""

    one: str
    other: str
    same: bool


def training_pairs(count: int, seed: int = SEED) -> list[Pair]:
    """``count`` distinct pairs at most, half of them paraphrases. The same seed gives the same pairs."""
    draw = random.Random(f"{seed}:pairs")  # noqa: S311 - no secret
    taken = {owner.name for owner in training_owners()}
    owners = [
        owner
        for owner in make_owners(draw, people=_PEOPLE, records=_RECORDS, works=_WORKS)
        if owner.name not in taken and owner.kind is not Kind.TOPIC
    ]
    by_kind = {kind: [owner for owner in owners if owner.kind is kind] for kind in Kind}
    pairs: dict[tuple[str, str], Pair] = {}
    # Some draws repeat; a bounded number of them keeps a small vocabulary from going on for ever.
    for _ in range(4 * count):
        if len(pairs) == count:
            break
        owner = draw.choice(by_kind[draw.choice([kind for kind in by_kind if len(by_kind[kind]) > 1])])
        pair = _alike(owner, draw) if len(pairs) % 2 == 0 else _unlike(owner, by_kind[owner.kind], draw)
        if pair is not None and pair.one != pair.other:
            pairs.setdefault((pair.one, pair.other), pair)
    return list(pairs.values())


def _alike(owner: Owner, draw: random.Random) -> Pair:
    """Two forms of a question, or a question and what it asks for."""
    fact = draw.choice([fact for fact in owner.facts if max(len(fact.named), len(fact.unnamed)) > 1])
    forms = draw.choice([forms for forms in (fact.named, fact.unnamed) if len(forms) > 1])
    one, other = draw.sample(forms, 2)
    if draw.random() < _ANSWERED:
        other = f"{one} {fact.answer}"
    return Pair(dress(one, draw), dress(other, draw), same=True)


def _unlike(owner: Owner, others: list[Owner], draw: random.Random) -> Pair | None:
    """A question about an owner, and one of the same form or another about somebody else."""
    stranger = draw.choice(others)
    fact: Fact = draw.choice(owner.facts)
    same = next(theirs for theirs in stranger.facts if theirs.relation == fact.relation)
    questions, foreign = [*fact.named, *fact.unnamed], [*same.named, *same.unnamed]
    place = draw.randrange(len(questions))
    if stranger.name == owner.name or questions[place] == foreign[place]:
        return None
    return Pair(dress(questions[place], draw), dress(foreign[place], draw), same=False)
