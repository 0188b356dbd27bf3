"""Phrases derived from TOFU's authors, and how many of them the retained authors' answers hold."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from guards.phrases.derivation import derive
from guards.phrases.passages import Passages
from guards.phrases.phrase import PhraseClass
from guards.phrases.shingles import words_of
from guards.scope import Example, Kind, Source
from offline.detector.background import background_prompts

TOFU = os.environ.get("UNREMEMBER_TOFU_DIR")
QUESTIONS = 20

pytestmark = pytest.mark.skipif(TOFU is None, reason="UNREMEMBER_TOFU_DIR does not name a directory with TOFU")


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (Path(str(TOFU)) / f"{name}.jsonl").read_text("utf-8").splitlines()]


def authors(name: str) -> list[Source]:
    """One request for each author: the name that most of its answers give."""
    found = rows(name)
    sources = []
    for start in range(0, len(found), QUESTIONS):
        examples = tuple(Example(row["question"], row["answer"]) for row in found[start : start + QUESTIONS])
        names = Counter(
            match
            for example in examples
            for match in set(re.findall(r"[A-Z][\w-]+(?: [A-Z][\w-]+)+", f"{example.prompt} {example.response}"))
        )
        sources.append(Source(names.most_common(1)[0][0], Kind.PERSON, examples=examples))
    return sources


def test_facts_are_not_in_what_is_kept() -> None:
    kept = Passages(row["answer"] for row in rows("retain90"))
    derived = [derive(source, background_prompts()) for source in authors("forget10")]
    phrases = [phrase for one in derived for phrase in one.phrases]
    facts = [phrase for phrase in phrases if phrase.kind is PhraseClass.FACT]
    assert len(facts) >= 100
    assert not [phrase.text for phrase in facts if kept.count(words_of(phrase.text))]


def test_every_author_has_names_that_tell() -> None:
    for source in authors("forget10"):
        names = [phrase for phrase in derive(source, background_prompts()).phrases if phrase.kind is PhraseClass.NAME]
        assert names[0].text == source.subject
        assert len(names) >= 3
        assert len(names) <= 60
