"""Reading a request: every way in which its segments can be read, with what each comes near."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import math
import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from guards.detect.conversation import together
from guards.detect.decoding import decodings
from guards.detect.lexical import by_request
from guards.detect.mentions import MentionReader
from guards.detect.readings import Reading, Text, plain_texts
from guards.detect.recollection import Recollection
from guards.detect.words import Words
from guards.plan import Role

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from guards.detect.applied import AppliedScopes
    from guards.detect.batching import EncoderQueue
    from guards.detect.conversation import Turn
    from guards.detect.decoding import Decoding
    from guards.detect.lexical import Match
    from guards.detect.mentions import MentionModel
    from guards.detect.passages import Passage
    from guards.detect.prefilter import Prefilter
    from guards.plan import Segment, Span

# Nearest scopes looked up for each window: what bounds the number of scopes scored.
_NEAREST_SCOPES = 16
# Room for passages of which it is remembered what they come near, until a scope changes: by `room_of`.
_RECALLED = 60_000
# Bytes that what texts say decoded may take, which is remembered until a scope changes: by text, and by character.
_RECALLED_BYTES = 50_000_000
_BYTES_A_TEXT = 300
_BYTES_A_CHARACTER = 80
# Comparisons of vectors that take about a millisecond: a longer search is not made on the event loop.
_QUICK_SEARCH = 10_000
# Searches, when scopes change meanwhile; during the last of them nothing else can happen.
_TRIES = 3
# Characters from which on looking for encodings takes milliseconds, and another thread.
_LONG = 4_000

_Reached = dict[str, list[int]]


class Reader:
    """Reads requests for the scopes applied. Lives on the event loop's thread.

    What looks encoded is read decoded besides, and whatever is found there is told as the segment's own characters.
    """

    def __init__(
        self, queue: EncoderQueue, scopes: AppliedScopes, mentions: MentionModel, prefilter: Prefilter | None
    ) -> None:
        self._queue = queue
        self._scopes = scopes
        self._prefilter = prefilter
        self._mentions = MentionReader(queue.encode, mentions)
        self._decoded: Recollection[list[Decoding]] = Recollection(_RECALLED_BYTES)
        self._reached: Recollection[tuple[Passage, _Reached]] = Recollection(_RECALLED)
        """By the passage's identity; with it, so that no other can take that."""
        self._matches: Recollection[tuple[Passage, list[Match]]] = Recollection(_RECALLED)
        self._recalled_at = scopes.changes
        """The scopes' changes up to which what is recalled holds."""

    async def read(
        self, segments: Sequence[Segment], turns: Sequence[Turn], timings: dict[str, float], *, thorough: bool = False
    ) -> list[Reading]:
        """Every reading of a request. Seconds spent go to ``timings``, by stage. If ``thorough``, nothing is left out.

        Raises:
            CannotDecide: the encoder failed or is overloaded (`Overloaded`).
        """
        started = time.perf_counter()
        self._recall()
        texts = plain_texts(segments)
        for text, found in zip(tuple(texts), await self._decode([text.text for text in texts]), strict=True):
            texts += [replace(text, text=one.text, decoding=one) for one in found]
        texts += together(turns)
        decoded, before = time.perf_counter(), timings.get("static", 0.0)
        if self._prefilter is None or thorough:
            passages = await self._queue.read([text.text for text in texts])
        else:
            passages = await self._prefilter.read(
                [text.text for text in texts], [text.supplied for text in texts], timings
            )
        matches = [self._named(passage) for passage in passages]
        mentioned = await self._mentions.read([text.text for text in texts], _in_plain_sight(texts, matches))
        encoded = time.perf_counter()
        reached = await self._search(passages)
        searched = time.perf_counter()
        matches = [self._named(passage) for passage in passages]  # of the scopes of now, as the scorers are
        readings = [
            Reading(text, passage, found, near, names)
            for text, passage, found, near, names in zip(texts, passages, matches, reached, mentioned, strict=True)
        ]
        timings["encode"] = encoded - decoded - (timings.get("static", 0.0) - before)
        timings["search"] = searched - encoded
        timings["lexical"] = time.perf_counter() - searched + decoded - started
        return readings

    def names(self, request_ids: Collection[str], segments: Sequence[Segment]) -> set[Span]:
        """Where names of these requests' subjects stand, in supplied segments too."""
        texts = [Text(place, segment.text) for place, segment in enumerate(segments) if segment.role is not Role.ASIDE]
        decoded = [Text(of.segment, one.text, one) for of in texts for one in self._known_decodings(of.text)]
        return {
            span
            for text in texts + decoded
            for match in self._scopes.names.find(Words(text.text))
            if match.request_id in request_ids and (span := text.span(match.start, match.end))
        }

    async def _search(self, passages: Sequence[Passage]) -> list[_Reached]:
        """By passage, the requests of now that it may be about, with the windows that come near them.

        Who changes a scope during a search may move its vectors to where that does not look: then all is searched anew.
        """
        for left in reversed(range(_TRIES)):
            self._recall()
            changes = self._scopes.changes
            reached = {id(passage): self._reached.get(id(passage)) for passage in passages}
            unseen = [passage for passage in passages if reached[id(passage)] is None]
            nearest = await self._nearest(unseen, at_once=not left)
            if changes == self._scopes.changes:
                break
        for passage, near in zip(unseen, nearest, strict=True):
            entry = passage, self._reach(passage, near, by_request(self._named(passage)))
            reached[id(passage)] = entry
            self._reached.put(id(passage), entry, passage.room)
        return [found[1] if (found := reached[id(passage)]) else {} for passage in passages]

    async def _nearest(self, passages: Sequence[Passage], *, at_once: bool) -> list[list[dict[str, float]]]:
        """By passage and window, the nearest requests with the cosine of each one's nearest item.

        A long search leaves the event loop to others, unless it has to be made ``at_once``.
        """
        vectors = [passage.vectors for passage in passages if len(passage.windows)]
        index = self._scopes.vectors
        found: list[dict[str, float]] = []
        if vectors:
            rows = np.concatenate(vectors)
            if at_once or len(rows) * index.effort <= _QUICK_SEARCH:
                found = index.search(rows, _NEAREST_SCOPES)
            else:
                found = await asyncio.to_thread(index.search, rows, _NEAREST_SCOPES)
        rest = iter(found)
        return [list(itertools.islice(rest, len(passage.windows))) for passage in passages]

    def _reach(
        self, passage: Passage, near: Sequence[Mapping[str, float]], named: Mapping[str, Sequence[Match]]
    ) -> _Reached:
        reached: _Reached = {}
        sieve = self._scopes.sieve
        for row, found in enumerate(near):
            vector, text = passage.vectors[row], passage.texts[row]
            glance = None
            for request_id, similarity in found.items():
                matches = named.get(request_id, ())
                if not matches:
                    glance = glance or sieve.glance(vector, text)
                    if not sieve.may_reach(request_id, glance, similarity):
                        continue
                scorer = self._scopes.scorer(request_id)
                if scorer.may_reach(similarity, vector, text, scorer.name_strength(matches)):
                    reached.setdefault(request_id, []).append(row)
        return reached

    def _recall(self) -> None:
        """Forget what no longer holds."""
        if self._recalled_at != self._scopes.changes:
            self._recalled_at = self._scopes.changes
            self._reached.clear()
            self._matches.clear()
            self._decoded.clear()

    def _named(self, passage: Passage) -> list[Match]:
        """The names in a passage, of the scopes of now."""
        self._recall()
        known = self._matches.get(id(passage))
        if known is None:
            known = passage, self._scopes.names.find(passage.words)
            self._matches.put(id(passage), known, passage.room)
        return known[1]

    async def _decode(self, texts: Sequence[str]) -> list[list[Decoding]]:
        """What each text says decoded."""
        known = {text: self._decoded.get(text) for text in texts}
        unseen = [text for text, found in known.items() if found is None]
        if unseen:
            changes = self._scopes.changes
            if sum(map(len, unseen)) > _LONG:
                decoded = await asyncio.to_thread(lambda: list(map(self._decodings, unseen)))
            else:
                decoded = list(map(self._decodings, unseen))
            known |= zip(unseen, decoded, strict=True)
            if changes == self._scopes.changes == self._recalled_at:
                for text, found in zip(unseen, decoded, strict=True):
                    characters = sum(len(decoding.text) for decoding in found)
                    self._decoded.put(text, found, _BYTES_A_TEXT + 4 * len(text) + _BYTES_A_CHARACTER * characters)
        return [known[text] or [] for text in texts]

    def _known_decodings(self, text: str) -> list[Decoding]:
        found = self._decoded.get(text)
        return self._decodings(text) if found is None else found

    def _decodings(self, text: str) -> list[Decoding]:
        return decodings(text, self._scopes.names.knows)


def _in_plain_sight(texts: Sequence[Text], matches: Sequence[Sequence[Match]]) -> list[Sequence[Match]]:
    """Each text's names where it may merely mention them: who hides a name does not.

    And where it makes a difference, which it does not of what is supplied.
    """
    seen: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for text, found in zip(texts, matches, strict=True):
        for match in found if text.decoding is None and not text.supplied else ():
            if span := text.span(match.start, match.end):
                seen[span.segment].append((span.start, span.end))
    for spans in seen.values():
        spans.sort()

    def hidden(span: Span) -> bool:
        """Whether no name stands in the half of a span's characters."""
        spans = seen[span.segment]
        # Such a name would hold the middle one.
        place = bisect.bisect_right(spans, ((span.start + span.end) // 2, math.inf)) - 1
        overlap = min(span.end, spans[place][1]) - max(span.start, spans[place][0]) if place >= 0 else 0
        return 2 * overlap < span.end - span.start

    def merely(text: Text, found: Sequence[Match]) -> bool:
        spans = {text.span(match.start, match.end) for match in found}
        return not text.supplied and (text.decoding is None or not any(span and hidden(span) for span in spans))

    return [found if merely(text, found) else [] for text, found in zip(texts, matches, strict=True)]
