"""Synthetic forget requests with prompts inside and just outside them: what fusion learns from.

People, works, records and topics, real and invented, described by facts; each fact has several
questions that name its owner and some that do not. A request gets some questions as examples; the
others, asked about the same owner, are inside. The same questions about another owner are outside:
same form, other entity, which is what a sentence encoder confuses. Written for this project; no
benchmark's items are in it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.scope import Example, Kind, Source
from offline.detector.background import SEED, read_data

if TYPE_CHECKING:
    from collections.abc import Mapping

_SLOT = re.compile(r"{(\w+)}")
_PEOPLE = 28
_WORKS = 12
_RECORDS = 14
# Examples that a request comes with, drawn evenly: from a bare subject to a well-described one.
_EXAMPLE_COUNTS = (0, 1, 3, 5, 10, 20)
# Prompts asked of each scope: those that name it (most are easy), and those near it.
_NAMED = 8
_NEAR = 20
_ALIKE = 8
_NOBODY = 5
_BEFORE = ("Please answer briefly. ", "I was wondering: ", "Quick question for a quiz tonight. ", "You know a lot. ")
_AFTER = (" Thanks!", " One sentence is enough.", " I need it for school.", " Explain your answer.")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known about an owner: questions that name the owner, questions that do not, and the answer."""

    relation: str
    named: tuple[str, ...]
    unnamed: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom or what facts are about."""

    name: str
    kind: Kind
    aliases: tuple[str, ...]
    facts: tuple[Fact, ...]
    values: Mapping[str, str]
    """What the questions are filled from; empty for a topic."""


@dataclass(frozen=True, slots=True)
class TrainingScope:
    """A forget request, prompts that belong to it, and prompts that nearly do."""

    source: Source
    inside: tuple[str, ...]
    near: tuple[str, ...]


def training_scopes(seed: int = SEED) -> list[TrainingScope]:
    """One scope for each owner."""
    owners = training_owners(seed)
    return [_scope(owner, owners, random.Random(f"{seed}:{owner.name}")) for owner in owners]  # noqa: S311 - no secret


def training_owners(seed: int = SEED) -> list[Owner]:
    """Whom the training scopes are about."""
    return make_owners(random.Random(seed), people=_PEOPLE, records=_RECORDS, works=_WORKS)  # noqa: S311 - no secret


def _scope(owner: Owner, owners: list[Owner], draw: random.Random) -> TrainingScope:
    asked = [(fact, question) for fact in owner.facts for question in fact.named + fact.unnamed]
    count = min(draw.choice(_EXAMPLE_COUNTS), len(asked) // 2)
    if owner.kind is Kind.TOPIC:
        # Nothing that is asked about these topics names them, so a bare subject would have nothing inside.
        count = max(count, len(asked) // 3)
    chosen = draw.sample(asked, count)
    used = {question for _, question in chosen}
    known = {fact.relation for fact, _ in chosen}
    open_questions = [(fact, question) for fact, question in asked if question not in used]
    named = [question for fact, question in open_questions if question in fact.named]
    unnamed = [question for fact, question in open_questions if question in fact.unnamed and fact.relation in known]
    inside = draw.sample(named, min(_NAMED, len(named))) + unnamed + _by_surname(owner, named, draw)
    others = [other for other in owners if other.kind is owner.kind and other.name != owner.name]
    near = [
        question
        for other in others
        for fact in other.facts
        for question in fact.named + fact.unnamed
        if fact.relation in known or not known or owner.kind is Kind.TOPIC
    ]
    kept = draw.choice(others).facts if draw.random() < 0.4 else ()
    retain = [(fact.named + fact.unnamed)[0] for fact in kept][:4]
    near = draw.sample(near, min(_NEAR, len(near))) + _namesakes(owner, draw)
    near += [question for fact in kept for question in (fact.named + fact.unnamed)[1:]]
    near += _alike(owner, others, draw) + draw.sample(read_data("relations")["nobody"], _NOBODY)
    return TrainingScope(
        Source(
            subject=owner.name,
            kind=owner.kind,
            aliases=owner.aliases,
            examples=tuple(Example(question, fact.answer) for fact, question in chosen),
            retain_examples=tuple(Example(question, "") for question in retain),
        ),
        tuple(dress(question, draw) for question in inside),
        tuple(dress(question, draw) for question in near if question not in retain),
    )


def _alike(owner: Owner, others: list[Owner], draw: random.Random) -> list[str]:
    """Questions that describe another who has something in common with the owner: the same city, another date."""
    if not owner.values:
        return []
    forms = [form for facts in read_data("relations")[owner.kind].values() for form in facts["unnamed"]]
    told = [(form, keys) for form in forms if len(keys := sorted(set(_SLOT.findall(form)))) > 1]
    found = []
    for _ in range(_ALIKE if told else 0):
        form, keys = draw.choice(told)
        other = draw.choice([other for other in others if other.values])
        shared = draw.sample(keys, draw.randint(1, len(keys) - 1))
        if any(other.values[key] != owner.values[key] for key in keys if key not in shared):
            found.append(form.format(**{**other.values, **{key: owner.values[key] for key in shared}}))
    return found


def _by_surname(owner: Owner, questions: list[str], draw: random.Random) -> list[str]:
    """Questions that name a person by the surname only."""
    if owner.kind not in {Kind.PERSON, Kind.RECORD}:
        return []
    surname = owner.name.partition(" ")[2]
    return [question.replace(owner.name, surname) for question in draw.sample(questions, 2)]


def dress(question: str, draw: random.Random) -> str:
    """A question as people type it: with something before or after it, or all in small letters."""
    before = draw.choice(_BEFORE) if draw.random() < 0.4 else ""
    after = draw.choice(_AFTER) if draw.random() < 0.4 else ""
    dressed = before + question + after
    return dressed.lower() if draw.random() < 0.15 else dressed


def _namesakes(owner: Owner, draw: random.Random) -> list[str]:
    """Questions about somebody who shares one of the owner's names."""
    if owner.kind not in {Kind.PERSON, Kind.RECORD}:
        return []
    pools = read_data("entities_training")
    given, _, family = owner.name.partition(" ")
    strangers = (f"{given} {draw.choice(pools['family'])}", f"{draw.choice(pools['given'])} {family}")
    questions = [question for fact in owner.facts for question in fact.named]
    return [
        draw.choice(questions).replace(owner.name, stranger)
        for stranger in strangers
        if stranger != owner.name
        for _ in range(2)
    ]


def make_owners(draw: random.Random, *, people: int, records: int, works: int) -> list[Owner]:
    """So many invented people, records and works, besides the real ones and the topics."""
    pools, relations = read_data("entities_training"), read_data("relations")
    names = [f"{given} {family}" for given in pools["given"] for family in pools["family"]]
    names = draw.sample(names, people + records)
    of_people = [*pools["real_people"], *(_person(name, pools, draw) for name in names[:people])]
    of_works = [*pools["real_works"], *(_work(number, pools, draw) for number in range(works))]
    of_records = [_record(name, pools, draw) for name in names[people:]]
    owners = [_owner(values["name"], Kind.PERSON, relations["person"], values) for values in of_people]
    owners += [_owner(values["title"], Kind.WORK, relations["work"], values) for values in of_works]
    owners += [_owner(values["name"], Kind.RECORD, relations["record"], values) for values in of_records]
    owners += [_topic(values) for values in pools["topics"]]
    return owners


def _owner(name: str, kind: Kind, relations: dict[str, Any], values: dict[str, str]) -> Owner:
    facts = tuple(
        Fact(
            relation,
            tuple(form.format(**values) for form in forms["named"]),
            tuple(form.format(**values) for form in forms["unnamed"]),
            forms["answer"].format(**values),
        )
        for relation, forms in relations.items()
    )
    return Owner(name, kind, (), facts, values)


def _topic(values: dict[str, Any]) -> Owner:
    facts = tuple(
        Fact(str(number), (), tuple(fact["forms"]), fact["answer"]) for number, fact in enumerate(values["facts"])
    )
    return Owner(values["subject"], Kind.TOPIC, tuple(values["aliases"]), facts, {})


def _person(name: str, pools: dict[str, Any], draw: random.Random) -> dict[str, str]:
    return {
        "name": name,
        "date": _date(draw),
        "father": draw.choice(pools["parent"]),
        "mother": draw.choice(pools["parent"]),
        "work": f"{draw.choice(pools['title_first'])} {draw.choice(pools['title_second'])}",
        **{key: draw.choice(pools[key]) for key in ("profession", "city", "award", "university", "theme")},
    }


def _work(number: int, pools: dict[str, Any], draw: random.Random) -> dict[str, str]:
    return {
        "title": f"{pools['title_first'][number]} {draw.choice(pools['title_second'])}",
        "author": f"{draw.choice(pools['given'])} {draw.choice(pools['family'])}",
        "year": str(draw.randint(1880, 2020)),
        **{key: pools[key][number % len(pools[key])] for key in ("clue", "hero", "rival", "place")},
    }


def _record(name: str, pools: dict[str, Any], draw: random.Random) -> dict[str, str]:
    return {
        "name": name,
        "phone": f"0{draw.randint(20, 99)} {draw.randint(1_000_000, 9_999_999)}",
        "address": f"{draw.randint(1, 180)} {draw.choice(pools['street'])}",
        "account": f"{draw.randint(1000, 9999)}-{draw.randint(100_000, 999_999)}",
        **{key: draw.choice(pools[key]) for key in ("employer", "illness")},
    }


def _date(draw: random.Random) -> str:
    months = ("January", "March", "April", "May", "June", "August", "September", "October", "November")
    return f"{draw.randint(1, 28)} {draw.choice(months)} {draw.randint(1890, 1995)}"
