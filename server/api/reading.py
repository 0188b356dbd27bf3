"""What chat-like bodies have in common: content in parts, tools, and the texts in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guards.plan import Role, Segment
from server.api import fields as f
from server.api.endpoint import check_length
from server.api.fields import FieldRules
from server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from server.api.body import Body, Path
    from server.api.fields import Type

# Names under which a template is given the conversation itself, or is replaced.
_TEMPLATE_NAMES: Final = ("chat_template", "conversation", "documents", "messages", "tokenize", "tools")

# Characters at either end of a text in which a question may be cut off.
_SEAM: Final = 300
# What a template may put between parts, as far as it matters to what they say.
_BETWEEN: Final = ("", " ")
# What vLLM 0.32 leaves out of a system prompt: a block that begins so, or its first line.
LEFT_OUT: Final = "x-anthropic-billing-header"

# What of a tool's definition is said in words; the rest is form.
_WORDED: Final = ("$comment", "default", "description", "name", "title")


class Parts:
    """Lists of content parts: which kinds there are, their fields, and the field that holds a kind's text.

    A template may print any field of a part (vLLM passes those it does not know), so none but the listed
    ones are let through. A kind whose text field is empty has texts of its own making.
    """

    def __init__(
        self,
        texts: Mapping[str, str],
        more: Mapping[str, Mapping[str, Type]],
        *,
        extra: tuple[str, ...],
        prefix: str,
        limit: int,
        strings: bool = False,
    ) -> None:
        """
        Args:
            texts: each kind's field that holds its text.
            more: each kind's other fields.
            strings: whether a part may be a mere string.
        """
        self._texts = dict(texts)
        self.rules: Final[Mapping[str, FieldRules]] = {
            kind: FieldRules(
                {"type": f.STRING} | ({field: f.STRING} if field else {}) | dict(more.get(kind, {})),
                {},
                extra=extra,
                prefix=prefix,
            )
            for kind, field in texts.items()
        }
        self._limit = limit
        self._strings = strings

    def check(self, parts: list[object], at: str) -> None:
        """Check a list of parts that stands at ``at``. Raises BadRequest."""
        check_length(parts, self._limit, at)
        for index, part in enumerate(parts):
            self._check(part, f"{at}[{index}]")

    def _check(self, part: object, at: str) -> None:
        if self._strings and isinstance(part, str):
            return
        if not isinstance(part, dict):
            raise BadRequest(f"`{at}` must be {'a string or ' if self._strings else ''}an object.", param=at)
        rules = self.rules[self.kind(part.get("type"), f"{at}.type")]
        rules.check(part, f"{at}.")
        field = self._texts[part["type"]]
        if field and not isinstance(part.get(field), str):
            raise BadRequest(f"`{at}.{field}` must be a string.", param=f"{at}.{field}")

    def kind(self, kind: object, at: str) -> str:
        """The kind, if it is one of these. Raises BadRequest."""
        if isinstance(kind, str) and kind in self.rules:
            return kind
        shown = f"`{kind[:40]}`" if isinstance(kind, str) else "a part without a type"
        known = ", ".join(sorted(self.rules))
        raise BadRequest(
            f"`{at}`: {shown} is not accepted; only text can be read by the gateway ({known}).",
            param=at,
            code="field_not_accepted",
        )

    def texts(self, content: object, path: Path) -> list[tuple[Path, str]]:
        """The texts of checked content, a string or parts, that stands at ``path``."""
        if isinstance(content, str):
            return [(path, content)]
        found: list[tuple[Path, str]] = []
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, str):
                found.append(((*path, index), part))
            elif field := self._texts[part["type"]]:
                found.append(((*path, index, field), part[field]))
        return found

    def read(
        self, content: object, path: Path, role: Role, turn: int = -1, *, instructs: bool = False
    ) -> list[Segment]:
        """The segments of checked content, of some turn of a conversation.

        Of what ``instructs`` vLLM leaves some out: that is read, and counts for nothing else.

        Parts reach the model as one text, so a question may be cut up between them: the whole of what asks is
        read as well, at the path of the list, and the seams of any.
        """
        texts = self.texts(content, path)
        segments = [
            Segment(at, text, Role.ASIDE)
            if instructs and role is Role.SUPPLIES and text.startswith(LEFT_OUT)
            else Segment(at, text, role, turn)
            for at, text in texts
        ]
        if len(texts) > 1:
            said = [text for _, text in texts]
            if role is Role.ASKS:
                segments.append(Segment(path, "\n".join(said), role, turn))
            segments += seams(said, path, ("",) if role is Role.ASKS else _BETWEEN)
        return segments


def speaks(texts: Iterable[tuple[Path, str]]) -> bool:
    """Whether there is a letter or a digit in any of the texts."""
    return any(character.isalnum() for _, text in texts for character in text)


def seams(texts: Sequence[str], path: Path, between: Sequence[str] = _BETWEEN) -> list[Segment]:
    """Texts that may reach the model as one, with one thing or another ``between``: where they meet."""
    ends = [text if len(text) <= 2 * _SEAM else f"{text[:_SEAM]}\n…\n{text[-_SEAM:]}" for text in texts]
    return [Segment(path, each.join(ends), Role.ASIDE) for each in between] if len(texts) > 1 else []


def aside(texts: Iterable[object], path: Path) -> Segment:
    """Short texts that a template may print and nobody writes sentences in: ids, names of fields."""
    return Segment(path, " ".join(text for text in texts if isinstance(text, str)), Role.ASIDE)


def read_tools(tools: Sequence[object] | None, path: Path, role: Role) -> list[Segment]:
    """What tool definitions, of any API, say in words. Their names are no question, whatever ``role`` the rest has."""
    segments: list[Segment] = []
    for index, tool in enumerate(tools or ()):
        segments += [
            Segment((*path, index, *at), text, Role.SUPPLIES if at[-1] == "name" else role)
            for at, text in _worded(tool, ())
        ]
        segments.append(aside(_strings(tool), (*path, index)))
    return segments


def _strings(value: object) -> Iterator[str]:
    """Every string in a JSON value, and every name of a field."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _worded(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str):
                if key in _WORDED:
                    yield (*path, key), item
            else:
                yield from _worded(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _worded(item, (*path, index))


def check_template_kwargs(body: Body) -> None:
    """Check the names of ``chat_template_kwargs``. Raises BadRequest."""
    for name in body.get("chat_template_kwargs") or ():
        if name in _TEMPLATE_NAMES:
            param = f"chat_template_kwargs.{name}"
            raise BadRequest(f"`{param}` is not accepted: {f.TEMPLATE}.", param=param, code="field_not_accepted")


def read_template_kwargs(body: Body) -> list[Segment]:
    """The texts of ``chat_template_kwargs``: a template may print any of them into the prompt, in any place."""
    kwargs: Body = body.get("chat_template_kwargs") or {}
    return [
        Segment(("chat_template_kwargs", name), value, Role.ASKS)
        for name, value in kwargs.items()
        if isinstance(value, str)
    ]


def template_kwargs(body: Body, effort: str | None, **more: object) -> Body:
    """``chat_template_kwargs`` as vLLM 0.32 hands them to a template, to be asked of ``/tokenize``."""
    kwargs: Body = dict(body.get("chat_template_kwargs") or {})
    if effort:
        kwargs.setdefault("enable_thinking", effort != "none")
        kwargs["reasoning_effort"] = effort
    return kwargs | {name: value for name, value in more.items() if value}
