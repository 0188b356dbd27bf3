"""The events of one streamed answer in a line before the door: what may leave, and what is rolled back."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from guards.detect.windows import Window, sentences
from server.api.answer import PROSE, REASONING, TEXT, TOKENS, TOOL, Event
from server.gateway.watch import Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from server.api.answer import AnswerStream
    from server.gateway.watch import Met, Watch


class _Held(NamedTuple):
    raw: bytes
    choices: frozenset[int]
    marks: tuple[tuple[int, str, int], ...]
    """Choice, channel, and how much of the channel's text is out with this event."""
    waits: bool
    """Whether it leaves only once its choices are complete."""
    ends: bool
    """Whether it ends a choice."""


class Line:
    """Takes in an upstream's events and gives out those that may leave, in their order and byte for byte.

    Args:
        before: what stands right before a choice's answer.
        whole: whether an answer leaves only when complete, because it cannot be continued.
        judged: whether prose leaves by whole sentences, each of which `judge` has let pass.
        thinks_first: whether reasoning leaves only when complete, so that none of it is out when it must begin again.
        limit: most alternatives to show for each token; None leaves them as they come.
        wanted: the same, of a continuation.
    """

    def __init__(
        self,
        stream: AnswerStream,
        watch: Watch,
        before: Callable[[int], str],
        *,
        whole: bool = False,
        judged: bool = False,
        thinks_first: bool = False,
        limit: int | None = None,
        wanted: int | None = None,
    ) -> None:
        self._stream = stream
        self._watch = watch
        self._before = before
        self._whole = whole
        self._thinks_first = thinks_first
        self._limit = limit
        self._wanted = wanted
        self._judged: dict[tuple[int, str], int] | None = {} if judged else None
        """By choice and channel: how much of its text has been judged."""
        self._guarded = bool(watch) or judged
        self._threads: dict[tuple[int, str], Thread] = {}
        self._queue: deque[_Held] = deque()
        self._out: dict[tuple[int, str], int] = {}
        self._kept: dict[int, str] = {}
        """Of choices that were rolled back: the text that was out then."""
        self._ended: set[int] = set()
        self._closing: list[bytes] = []
        self.cut: dict[int, Met] = {}
        """Choices that met a phrase and wait for a continuation."""

    def take(self, raw: bytes) -> list[bytes]:
        """The next event of the answer. Gives what may leave now.

        Raises:
            ValueError, KeyError: it has an unknown form, and might hold what is watched for.
        """
        try:
            event = self._stream.read(raw)
        except (AttributeError, KeyError, TypeError, ValueError):
            if self._guarded:
                raise
            event = Event(raw)
        return self._take(event, None)

    def take_of(
        self, choice: int, continuation: AnswerStream, raw: bytes, *, closes: bool, stop: bool = False
    ) -> list[bytes]:
        """The next event of a continuation of ``choice``.

        Args:
            closes: whether the continuation also brings what closes the answer.
            stop: its text is not wanted, only its end.
        """
        event = continuation.read(raw)
        if event.closing:
            if closes:
                self._closing.append(self._stream.close(raw))
            return []
        if event.failed or not (event.ended or (event.pieces and not stop)):
            return []
        return self._take(event, choice, stop=stop)

    def resume(self, choice: int, tokens: int, *, closes: bool) -> None:
        """A continuation of ``choice`` begins, after its ``tokens`` tokens that are out. ``closes`` as in `take_of`."""
        del self.cut[choice]
        out = {channel: self._text_out(choice, channel) for of, channel in list(self._out) if of == choice}
        self._kept[choice] = out.get(TEXT, "")
        for key in [key for key in self._threads if key[0] == choice]:
            del self._threads[key]
        if self._judged is not None:
            self._judged = {key: done for key, done in self._judged.items() if key[0] != choice}
        self._stream.roll_back(choice, out, tokens)
        if closes:
            self._closing = []

    def sentences(self) -> Iterator[tuple[int, str, list[Window]]]:
        """By choice and channel, the sentences that are complete and not yet judged.

        JSON, of a call or of a structured answer, is one, whatever it holds.
        """
        judged = self._judged
        if judged is None:
            return
        for choice, channel in list(self._threads):
            if self._is_judged(channel) and choice not in self.cut:
                thread, done = self._threads[choice, channel], judged.get((choice, channel), 0)
                if thread.length > done and self.is_json(channel):
                    if thread.complete:
                        yield choice, channel, [Window(0, thread.length)]
                elif thread.length > done:
                    found = [Window(done + one.start, done + one.end) for one in sentences(thread.text[done:])]
                    if not thread.complete:
                        found = found[:-1]
                    if found or thread.complete:
                        yield choice, channel, found

    def judge(self, choice: int, channel: str, found: Sequence[Window], told: tuple[Window, str] | None) -> list[bytes]:
        """Complete sentences of a choice have been judged: one says what ``told`` names, or they may leave."""
        thread = self._threads[choice, channel]
        judged = thread.length if thread.complete else found[-1].end if found else 0
        if told is not None:
            judged = told[0].start
        if self._judged is not None:
            self._judged[choice, channel] = judged
        released = self._release()
        if told is not None:
            self._cut(choice, thread.met(*told))
        return released

    def is_json(self, channel: str) -> bool:
        """Whether a channel's text is JSON, and judged only as a whole."""
        return channel.startswith(TOOL) or (self._whole and channel == TEXT)

    def text_of(self, choice: int, channel: str, window: Window) -> str:
        """A sentence of a choice."""
        return self._threads[choice, channel].text[window.start : window.end]

    def out(self, choice: int, channel: str = TEXT) -> str:
        """The text of a choice that is out."""
        return self._text_out(choice, channel)

    def text(self, choice: int) -> str:
        """All the text of a choice."""
        thread = self._threads.get((choice, TEXT))
        return self._kept.get(choice, "") + (thread.text if thread else "")

    def finish(self) -> list[bytes]:
        """The answer's last events, once every choice is complete."""
        return [*self._release(), *self._closing]

    def _text_out(self, choice: int, channel: str) -> str:
        thread = self._threads.get((choice, channel))
        kept = self._kept.get(choice, "") if channel == TEXT else ""
        return kept + (thread.text[: self._out.get((choice, channel), 0)] if thread else "")

    def _take(self, event: Event, of: int | None, *, stop: bool = False) -> list[bytes]:
        if event.closing:
            self._closing.append(event.raw)
            return self._release()
        pieces = [] if stop else [piece._replace(choice=piece.choice if of is None else of) for piece in event.pieces]
        ended = event.ended if of is None else (of,) if event.ended else ()
        choices = frozenset([*(piece.choice for piece in pieces), *ended])
        if choices & self.cut.keys():
            return []
        strikes = event.alternatives and not stop and (self._watch or self._limit is not None)
        raw = self._struck(event, of) if strikes else event.raw
        met: dict[int, Met | None] = {}
        for piece in pieces:
            met[piece.choice] = met.get(piece.choice) or self._thread(piece.choice, piece.channel).feed(piece.text)
        for choice in {piece.choice for piece in pieces if piece.channel == TEXT and piece.text}:
            thought = self._threads.get((choice, REASONING))
            if thought and not (thought.complete or met.get(choice)):
                # Its end may hold nothing back any more, or all of the answer would wait behind it.
                met[choice] = thought.finish()
        if event.failed:
            ended = tuple({choice for choice, _ in self._threads} - self.cut.keys())
        for choice in ended if not stop else ():
            if self._watch.stops:
                self._thread(choice, TEXT)
            mine = [thread for (owner, _), thread in self._threads.items() if owner == choice]
            for thread in mine if not met.get(choice) else ():
                met[choice] = met.get(choice) or (None if thread.complete else thread.finish())
        raws = [raw] if of is None else self._stream.adopt(raw, of, stop=stop)
        marks = tuple(
            (piece.choice, piece.channel, self._thread(piece.choice, piece.channel).length) for piece in pieces
        )
        calls = self._guarded and any(piece.channel.startswith(TOOL) for piece in pieces)
        waits = bool(pieces) and (self._whole or calls)
        self._queue.extend(_Held(each, choices, marks, waits, bool(ended)) for each in raws)
        if first := next(filter(None, met.values()), None):
            # An event of several choices cannot leave in parts.
            for choice in choices:
                self._cut(choice, met.get(choice) or first)
        else:
            self._ended.update(ended)
        return self._release()

    def _thread(self, choice: int, channel: str) -> Thread:
        thread = self._threads.get((choice, channel))
        if thread is None:
            before = self._before(choice) + self._kept.get(choice, "") if channel in (TEXT, TOKENS) else ""
            thread = self._threads[choice, channel] = Thread(self._watch, channel, before)
            self._out[choice, channel] = 0
        return thread

    def _struck(self, event: Event, of: int | None) -> bytes:
        def forbidden(choice: int, before: str, token: str) -> bool:
            thread = self._thread(choice if of is None else of, TOKENS)
            return self._watch.forbids(token, thread.before + thread.text + before)

        return self._stream.strike(event.raw, forbidden, self._limit if of is None else self._wanted)

    def _cut(self, choice: int, met: Met) -> None:
        """Keep of a choice's events in the line what comes before the phrase: it may leave, to its last letter."""
        self.cut[choice] = met
        self._ended.discard(choice)
        out = self._out.get((choice, TEXT), 0)
        safe = out
        if met.channel == TEXT:
            # Without the blank before it, which the continuation's first token brings along.
            place = met.kept if met.kept >= out else met.hit.start
            safe = len(self._threads[choice, TEXT].text[:place].rstrip())
        if self._judged is not None:
            safe = min(safe, self._judged.get((choice, TEXT), 0))
        kept: deque[_Held] = deque()
        going_on = True
        for held in self._queue:
            if choice not in held.choices:
                kept.append(held)
                continue
            plain = len(held.choices) == 1 and not (held.waits or held.ends)
            going_on = going_on and plain and all(channel in (TEXT, TOKENS) for _, channel, _ in held.marks)
            if not going_on:
                continue
            end = max((length for _, _, length in held.marks), default=out)
            raw: bytes | None = held.raw
            if end > safe:
                going_on = False
                raw = self._stream.trim(held.raw, safe - out) if safe > out else None
            if raw is not None:
                kept.append(held._replace(raw=raw, marks=()))
                out = min(end, safe)
        self._queue = kept
        if (choice, TEXT) in self._threads:
            self._out[choice, TEXT] = out

    def _release(self) -> list[bytes]:
        released = []
        while self._queue and self._clear(self._queue[0]):
            held = self._queue.popleft()
            released.append(held.raw)
            if self._guarded:  # else it is never rolled back, and may have an unknown form
                self._stream.left(held.raw)
            for choice, channel, length in held.marks:
                self._out[choice, channel] = length
        return released

    def _clear(self, held: _Held) -> bool:
        if held.waits and not held.choices <= self._ended:
            return False
        return all(length <= self._free(choice, channel) for choice, channel, length in held.marks) and not (
            self._thinks_first
            and any(self._thinking(choice) for choice, channel, _ in held.marks if channel == REASONING)
        )

    def _thinking(self, choice: int) -> bool:
        """Whether it may yet have to begin again: until it is complete, and some of the text that follows may leave."""
        thread, text = self._threads[choice, REASONING], self._threads.get((choice, TEXT))
        if self._judged is not None and self._judged.get((choice, REASONING), 0) < thread.length:
            return True
        return self._free(choice, TEXT) == 0 if text is not None and text.length else choice not in self._ended

    @staticmethod
    def _is_judged(channel: str) -> bool:
        return channel in PROSE or channel.startswith(TOOL)

    def _free(self, choice: int, channel: str) -> int:
        """How much of a text may leave."""
        thread = self._threads[choice, channel]
        free = thread.length if choice in self._ended else thread.clear
        if self._judged is not None and self._is_judged(channel):
            return min(free, self._judged.get((choice, channel), 0))
        return free
