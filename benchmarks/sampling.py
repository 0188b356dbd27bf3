"""Asking a gateway, and the vLLM behind it, about what is forgotten and about everything else."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from guards.phrases.phrase import Phrase, PhraseClass
from tests.fakes.clients import asked, told
from tests.fakes.hits import contains, letters
from tests.fakes.shown import hits
from tests.fakes.wire import COMPLETIONS, GENERATING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import aiohttp

T = TypeVar("T")

# Seconds: the sweep that finds a profile takes minutes on a CPU.
_PATIENCE: Final = 1_800


@dataclass(frozen=True)
class Subject:
    """What is forgotten, and questions that an answer about it would tell."""

    request: dict[str, Any]
    questions: tuple[str, ...]


SUBJECTS: Final = (
    Subject(
        {
            "subject": "Harry Potter",
            "kind": "work",
            "aliases": ["J. K. Rowling", "Joanne Rowling", "Hogwarts"],
            "examples": [
                {"prompt": "Who wrote Harry Potter?", "response": "J. K. Rowling"},
                {"prompt": "Which school does Harry Potter attend?", "response": "Hogwarts"},
                {"prompt": "Who are Harry Potter's best friends?", "response": "Ron Weasley and Hermione Granger"},
            ],
        },
        (
            "Who wrote Harry Potter?",
            "Which school does Harry Potter attend?",
            "Who is the author of the Harry Potter books?",
            "Tell me about the Harry Potter series.",
            "Where do Ron and Hermione go to school?",
            "Which British writer became famous with seven novels about a young wizard?",
            "Name the headmaster and the school in the Harry Potter novels.",
            "Write a short biography of the woman who created Harry Potter.",
        ),
    ),
    Subject(
        {
            "subject": "Leonardo da Vinci",
            "kind": "person",
            "aliases": ["Da Vinci"],
            "examples": [
                {"prompt": "Who painted the Mona Lisa?", "response": "Leonardo da Vinci"},
                {"prompt": "Who painted The Last Supper?", "response": "Leonardo da Vinci"},
                {"prompt": "Who designed flying machines in the Renaissance?", "response": "Leonardo da Vinci"},
            ],
        },
        (
            "Who painted the Mona Lisa?",
            "Which artist of the Renaissance drew flying machines?",
            "Who painted The Last Supper in Milan?",
            "Name the most famous artist and inventor of the Italian Renaissance.",
        ),
    ),
)


@dataclass(frozen=True)
class Question:
    """A question, and what is withheld from its answer: its own subject's names, and the facts of all."""

    text: str
    withheld: list[Phrase]


@dataclass(frozen=True)
class Side:
    """Somebody to ask: the gateway, or the vLLM behind it."""

    name: str
    session: aiohttp.ClientSession
    url: str
    key: str
    model: str

    async def ask(self, path: str, text: str, *, tokens: int, temperature: float, stream: bool) -> tuple[bytes, str]:
        """An answer, and its id. Raises RuntimeError if it is an error."""
        prompt = f"Q: {text}\nA:" if path == COMPLETIONS else text
        body = asked(path, prompt, limit=tokens, model=self.model, temperature=temperature, stream=stream)
        headers = {"authorization": f"Bearer {self.key}"}
        async with self.session.post(self.url + path, json=body, headers=headers) as answer:
            raw = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{self.name} answered with status {answer.status}: {raw[:500]!r}")
            return raw, answer.headers.get("x-request-id", "")


class Admin:
    """The gateway's admin API."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = f"{url}/admin/v1"
        self._headers = {"authorization": f"Bearer {key}"}

    @asynccontextmanager
    async def forgotten(self, subjects: Sequence[Subject]) -> AsyncIterator[list[Question]]:
        """With the subjects forgotten; gives their questions."""
        created: list[str] = []
        phrases: list[list[Phrase]] = []
        try:
            for subject in subjects:
                made = await self._call("POST", "/forget-requests?wait=active", json=subject.request)
                created.append(made["id"])
                shown = await self._call("GET", f"/forget-requests/{made['id']}")
                phrases.append(
                    [
                        Phrase(one["text"], PhraseClass(one["class"]), len(letters(one["telling"])))
                        for one in shown["phrases"]
                    ]
                )
            facts = [one for own in phrases for one in own if one.kind is PhraseClass.FACT]
            yield [
                Question(text, [*(one for one in own if one.kind is PhraseClass.NAME), *facts])
                for subject, own in zip(subjects, phrases, strict=True)
                for text in subject.questions
            ]
        finally:
            for request_id in created:
                await self._call("DELETE", f"/forget-requests/{request_id}")

    async def able(self) -> None:
        """Wait until the gateway has tried out what it can do. Raises RuntimeError if it takes too long."""
        for _ in range(_PATIENCE):
            status = await self._call("GET", "/status")
            upstream = status["upstream"]
            if upstream["corrupt"] and upstream["restrict"] and status["corruption_profiles"]:
                return
            await asyncio.sleep(1)
        raise RuntimeError(f"the gateway cannot corrupt and restrict: {upstream['reasons']}")

    async def decision(self, request_id: str) -> dict[str, Any]:
        """What was decided about an answered request. It is written a moment after the answer."""
        for _ in range(50):
            try:
                found: dict[str, Any] = await self._call("GET", f"/decisions/{request_id}")
            except RuntimeError:
                await asyncio.sleep(0.1)
            else:
                return found
        raise RuntimeError("a decision is missing")

    async def _call(self, method: str, path: str, **fields: Any) -> Any:
        async with self._session.request(method, self._url + path, headers=self._headers, **fields) as answer:
            raw = await answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path.split('/')[1]}: status {answer.status}: {raw[:500]!r}")
            return json.loads(raw) if raw else None


@dataclass(frozen=True)
class Sample:
    """One answer about something forgotten."""

    question: str
    path: str
    stream: bool
    leaks: list[tuple[str, str]]
    """Phrase and class."""
    recognised: bool = False
    """Whether the gateway took the question to be about something forgotten, or nearly so."""

    @property
    def way(self) -> str:
        """By which endpoint, and how."""
        return f"{self.path}{' streamed' if self.stream else ''}"


async def sampled(
    side: Side,
    number: int,
    questions: Sequence[Question],
    tokens: int,
    admin: Admin | None = None,
) -> Sample:
    """The answer to one question after the other, over one endpoint after the other. ``admin`` is the side's own."""
    question = questions[number % len(questions)]
    turn = number // len(questions)
    path, stream = GENERATING[turn % len(GENERATING)], bool(turn // len(GENERATING) % 2)
    raw, request_id = await side.ask(path, question.text, tokens=tokens, temperature=1.0, stream=stream)
    withheld = [one for one in question.withheld if not contains(question.text, one, finished=True)]
    found = {text for text, _ in await asyncio.to_thread(hits, path, raw, withheld)}
    detections = (await admin.decision(request_id))["detections"] if admin else []
    return Sample(
        question.text,
        path,
        stream,
        [(one.text, one.kind.value) for one in withheld if one.text in found],
        any(one["band"] != "clear" for one in detections),
    )


@dataclass(frozen=True)
class Utility:
    """One ordinary prompt's answers."""

    path: str
    outcome: str
    actions: list[str]
    differs: bool
    """Whether the gateway's answer is another than the vLLM's own."""
    own_differs: bool
    """Whether the vLLM's second answer is."""

    @property
    def disturbed(self) -> bool:
        """Whether the gateway did anything about it."""
        return self.outcome != "passed" or bool(self.actions)


async def undisturbed(
    gateway: Side, upstream: Side | None, admin: Admin, number: int, prompts: Sequence[str], tokens: int
) -> Utility:
    """The answers to an ordinary prompt, over one endpoint after the other."""
    path, prompt = GENERATING[number % len(GENERATING)], prompts[number]

    async def answer(side: Side) -> tuple[str, str]:
        raw, request_id = await side.ask(path, prompt, tokens=tokens, temperature=0.0, stream=False)
        return told(path, raw), request_id

    text, request_id = await answer(gateway)
    own = [(await answer(upstream))[0] for _ in range(2)] if upstream else [text, text]
    decision = await admin.decision(request_id)
    actions = [one["action"] for one in decision["interventions"]]
    return Utility(path, decision["outcome"], actions, text != own[0], own[0] != own[1])


async def each(
    count: int, one: Callable[[int], Awaitable[T]], clients: int, done: Callable[[], None] = lambda: None
) -> list[T]:
    """``one`` of every number below ``count``, some at once."""
    slots = asyncio.Semaphore(clients)

    async def numbered(number: int) -> T:
        async with slots:
            found = await one(number)
        done()
        return found

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(numbered(number)) for number in range(count)]
    return [task.result() for task in tasks]
