"""Whether a prompt that names somebody asks about the name's bearer, or merely mentions it."""

from __future__ import annotations

import bisect
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from guards.detect.windows import Window, sentences

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from guards.detect.lexical import Match

PLACEHOLDER: Final = "Alex Morgan"
"""Stands for a name, so that what is said does not hang on whose it is."""
_BEGS = re.compile(
    r"\W*(?:can|could|would|will|may|might|please|würden|könnten|könnte|peux|pourr|puedes|podr)\w*\b", re.I
)
_QUESTION = re.compile(r"[?？][\"'”’»)\]\s]*$")
_QUOTED = re.compile(r"\"[^\"]*\"|“[^“”]*”|„[^„“”]*[“”]|«[^«»]*»|`[^`]*`|(?<!\w)'[^']*'(?!\w)")
# A text that breaks off, or leaves a gap, is one to be completed.
_UNFINISHED = re.compile(r"[:=,(\[{]\s{0,3}[\"'“]?$|_{3,}|(?:\.{3}|…)$")
_WORDS = re.compile(r"\w+|[^\w\s]")
_WORDING = 3
# Of a longer text the first sentence, the last, and one that names: what is to be done, and to what.
_SHORT = 4
# Bytes of a text in short that an encoder surely reads to its end; what asks might stand behind.
_LONGEST = 700
# Requests named in one text up to which it is looked at whether the text asks about them.
_MOST_REQUESTS = 16
# Sentences that name, in a text that is merely to be worked on. With more it is about the name.
_MOST_NAMED = 16


@dataclass(frozen=True)
class MentionModel:
    """A logistic regression over embeddings of `gists` and their `wordings`: weights [d], and one for each wording."""

    weights: NDArray[np.float32]
    wordings: Mapping[str, float]
    intercept: float
    outright: float
    """The intercept for a text that `asks_outright`."""

    def mere(self, told: Sequence[str], vectors: NDArray[np.float32], *, outright: bool) -> bool:
        """Whether the gists of a text, embedded as ``vectors`` [n, d], all merely mention the name."""
        intercept = self.outright if outright else self.intercept
        scores = vectors @ self.weights
        return bool(told) and all(
            score + self._of_wordings(gist) + intercept > 0.0 for gist, score in zip(told, scores, strict=True)
        )

    def _of_wordings(self, gist: str) -> float:
        weights = [weight for wording in wordings(gist) if (weight := self.wordings.get(wording)) is not None]
        return sum(weights) / math.sqrt(len(weights)) if weights else 0.0


def wordings(gist: str) -> set[str]:
    """Runs of up to three words or signs, in small letters."""
    words = _WORDS.findall(gist.lower())
    return {
        " ".join(words[first : first + length])
        for length in range(1, _WORDING + 1)
        for first in range(len(words) - length + 1)
    }


class MentionReader:
    """Tells what texts merely mention. ``encode`` embeds texts: float32 [n, d], unit rows."""

    def __init__(self, encode: Callable[[Sequence[str]], Awaitable[NDArray[np.float32]]], model: MentionModel) -> None:
        self._encode = encode
        self._model = model

    async def read(self, texts: Sequence[str], matches: Sequence[Sequence[Match]]) -> list[frozenset[str]]:
        """For each text, with the names found in it, the requests whose names it merely mentions.

        Raises:
            CannotDecide: from ``encode``.
        """
        told = [_told(text, of_text) for text, of_text in zip(texts, matches, strict=True)]
        wanted = list(dict.fromkeys(gist for of_text in told for some, _ in of_text.values() for gist in some))
        vectors = dict(zip(wanted, await self._encode(wanted), strict=True)) if wanted else {}
        return [
            frozenset(
                request_id
                for request_id, (some, outright) in of_text.items()
                if some and self._model.mere(some, np.stack([vectors[gist] for gist in some]), outright=outright)
            )
            for of_text in told
        ]


def _told(text: str, matches: Sequence[Match]) -> dict[str, tuple[list[str], bool]]:
    """By request what a text does with its names: `gists`, and whether it `asks_outright`."""
    named: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for match in matches:
        named[match.request_id].append((match.start, match.end))
    if len(named) > _MOST_REQUESTS:
        return {}
    return {request_id: (gists(text, names), asks_outright(text, names)) for request_id, names in named.items()}


def asks_outright(text: str, names: Sequence[tuple[int, int]]) -> bool:
    """Whether a name stands, in its own right, in a question that does not beg for something to be done."""
    for sentence, within in _naming(text, names):
        said = text[sentence.start : sentence.end]
        if not _is_question(said):
            continue
        quoted = [(sentence.start + found.start(), sentence.start + found.end()) for found in _QUOTED.finditer(said)]
        for start, end in within:
            if sentence.start <= start and not any(first < start and end < last for first, last in quoted):
                return True
    return False


def gists(text: str, names: Sequence[tuple[int, int]]) -> list[str]:
    """What a text does with the names that stand at ``names``, in short; none if it says too much with them.

    A question in quotation marks may be what is asked, whatever stands around it, and so may what is missing from a
    text that breaks off: then none too.

    Each question that names stands by itself besides: in another text it might go under.
    """
    found = sentences(text)
    named = [sentence for sentence, _ in _naming(text, names, found)]
    if not named or len(named) > _MOST_NAMED or _UNFINISHED.search(text.rstrip()):
        return []
    starts = sorted(names)
    for quoted in _QUOTED.finditer(text):
        place = bisect.bisect_left(starts, (quoted.start(), 0))
        if place < len(starts) and starts[place][1] <= quoted.end() and _is_question(quoted.group()):
            return []
    if len(found) <= _SHORT:
        told = [[Window(0, len(text))]]
    else:
        told = [sorted({found[0], one, found[-1]}, key=lambda window: window.start) for one in named]
    if len(found) > 1:
        told += [[one] for one in named if "?" in text[one.start : one.end]]
    if any(sum(window.end - window.start for window in windows) > _LONGEST for windows in told):
        return []
    short = dict.fromkeys(" ".join(_masked(text, window, names) for window in windows) for windows in told)
    return list(short) if all(len(gist.encode("utf-8", "surrogatepass")) <= _LONGEST for gist in short) else []


def _naming(
    text: str, names: Sequence[tuple[int, int]], found: Sequence[Window] | None = None
) -> list[tuple[Window, list[tuple[int, int]]]]:
    """The sentences that names stand in, each with its names; ``found`` are the text's, where they are known."""
    found = sentences(text) if found is None else found
    starts = [sentence.start for sentence in found]
    within: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for start, end in names:
        # Initials may be taken for the ends of sentences, and a name then stands in several.
        for place in range(max(0, bisect.bisect_right(starts, start) - 1), bisect.bisect_left(starts, end)):
            if start < found[place].end:
                within[place].append((start, end))
    return [(found[place], within[place]) for place in sorted(within)]


def _is_question(said: str) -> bool:
    return bool(_QUESTION.search(said)) and not _BEGS.match(said)


def _masked(text: str, window: Window, names: Sequence[tuple[int, int]]) -> str:
    """A part of a text with the names in it replaced."""
    parts, done = [], window.start
    for start, end in sorted(names):
        if start >= done and end <= window.end:
            parts += [text[done:start], PLACEHOLDER]
            done = end
    return "".join([*parts, text[done : window.end]])
