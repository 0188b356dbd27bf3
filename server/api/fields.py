"""What may be in a body: an allow-list with a type for each field, and what is refused by name.

Types are strict where vLLM's are lax. Pydantic reads ``"stream": "true"`` as true; if the gateway
read it otherwise, an answer would be handled in the wrong form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from server.errors import BadRequest

Check: TypeAlias = Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class Type:
    """A JSON type: ``words`` completes the sentence "must be …"."""

    words: str
    check: Check


_WIDEST: Final = 2**63
"""What a machine's signed integer ends before. JSON has no bound, and what is beyond cannot be written again."""


def is_integer(value: object) -> bool:
    """Also of a float without a fraction, which JSON does not tell from an integer."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -_WIDEST <= value < _WIDEST and value == int(value)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def is_string(value: object) -> bool:
    return isinstance(value, str)


def is_object(value: object) -> bool:
    return isinstance(value, dict)


def object_of(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def one_of(*words: str) -> Type:
    """For what a template may print although it is not read, so that nothing can be asked in it."""
    return Type(f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words)


def _is_token(value: object) -> bool:
    return isinstance(value, int | float) and is_integer(value) and value >= 0


def _few(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MOST_STOPS


def never(value: object) -> bool:
    """Of a field that is documented but can only be null here."""
    return False


STRING = Type("a string", is_string)
BOOLEAN = Type("a boolean", lambda value: isinstance(value, bool))
INTEGER = Type("an integer of at most 64 bits", is_integer)
NUMBER = Type("a number", is_number)
OBJECT = Type("an object", is_object)
LIST = Type("an array", lambda value: isinstance(value, list))
STRINGS = Type("an array of strings", list_of(is_string))
INTEGERS = Type("an array of integers of at most 64 bits", list_of(is_integer))
OBJECTS = Type("an array of objects", list_of(is_object))
STRING_OR_STRINGS = Type("a string or an array of strings", lambda value: is_string(value) or list_of(is_string)(value))
# Each is tried on an answer's end.
MOST_STOPS: Final = 64
STOPS = Type(f"an array of at most {MOST_STOPS} strings", lambda value: list_of(is_string)(value) and _few(value))
STOP_OR_STOPS = Type(
    f"a string or an array of at most {MOST_STOPS} strings", lambda value: is_string(value) or STOPS.check(value)
)
STOP_TOKENS = Type(
    f"an array of at most {MOST_STOPS} integers of at most 64 bits, none negative",
    lambda value: _few(value) and list_of(_is_token)(value),
)
STRING_OR_LIST = Type("a string or an array", lambda value: isinstance(value, str | list))
STRING_OR_OBJECT = Type("a string or an object", lambda value: isinstance(value, str | dict))
NUMBERS_BY_NAME = Type("an object of numbers", object_of(is_number))
STRINGS_BY_NAME = Type("an object of strings", object_of(is_string))
SCALARS_BY_NAME = Type("an object of strings, numbers and booleans", object_of(is_scalar))
STRING_OBJECTS = Type("an array of objects of strings", list_of(object_of(is_string)))
UNREAD = Type("what the upstream takes: the operator lets it pass unread", lambda value: True)

# Why a field is refused, to complete "`field` is not accepted: …".
OPAQUE = "what it carries cannot be read by the gateway"
ENGINE = "it reaches into the engine"
PROMPT = "it returns the prompt or its probabilities"
TEMPLATE = "the prompt's template is the server's"
UNWATCHED = "it is a way of decoding that the server does not offer"


Nested: TypeAlias = Mapping[str, Mapping[str, "FieldRules"]]
"""Rules of the objects in arrays, by where the array stands ("messages.content") and by the objects' ``type``.

Objects that are not told apart by a type have "" for it.
"""


class FieldRules:
    """Allowed fields with their types, and refused fields with the reason.

    Whether a field is refused depends on nothing but this table: a refusal that depended on the
    prompt would tell a client what matched. ``extra`` are fields that the operator lets pass
    unread; they can never include a refused one. ``prefix`` is where the object stands in the body.
    """

    __slots__ = ("allowed", "refused")

    def __init__(
        self, types: Mapping[str, Type], refused: Mapping[str, str], *, extra: tuple[str, ...] = (), prefix: str = ""
    ) -> None:
        if both := types.keys() & refused.keys():
            raise ValueError(f"both allowed and refused: {', '.join(sorted(both))}")
        named = {name.removeprefix(prefix) for name in extra if name.startswith(prefix)}
        unread = {name: UNREAD for name in named if "." not in name and name not in refused}
        self.allowed: Final[Mapping[str, Type]] = unread | dict(types)
        self.refused: Final[Mapping[str, str]] = dict(refused)

    def check(self, fields: Mapping[str, Any], at: str = "") -> None:
        """Check an object's fields. ``at`` is where it stands, to name a field in full.

        Raises:
            BadRequest: a field is refused, unknown or of the wrong type; ``param`` names it.
        """
        for name, value in fields.items():
            wanted = self.allowed.get(name)
            if wanted is None:
                raise self._not_allowed(name, at)
            if value is not None and not wanted.check(value):
                raise BadRequest(f"`{at}{name}` must be {wanted.words}.", param=at + name)

    def _not_allowed(self, name: str, at: str) -> BadRequest:
        shown = at + (name if len(name) <= 80 else name[:80] + "…")
        if reason := self.refused.get(name):
            return BadRequest(f"`{shown}` is not accepted: {reason}.", param=shown, code="field_not_accepted")
        return BadRequest(f"`{shown}` is not a known field.", param=shown, code="unknown_field")
