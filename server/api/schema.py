"""Field rules as JSON Schema (2020-12), to describe the API with. What is accepted, the rules alone say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from server.api import fields as f

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.api.fields import FieldRules, Nested, Type

Schema: TypeAlias = dict[str, Any]

_STRING: Final[Schema] = {"type": "string"}
_INTEGER: Final[Schema] = {"type": "integer", "exclusiveMinimum": -(2**63), "exclusiveMaximum": 2**63}
_SCHEMAS: Final[Mapping[Type, Schema]] = {
    f.BOOLEAN: {"type": "boolean"},
    f.INTEGER: _INTEGER,
    f.INTEGERS: {"type": "array", "items": _INTEGER},
    f.LIST: {"type": "array"},
    f.NUMBER: {"type": "number"},
    f.NUMBERS_BY_NAME: {"type": "object", "additionalProperties": {"type": "number"}},
    f.OBJECT: {"type": "object"},
    f.OBJECTS: {"type": "array", "items": {"type": "object"}},
    f.SCALARS_BY_NAME: {
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    },
    f.STOPS: {"type": "array", "items": _STRING, "maxItems": f.MOST_STOPS},
    f.STOP_OR_STOPS: {"type": ["string", "array"], "items": _STRING, "maxItems": f.MOST_STOPS},
    f.STOP_TOKENS: {"type": "array", "items": _INTEGER | {"minimum": 0}, "maxItems": f.MOST_STOPS},
    f.STRING: _STRING,
    f.STRINGS: {"type": "array", "items": _STRING},
    f.STRINGS_BY_NAME: {"type": "object", "additionalProperties": _STRING},
    f.STRING_OBJECTS: {"type": "array", "items": {"type": "object", "additionalProperties": _STRING}},
    f.STRING_OR_LIST: {"type": ["string", "array"]},
    f.STRING_OR_OBJECT: {"type": ["string", "object"]},
    f.STRING_OR_STRINGS: {"type": ["string", "array"], "items": _STRING},
}


def type_schema(wanted: Type) -> Schema:
    """A type in words and, where JSON Schema can say it, formally. Null is the same as no field at all."""
    schema: Schema = {"description": f"{wanted.words[0].upper()}{wanted.words[1:]}."}
    formal = _SCHEMAS.get(wanted)
    if formal is not None:
        types = formal["type"]
        schema |= formal | {"type": [*([types] if isinstance(types, str) else types), "null"]}
    return schema


def object_schema(rules: FieldRules, nested: Nested, at: str = "", kind: str = "") -> Schema:
    """An object by its rules, with those of the arrays in it. ``x-refused`` says why a field is not accepted."""
    properties = {name: type_schema(wanted) for name, wanted in sorted(rules.allowed.items())}
    for name, schema in properties.items():
        if kinds := nested.get(at + name):
            objects = [object_schema(inner, nested, f"{at}{name}.", kind) for kind, inner in kinds.items()]
            schema["items"] = {"anyOf": objects} if len(objects) > 1 else objects[0]
    if kind:
        properties["type"] = {"const": kind}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"x-refused": dict(sorted(rules.refused.items()))} if rules.refused else {})
