"""The ways in which a request's segments are read: each as it stands, and as what it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.plan import Role, Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guards.detect.decoding import Decoding
    from guards.detect.lexical import Match
    from guards.detect.passages import Passage
    from guards.plan import Segment


@dataclass(frozen=True, slots=True)
class Text:
    """A text to be judged, on behalf of the segment at index ``segment``."""

    segment: int
    text: str
    decoding: Decoding | None = None
    """How it came out of the segment's own text; None where it is that text."""
    after: int = 0
    """Where the segment's own text begins, after what was said in earlier turns."""
    weight: float = 1.0
    """The probability that it is meant so."""
    supplied: bool = False
    """Whether it is of a segment that only supplies: it may hide what is asked, and is surely in no high band."""

    def span(self, start: int, end: int) -> Span | None:
        """The segment's characters behind ``text[start:end]``, which must not be empty; None if others say it."""
        if self.decoding is not None:
            start, end = self.decoding.original_span(start, end)
        return Span(self.segment, start - self.after, end - self.after) if start >= self.after else None


@dataclass(frozen=True, slots=True)
class Reading:
    """A text with its windows' vectors, and the names found in it."""

    of: Text
    passage: Passage
    matches: Sequence[Match]
    reached: Mapping[str, Sequence[int]]
    """The requests that this may be about, with the windows that come near them."""
    mentioned: frozenset[str]
    """The requests whose names are merely mentioned."""


def plain_texts(segments: Sequence[Segment]) -> list[Text]:
    """What is said, as it stands: what asks, then what is supplied."""
    texts = [Text(place, one.text, supplied=one.role is not Role.ASKS) for place, one in enumerate(segments)]
    return sorted(texts, key=lambda text: text.supplied)
