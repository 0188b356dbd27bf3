"""What an endpoint is: a small codec between its body and the segments that guards read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from guards.act.decline import neutral_text
from server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guards.act.decline import Form
    from guards.plan import Segment
    from server.api.body import Body, Path

NO_TEXTS: Final[Mapping[Path, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on a body, and the fields that the operator lets pass besides the documented ones."""

    max_messages: int = 2_048
    extra_fields: tuple[str, ...] = ()


class Endpoint(ABC):
    """An OpenAI-style generating endpoint. Everything else treats all endpoints alike."""

    name: ClassVar[str]
    """Label in metrics and decision records."""
    path: ClassVar[str]
    """Route, here and upstream."""

    @abstractmethod
    def check(self, body: Body) -> None:
        """Check every field.

        Raises:
            BadRequest: a field is refused, unknown, of the wrong type or too long; ``param`` names it.
        """

    @abstractmethod
    def read(self, body: Body, decoded: Mapping[Path, str] = NO_TEXTS) -> list[Segment]:
        """Every text that can carry a question, of a checked body.

        ``decoded`` holds the texts of prompts that are given as tokens, by their path.
        """

    def token_prompts(self, body: Body) -> dict[Path, list[int]]:
        """The prompts that are given as tokens and must be decoded before they can be read."""
        return {}

    @abstractmethod
    def prompts(self, body: Body) -> list[Body | list[int]]:
        """For each prompt in the body, what asks the upstream's ``/tokenize`` for it, or its tokens."""

    @abstractmethod
    def form(self, body: Body, path: Path) -> Form:
        """How the text at ``path`` asks."""

    def neutral(self, body: Body, path: Path, text: str) -> str:
        """What stands at ``path`` instead of ``text``, the answer to which is withheld."""
        return neutral_text(text, self.form(body, path))

    @abstractmethod
    def max_output(self, body: Body) -> int | None:
        """The most tokens the client allows an answer, if it says."""

    @abstractmethod
    def limit_output(self, body: Body, limit: int) -> Body:
        """The body with at most ``limit`` tokens to answer."""


def check_length(value: list[object], limit: int, name: str) -> None:
    """Raises BadRequest if the array is longer than the limit."""
    if len(value) > limit:
        raise BadRequest(f"`{name}` has {len(value)} items; at most {limit} are accepted.", param=name)
