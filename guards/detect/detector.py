"""Every scope against every prompt: what brings scopes up, and what they make of it."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections import OrderedDict, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from guards.detect.conversation import carried, shares, together, turns_of
from guards.detect.decoding import decodings
from guards.detect.explanation import how_it_was_read, what_would_change
from guards.detect.index import VectorIndex
from guards.detect.lexical import Lexicon, Match
from guards.detect.mentions import MentionReader
from guards.detect.readings import Reading, Text, plain_texts
from guards.detect.recollection import Recollection
from guards.detect.scoring import ScopeScorer, Verdict
from guards.detect.words import Words
from guards.plan import Band, Detection, Evidence, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from guards.detect.batching import EncoderQueue
    from guards.detect.calibration import Calibration
    from guards.detect.conversation import Turn
    from guards.detect.decoding import Decoding
    from guards.detect.passages import Passage
    from guards.plan import Segment
    from guards.scope import Scope

# Nearest scopes looked up for each window: what bounds the number of scopes scored.
_NEAREST_SCOPES = 16
_EXPLAINED = 20
# Scopes kept ready for judging: making one ready takes a tenth of a millisecond.
_SCORERS = 4_096
# Windows of passages for which it is remembered what they come near, until a scope changes.
_RECALLED_WINDOWS = 20_000
# Comparisons of vectors that take about a millisecond: a longer search is not made on the event loop.
_QUICK_SEARCH = 10_000
_STRONGEST = (Band.HIGH, Band.LOW, Band.CLEAR)
# Scopes scored in full for an explanation.
_EXPLAINED_FROM = 1_000
# Characters from which on looking for encodings takes milliseconds, and another thread.
_LONG = 4_000

_Reached = dict[str, list[int]]


class Detector:
    """Scopes in memory, and the verdicts they give. Lives on the event loop's thread.

    Only asking segments can be detected in, so only they are read: supplied text never triggers an
    intervention by itself, and reading it would cost encoder time for nothing. A later stage that
    needs supplied text (what a client itself stated) adds its own reading. What looks encoded is read
    decoded besides, and whatever is found there is told as the segment's own characters.

    ``observe`` is told the seconds spent in each stage: ``lexical``, ``encode``, ``search``, ``score``.
    """

    def __init__(
        self,
        queue: EncoderQueue,
        calibration: Calibration,
        *,
        observe: Callable[[str, float], None] | None = None,
    ) -> None:
        self._queue = queue
        self._calibration = calibration
        self._observe = observe
        self._index = VectorIndex(calibration.background.vectors.shape[1])
        self._lexicon = Lexicon()
        self._mentions = MentionReader(queue.encode, calibration.mentions)
        self._scopes: dict[str, Scope] = {}
        self._scorers: OrderedDict[str, ScopeScorer] = OrderedDict()
        """Those made last; a scorer takes several times the memory of its scope."""
        self._reached: Recollection[_Reached] = Recollection(_RECALLED_WINDOWS)
        self._changes = 0
        self._decrees: dict[int, tuple[str, ...]] = {}
        """By the hash of an item's words, the requests that have it."""

    @property
    def index_vectors(self) -> int:
        """How many vectors are searched."""
        return len(self._index)

    @property
    def index(self) -> VectorIndex:
        """The vectors that are searched; for measuring."""
        return self._index

    def scopes(self) -> list[Scope]:
        """The scopes applied, in order of application."""
        return list(self._scopes.values())

    def apply(self, scope: Scope) -> None:
        """Detect by ``scope`` from now on, in place of any other version of its request.

        Raises:
            ValueError: its vectors were made by another encoder; the request must be compiled again.
        """
        if scope.encoder != self._calibration.encoder:
            raise ValueError("the scope was compiled with another encoder")
        self.remove(scope.request_id)
        self._index.add(scope.request_id, scope.forget.vectors)
        self._lexicon.add(scope.request_id, [alias.text for alias in scope.aliases])
        alone = (scope.request_id,)
        for item in _items(scope):
            owners = self._decrees.setdefault(item, alone)
            if scope.request_id not in owners:
                self._decrees[item] = (*owners, scope.request_id)
        self._scopes[scope.request_id] = scope
        self._changed()

    def remove(self, request_id: str) -> None:
        """Stop detecting by the scope of ``request_id``; unknown ids are ignored."""
        scope = self._scopes.pop(request_id, None)
        if scope is None:
            return
        self._changed()
        self._scorers.pop(request_id, None)
        self._lexicon.remove(request_id)
        self._index.remove(request_id)
        for item in _items(scope):
            owners = tuple(owner for owner in self._decrees.pop(item) if owner != request_id)
            if owners:
                self._decrees[item] = owners

    async def detect(self, segments: Sequence[Segment]) -> list[Detection]:
        """The scopes whose low or high band a request reaches, most probable first.

        Raises:
            CannotDecide: the encoder failed or is overloaded (`Overloaded`).
        """
        if not self._scopes:
            return []
        timings: dict[str, float] = {}
        turns = turns_of(segments)
        readings = await self._read(segments, turns, timings)
        spoken = self._spoken(turns)
        brought_up = self._bring_up(readings, spoken)
        started = time.perf_counter()
        detections = []
        for request_id, rows in brought_up.items():
            scorer = self._scorer(request_id)
            verdicts = self._judge(scorer, readings, rows, turns, spoken.get(request_id, {}))
            detection = self._detection(scorer, verdicts, readings)
            if detection is not None and detection.band is not Band.CLEAR:
                detections.append(detection)
        timings["score"] = time.perf_counter() - started
        self._report(timings)
        return _best_first(detections)

    async def explain(self, segments: Sequence[Segment]) -> tuple[list[Detection], dict[str, float]]:
        """Every scope's verdict, also those in no band; at most 20, most probable first; and milliseconds by stage.

        With more than a thousand scopes, those that share neither a name nor a near example are left out.

        Raises:
            CannotDecide: as `detect`.
        """
        timings: dict[str, float] = {}
        turns = turns_of(segments)
        readings = await self._read(segments, turns, timings)
        spoken = self._spoken(turns)
        brought_up = self._bring_up(readings, spoken)
        started = time.perf_counter()
        few = len(self._scopes) <= _EXPLAINED_FROM
        everywhere = {place: range(len(reading.passage.windows)) for place, reading in enumerate(readings)}
        detections = []
        for request_id in self._scopes if few else brought_up:
            scorer = self._scorer(request_id)
            verdicts = self._judge(scorer, readings, everywhere, turns, spoken.get(request_id, {}))
            detection = self._detection(scorer, verdicts, readings)
            if detection is not None:
                detections.append(detection)
        timings["score"] = time.perf_counter() - started
        return _best_first(detections)[:_EXPLAINED], {stage: 1000.0 * spent for stage, spent in timings.items()}

    def names(self, request_ids: Collection[str], segments: Sequence[Segment]) -> list[Span]:
        """Where names of these requests' subjects stand, in supplied segments too: all that corruption must reach."""
        texts = [Text(place, segment.text) for place, segment in enumerate(segments)]
        decoded = [Text(of.segment, found.text, found) for of in texts for found in self._decodings(of.text)]
        spans = {
            span
            for text in texts + decoded
            for match in self._lexicon.find(Words(text.text))
            if match.request_id in request_ids and (span := text.span(match.start, match.end))
        }
        return sorted(spans, key=_in_order)

    async def _read(
        self, segments: Sequence[Segment], turns: Sequence[Turn], timings: dict[str, float]
    ) -> list[Reading]:
        started = time.perf_counter()
        texts = plain_texts(segments)
        for text in tuple(texts):
            find = functools.partial(self._decodings, text.text)
            found = await asyncio.to_thread(find) if len(text.text) > _LONG else find()
            texts += [Text(text.segment, decoding.text, decoding) for decoding in found]
        texts += together(turns)
        decoded = time.perf_counter()
        passages = await self._queue.read([text.text for text in texts])
        changes, matches = self._changes, [self._lexicon.find(passage.words) for passage in passages]
        # Who hides a name does not merely mention it.
        plain = [found if text.decoding is None else [] for text, found in zip(texts, matches, strict=True)]
        mentioned = await self._mentions.read([text.text for text in texts], plain)
        encoded = time.perf_counter()
        reached = await self._search(passages)
        searched = time.perf_counter()
        if changes != self._changes:  # names must be those of the scopes of now, as the scorers are
            matches = [self._lexicon.find(passage.words) for passage in passages]
        readings = [
            Reading(text, passage, found, near, names)
            for text, passage, found, near, names in zip(texts, passages, matches, reached, mentioned, strict=True)
        ]
        timings["encode"] = encoded - decoded
        timings["search"] = searched - encoded
        timings["lexical"] = time.perf_counter() - searched + decoded - started
        return readings

    async def _search(self, passages: Sequence[Passage]) -> list[_Reached]:
        """By passage, the requests that it may be about, with the windows that come near them."""
        reached = {id(passage): self._reached.get(passage) for passage in passages}
        unseen = [passage for passage in passages if reached[id(passage)] is None]
        changes = self._changes
        for passage, near in zip(unseen, await self._nearest(unseen), strict=True):
            found = reached[id(passage)] = self._reach(passage, near)
            if changes == self._changes:
                self._reached.put(passage, found)
        return [reached[id(passage)] or {} for passage in passages]

    async def _nearest(self, passages: Sequence[Passage]) -> list[list[dict[str, float]]]:
        """By passage and window, the nearest requests with the cosine of each one's nearest item."""
        vectors = [passage.vectors for passage in passages if len(passage.windows)]
        found: list[dict[str, float]] = []
        if vectors:
            rows = np.concatenate(vectors)
            if len(rows) * self._index.effort <= _QUICK_SEARCH:
                found = self._index.search(rows, _NEAREST_SCOPES)
            else:
                found = await asyncio.to_thread(self._index.search, rows, _NEAREST_SCOPES)
        rest = iter(found)
        return [list(itertools.islice(rest, len(passage.windows))) for passage in passages]

    def _reach(self, passage: Passage, near: Sequence[Mapping[str, float]]) -> _Reached:
        named = _by_request(self._lexicon.find(passage.words))
        reached: dict[str, list[int]] = {}
        for row, found in enumerate(near):
            for request_id, similarity in found.items():
                if request_id not in self._scopes:
                    continue  # withdrawn while its vectors were searched
                scorer = self._scorer(request_id)
                strength = scorer.name_strength(named.get(request_id, ()))
                if scorer.may_reach(similarity, passage.vectors[row], passage.texts[row], strength):
                    reached.setdefault(request_id, []).append(row)
        return reached

    def _decodings(self, text: str) -> list[Decoding]:
        return decodings(text, self._lexicon.knows)

    def _spoken(self, turns: Sequence[Turn]) -> dict[str, dict[int, float]]:
        """How far the model's own turns were about each request that they name, by turn."""
        spoken: defaultdict[str, dict[int, float]] = defaultdict(dict)
        for place, turn in enumerate(turns):
            if not turn.users:
                words = Words(turn.text)
                named = _by_request(self._lexicon.find(words))
                for request_id, share in shares(words, itertools.chain(*named.values())).items():
                    spoken[request_id][place] = share * self._scorer(request_id).name_strength(named[request_id])
        return spoken

    def _bring_up(self, readings: Sequence[Reading], spoken: Collection[str]) -> dict[str, dict[int, Sequence[int]]]:
        """The scopes worth scoring, each with the windows that are, by reading; those ``spoken`` of in any case."""
        brought_up: defaultdict[str, dict[int, Sequence[int]]] = defaultdict(dict)
        for place, reading in enumerate(readings):
            for match in reading.matches:
                brought_up[match.request_id][place] = ()
            for request_id in self._decrees.get(hash(reading.passage.words.key), ()):
                brought_up[request_id][place] = ()
            for request_id, rows in reading.reached.items():
                if request_id in self._scopes:
                    brought_up[request_id][place] = rows
        return {request_id: {} for request_id in spoken} | brought_up

    @staticmethod
    def _judge(
        scorer: ScopeScorer,
        readings: Sequence[Reading],
        rows: Mapping[int, Sequence[int]],
        turns: Sequence[Turn],
        spoken: Mapping[int, float],
    ) -> dict[int, Verdict]:
        request_id = scorer.scope.request_id
        verdicts = {}
        for place in rows:
            own = [match for match in readings[place].matches if match.request_id == request_id]
            verdict = scorer.judge(readings[place].passage, own, rows[place])
            weight = readings[place].of.weight
            verdicts[place] = replace(verdict, probability=weight * verdict.probability) if weight < 1.0 else verdict
        return carried(turns, readings, verdicts, spoken) if turns else verdicts

    @staticmethod
    def _detection(
        scorer: ScopeScorer, verdicts: Mapping[int, Verdict], readings: Sequence[Reading]
    ) -> Detection | None:
        if not verdicts:
            return None
        scope = scorer.scope
        bands = {
            place: Band.LOW
            if verdict.by_name_alone and scope.request_id in readings[place].mentioned
            else scorer.band(verdict.probability)
            for place, verdict in verdicts.items()
        }
        # Of readings that are as probable, the one nearest to what the client wrote.
        decisive = min(
            verdicts, key=lambda place: (_STRONGEST.index(bands[place]), -verdicts[place].probability, place)
        )
        verdict, band = verdicts[decisive], bands[decisive]
        flagged = [readings[place] for place in verdicts if band is not Band.CLEAR and bands[place] is band]
        spans = {
            span
            for reading in flagged
            for match in reading.matches
            if match.request_id == scope.request_id and (span := reading.of.span(match.start, match.end))
        }
        return Detection(
            request_id=scope.request_id,
            version=scope.version,
            mode=scope.mode,
            policy=scope.policy,
            probability=verdict.probability,
            band=band,
            threshold=scope.high.probability,
            margin=verdict.probability - scope.high.probability,
            segments=tuple(sorted({reading.of.segment for reading in flagged})),
            spans=tuple(sorted(spans, key=_in_order)),
            evidence=_evidence(scorer, verdict, band, readings[decisive]),
        )

    def _changed(self) -> None:
        self._changes += 1
        self._reached.clear()

    def _scorer(self, request_id: str) -> ScopeScorer:
        scorer = self._scorers.get(request_id)
        if scorer is None:
            scorer = self._scorers[request_id] = ScopeScorer(self._scopes[request_id], self._calibration)
            if len(self._scorers) > _SCORERS:
                self._scorers.popitem(last=False)
        self._scorers.move_to_end(request_id)
        return scorer

    def _report(self, timings: Mapping[str, float]) -> None:
        if self._observe is not None:
            for stage, spent in timings.items():
                self._observe(stage, spent)


def _in_order(span: Span) -> tuple[int, int, int]:
    return span.segment, span.start, span.end


def _items(scope: Scope) -> set[int]:
    """Hashes of the words of each item: only who has the same words is judged by them."""
    return {hash(Words(text).key) for text in (*scope.forget.texts, *scope.retain.texts)}


def _by_request(matches: Iterable[Match]) -> dict[str, list[Match]]:
    grouped: dict[str, list[Match]] = {}
    for match in matches:
        grouped.setdefault(match.request_id, []).append(match)
    return grouped


def _evidence(scorer: ScopeScorer, verdict: Verdict, band: Band, reading: Reading) -> Evidence:
    scope = scorer.scope
    window = reading.passage.windows[verdict.window] if verdict.window >= 0 else None
    return Evidence(
        matched=reading.of.text[window.start : window.end] if window else reading.of.text * verdict.refers_back,
        read_as=how_it_was_read(reading, verdict, scope.request_id),
        alias=verdict.alias,
        nearest_forget=scope.forget.texts[verdict.nearest_forget] if window else "",
        nearest_forget_similarity=verdict.forget_similarity,
        nearest_retain=scope.retain.texts[verdict.nearest_retain] if verdict.nearest_retain >= 0 else "",
        nearest_retain_similarity=verdict.retain_similarity,
        ood_score=verdict.outlier,
        soft_weight=verdict.soft_weight,
        would_change=what_would_change(scorer, verdict, band),
    )


def _best_first(detections: Iterable[Detection]) -> list[Detection]:
    return sorted(detections, key=lambda detection: (-detection.margin, detection.request_id))
