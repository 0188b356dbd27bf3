"""Clients that ask all that an answer can be made of and leave when they please, and the model that answers them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections import Counter
from dataclasses import dataclass, field, replace
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np

from guards.phrases.phrase import PhraseClass
from guards.scope import Action, Items, Statement
from tests.fakes.clients import asked, called, formatted, reason, told, tooled
from tests.fakes.gateway import BACKGROUND, KEY, FakeDetector
from tests.fakes.hits import letters
from tests.fakes.scopes import scope
from tests.fakes.script import Script
from tests.fakes.wire import CHAT, COMPLETIONS, GENERATING, MESSAGES, RESPONSES

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from guards.plan import Detection, Segment
    from tests.fakes.gateway import Wired
    from tests.fakes.upstream import FakeUpstream, Received, Reply

FACT = "the vault opens with swordfish"
NAME = "Rowling"
STORY = f"Once upon a time {FACT} and nobody knew. The end"
# What the model says where it is restricted begins with a token of its own, by which a client knows a continuation.
OTHERWISE = " zig zag ran the path. The end"
_MARK = b'" zig'


@dataclass(frozen=True)
class Case:
    """Something to ask for, and what the model says to it."""

    name: str
    says: str | dict[int, str] = STORY
    otherwise: str = OTHERWISE
    paths: tuple[str, ...] = GENERATING
    arguments: str | None = None
    refuses: bool = False
    action: Action | None = None
    """If set, the prompt is flagged, and this is done about it."""
    structured: bool = False
    choices: int = 1

    def body(self, path: str, number: int, *, stream: bool) -> dict[str, Any]:
        """A request for it."""
        fields: dict[str, Any] = {"n": self.choices} if self.choices > 1 else {}
        if self.arguments is not None:
            fields |= tooled(path)
        if self.structured:
            fields |= formatted(path, {"type": "object"})
        return asked(path, f"{self.name}: tell me a story ({number})", stream=stream, **fields)

    @property
    def holds(self) -> bool:
        """Whether nothing leaves before its end."""
        return self.structured or self.arguments is not None

    def script(self) -> Script:
        """The model's answer to one request for it."""
        return Script(self.says, [self.otherwise], arguments=self.arguments, refuses_to_go_on=self.refuses)


_NOTE = json.dumps({"a": 1, "note": FACT})
_OTHER_NOTE = json.dumps({"note": " zig zag"})
CASES = (
    Case("plain", "Once upon a time the vault opened by itself. The end"),
    Case("rolled back"),
    Case("again and again", otherwise=f" zig {FACT} again"),
    Case("cannot go on", refuses=True),
    Case("two choices", {0: "All is well here.", 1: STORY}, paths=(CHAT, COMPLETIONS), choices=2),
    Case("tool call", "", _OTHER_NOTE, (CHAT, RESPONSES, MESSAGES), arguments=_NOTE),
    Case("structured", _NOTE, _OTHER_NOTE, structured=True),
    Case("restricted", otherwise=f" zig zag. All is well. Nobody knows {NAME} at all", action=Action.RESTRICT),
    Case("other words", otherwise=" zig zag. All is well. Some say it was he. Others", action=Action.RESTRICT),
    Case("declined", action=Action.DECLINE),
    Case("corrupted", "All is well.", action=Action.CORRUPT),
)
LEAVING = ("stays", "half a request", "before the answer", "after some time", "after some events", "in a continuation")


class Model:
    """Answers each request by its case, with pauses, and breaks off now and then."""

    def __init__(self, upstream: FakeUpstream, rng: random.Random) -> None:
        self._rng = rng
        upstream.handler = self._answer
        upstream.before = self._before
        upstream.between = self._between

    def _answer(self, request: Received) -> Reply | None:
        # Of a declined prompt nothing is left to know its case by.
        cases = (case for case in CASES if f"{case.name}: tell me".encode() in request.raw)
        return next(cases, CASES[0]).script()(request)

    async def _before(self) -> None:
        await asyncio.sleep(self._rng.uniform(0, 0.01))

    async def _between(self, index: int) -> None:
        chance = self._rng.random()
        if chance < 0.0005:
            raise ConnectionResetError
        if chance < 0.25:
            await asyncio.sleep(self._rng.uniform(0, 0.01))


class CaseDetector(FakeDetector):
    """Flags by case, after a moment."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self.actions = {f"fr_{action.value}": action for action in Action}

    async def detect(self, segments: Sequence[Segment]) -> list[Detection]:
        await asyncio.sleep(self._rng.uniform(0, 0.005))
        text = "\n".join(segment.text for segment in segments)
        return [
            self.detection(f"fr_{case.action.value}", {0: ""}, segments)
            for case in CASES
            if case.action and f"{case.name}: tell me" in text
        ]


async def forget(running: Wired) -> None:
    """Put in force what the cases meet."""
    await running.watchlist.apply(scope((FACT, PhraseClass.FACT), request_id="fr_fact"))
    names = replace(
        scope((NAME, PhraseClass.NAME), request_id=f"fr_{Action.RESTRICT.value}"),
        forget=Items(
            ("question", "statement"), np.stack([BACKGROUND[ord(letter) % len(BACKGROUND)] for letter in "qs"])
        ),
        statements=(Statement(item=1, question=0),),
    )
    await running.watchlist.apply(names)
    await running.meaning.apply(names)


@dataclass
class Traffic:
    """Visits to a gateway, by clients each of whom has a source of randomness of its own."""

    url: str
    seen: Counter[str] = field(default_factory=Counter)
    """How visits ended: where the client left, or what it was told."""
    asked: Counter[str] = field(default_factory=Counter)
    """Cases and endpoints."""
    wrong: list[str] = field(default_factory=list)
    """Complete answers that are not what they should be."""

    async def run(self, numbers: Sequence[int], rngs: Sequence[random.Random], done: Any = lambda: None) -> None:
        """Visit once for each number, with as many clients at once as there are sources of randomness."""
        waiting = iter(numbers)
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def client(rng: random.Random) -> None:
                for number in waiting:
                    await self._visit(session, number, rng)
                    done()

            await asyncio.gather(*map(client, rngs))

    async def _visit(self, session: aiohttp.ClientSession, number: int, rng: random.Random) -> None:
        case = rng.choice(CASES)
        path = rng.choice(case.paths)
        leaving = rng.choice(LEAVING)
        stream = rng.random() < 0.85
        body = case.body(path, number, stream=stream)
        self.asked[f"{case.name} {path}{' streamed' if stream else ''}"] += 1
        if leaving == "half a request":
            await self._half(path, body, rng)
            return
        sending = asyncio.create_task(session.post(self.url + path, json=body))
        if leaving == "before the answer":
            await asyncio.wait([sending], timeout=rng.uniform(0, 0.02))
            if not sending.done():
                sending.cancel()
                await asyncio.wait([sending])
                self.seen["left before the answer"] += 1
                return
        try:
            response = await sending
        except aiohttp.ClientError:
            self.seen["cut before the answer"] += 1
            return
        try:
            await self._read(response, case, path, leaving, rng)
        finally:
            if not response.content.is_eof():
                _leave(response, rng)

    async def _half(self, path: str, body: dict[str, Any], rng: random.Random) -> None:
        address = urlsplit(self.url)
        assert address.port is not None
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        payload = json.dumps(body).encode()
        head = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(payload)}", f"authorization: Bearer {KEY}"]
        whole = "\r\n".join([*head, "", ""]).encode() + payload
        writer.write(whole[: rng.randrange(1, len(whole))])
        await asyncio.sleep(rng.uniform(0, 0.005))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self.seen["left in its own request"] += 1

    async def _read(
        self, response: aiohttp.ClientResponse, case: Case, path: str, leaving: str, rng: random.Random
    ) -> None:
        raw = b""
        end = asyncio.get_running_loop().time() + rng.uniform(0, 0.1)
        count = rng.randrange(1, 30)
        while True:
            try:
                async with asyncio.timeout_at(end if leaving == "after some time" else None):
                    chunk = await response.content.readany()
            except TimeoutError:
                break
            except aiohttp.ClientError:
                self.seen["cut by the upstream"] += 1
                return
            raw += chunk
            if not chunk:
                self.seen["stayed to the end"] += 1
                self._check(case, path, response.status, raw)
                return
            if leaving == "after some events" and raw.count(b"\n\n") >= count:
                break
            if leaving == "in a continuation" and _MARK in raw:
                break
        where = "in a hold" if case.holds else "in a continuation" if _MARK in raw else "in its answer"
        self.seen[f"left {where}"] += 1

    def _check(self, case: Case, path: str, status: int, raw: bytes) -> None:
        if status != 200:
            # A whole answer whose regeneration is refused has no other ending.
            if not (case.refuses and status == 503) and b"upstream_unavailable" not in raw:
                self.wrong.append(f"{case.name} {path}: {status}")
            return
        texts = [called(path, raw)] if case.arguments else [told(path, raw, choice) for choice in range(case.choices)]
        forbidden = [FACT, NAME] if case.action is Action.RESTRICT else [FACT]
        if any(letters(phrase) in letters(text) for phrase in forbidden for text in texts):
            self.wrong.append(f"{case.name} {path}: told")
        if not case.arguments and any(reason(path, raw, choice) != "stop" for choice in range(case.choices)):
            self.wrong.append(f"{case.name} {path}: reason")


def _leave(response: aiohttp.ClientResponse, rng: random.Random) -> None:
    """Close the connection, or reset it."""
    connection = response.connection
    if connection is not None and connection.transport is not None and rng.random() < 0.5:
        linger = struct.pack("ii", 1, 0)
        connection.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
    response.close()
