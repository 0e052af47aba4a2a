"""Decides what CEL type stands for a JSON Schema, and whether a value fits one.

CEL checks the fields of protobuf messages only, so each record of a connector becomes a
message in memory. ``scopes`` builds environments from the types, ``payloads`` compares an
expression's type with what an action wants. Nothing here evaluates an expression.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2

from topstitch.foundation.money import parse_money
from topstitch.language.cel import MONEY_TYPE, Type
from topstitch.model.action import JsonSchema

_Field = descriptor_pb2.FieldDescriptorProto
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DYN: Final = "dyn"
_PACKAGE: Final = "topstitch"


class Shapes:
    """The message types of one document, and the schema behind each."""

    def __init__(self) -> None:
        self.schemas: dict[str, JsonSchema] = {}
        self._names: dict[int, str] = {}
        self._kept: list[JsonSchema] = []
        self.pool: Any = descriptor_pool.DescriptorPool()
        struct_file = descriptor_pb2.FileDescriptorProto()
        struct_pb2.DESCRIPTOR.CopyToProto(struct_file)
        self.pool.Add(struct_file)
        self._file = descriptor_pb2.FileDescriptorProto(
            name="topstitch_definition.proto",
            package=_PACKAGE,
            syntax="proto2",
            dependency=["google/protobuf/struct.proto"],
        )
        self._file.message_type.add(name="Money")
        self._sealed = False

    def seal(self) -> Any:
        """Close the file; from here on no record can be added."""
        if not self._sealed:
            self.pool.Add(self._file)
            self._sealed = True
        return self.pool

    def type_of(self, schema: JsonSchema, hint: str) -> str:
        """Return the CEL type that stands for ``schema``, as text."""
        match kind_of(schema):
            case "money":
                return MONEY_TYPE
            case "array":
                return f"list({self.type_of(schema.get('items', {}), hint)})"
            case "record":
                return self._message(schema, hint)
            case "object":
                return "map(string, dyn)"
            case kind:
                return {"string": "string", "boolean": "bool", "integer": "int"}.get(kind, DYN)

    def cel_type(self, text: str) -> Type:
        """Return the runtime's type for a type written as text."""
        if inner := re.fullmatch(r"list\((.*)\)", text):
            return Type.List(self.cel_type(inner[1]))
        if text == "map(string, dyn)":
            return Type.Map(Type.STRING, Type.DYN)
        return {"string": Type.STRING, "bool": Type.BOOL, "int": Type.INT, DYN: Type.DYN}.get(text) or Type(text)

    def _message(self, schema: JsonSchema, hint: str) -> str:
        if known := self._names.get(id(schema)):
            return known
        name = f"{_PACKAGE}.{hint}_{len(self.schemas)}"
        self._names[id(schema)] = name
        self._kept.append(schema)  # the id stays its own as long as the schema lives
        self.schemas[name] = schema
        message = self._file.message_type.add(name=name.removeprefix(_PACKAGE + "."))
        for number, (field_name, field_schema) in enumerate(schema["properties"].items(), 1):
            self._field(message.field.add(name=field_name, number=number), field_schema, f"{hint}_{field_name}")
        return name

    def _field(self, field: Any, schema: JsonSchema, hint: str) -> None:
        kind = kind_of(schema)
        repeated = kind == "array"
        if repeated:
            schema = schema.get("items", {})
            kind = kind_of(schema)
        field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
            return
        field.type = _Field.TYPE_MESSAGE
        if kind == "money":
            field.type_name = "." + MONEY_TYPE
        elif kind == "record":
            field.type_name = "." + self._message(schema, hint)
        elif kind == "object" and not repeated:
            field.type_name = ".google.protobuf.Struct"
        else:
            field.type_name = ".google.protobuf.Value"


_SCALARS: Final = {"string": _Field.TYPE_STRING, "boolean": _Field.TYPE_BOOL, "integer": _Field.TYPE_INT64}


def kind_of(schema: JsonSchema) -> str:
    """Return string, money, boolean, integer, number, array, record (its fields known), object or any."""
    named = schema.get("type")
    if named == "string":
        return "money" if schema.get("format") == "money" else "string"
    if named == "object" or (named is None and "properties" in schema):
        properties = schema.get("properties")
        return "record" if properties and all(_IDENTIFIER.fullmatch(name) for name in properties) else "object"
    if named is None and schema.get("enum") and all(isinstance(value, str) for value in schema["enum"]):
        return "string"
    return named if named in ("boolean", "integer", "number", "array") else "any"


def words_of(schema: JsonSchema) -> str:
    """Say in an author's words what a schema wants."""
    match kind_of(schema):
        case "string" if schema.get("enum"):
            return "one of " + ", ".join(str(value) for value in schema["enum"])
        case "string":
            return {"date": "a date", "date-time": "a time"}.get(schema.get("format", ""), "text")
        case "array":
            items = schema.get("items")
            return f"a list of {words_of(items)}" if items else "a list"
        case kind:
            return _WORDS.get(kind, "anything")


_WORDS: Final = {
    "money": "money",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "record": "a record",
    "object": "a record",
}


def fits(cel_name: str, schema: JsonSchema, shapes: Shapes) -> bool:
    """Whether a value of the CEL type can be given where ``schema`` is wanted."""
    kind, name = kind_of(schema), cel_name
    if kind == "any" or name.upper() in ("DYN", "ERROR") or name == "google.protobuf.Value":
        return True
    if inner := re.fullmatch(r"LIST<(.*)>", name, re.IGNORECASE):
        return kind == "array" and fits(inner[1], schema.get("items", {}), shapes)
    if name in shapes.schemas:
        return _record_fits(shapes.schemas[name], schema, shapes)
    if name.upper().startswith("MAP<"):
        return kind in ("object", "record")
    if name == MONEY_TYPE:
        return kind == "money" or (kind == "string" and not schema.get("enum") and not schema.get("format"))
    return kind in _TAKES.get(name.upper(), ())


_TAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "STRING": ("string",),
    "INT": ("integer", "number"),
    "UINT": ("integer", "number"),
    "DOUBLE": ("number",),
    "BOOL": ("boolean",),
    "TIMESTAMP": ("string",),
}


def _record_fits(given: JsonSchema, wanted: JsonSchema, shapes: Shapes) -> bool:
    if kind_of(wanted) == "object":
        return True
    if kind_of(wanted) != "record":
        return False
    have, want = given["properties"], wanted["properties"]
    needed = set(wanted.get("required", ()))
    return needed <= set(have) and all(
        schema_fits(have[name], want[name], shapes) for name in have.keys() & want.keys()
    )


def schema_fits(given: JsonSchema, wanted: JsonSchema, shapes: Shapes) -> bool:
    """Whether every value of one schema can be given where another is wanted, as far as types tell."""
    mine, other = kind_of(given), kind_of(wanted)
    if "any" in (mine, other):
        return True
    if mine == "array" and other == "array":
        return schema_fits(given.get("items", {}), wanted.get("items", {}), shapes)
    if mine in ("record", "object") and other in ("record", "object"):
        return mine == "object" or _record_fits(given, wanted, shapes)
    return mine == other or (mine, other) in (("integer", "number"), ("money", "string"))


def literal_trouble(value: Any, schema: JsonSchema) -> str | None:
    """Say what a written value is, if it is not what ``schema`` wants; ``None`` when it fits."""
    kind = kind_of(schema)
    if kind == "any":
        return None
    if value is None:
        return "empty"
    said = _kind_of_value(value)
    if isinstance(value, str):
        return _text_trouble(value, schema, kind)
    if isinstance(value, bool):
        return None if kind == "boolean" else said
    if isinstance(value, int):
        if kind in ("integer", "number"):
            low, high = schema.get("minimum"), schema.get("maximum")
            out = (low is not None and value < low) or (high is not None and value > high)
            return f"{value}, outside of {low} to {high}" if out else None
        return said
    if isinstance(value, list):
        return None if kind == "array" else said
    return None if kind in ("record", "object") else said


def _text_trouble(value: str, schema: JsonSchema, kind: str) -> str | None:
    if kind == "money":
        try:
            parse_money(value)
        except ValueError:
            return f"'{value}', which is no amount; write it as 2499.99 USD"
        return None
    if kind == "number" and re.fullmatch(r"-?[0-9]+\.[0-9]+", value):
        return f"text; write '= {value}'"
    if kind != "string":
        return "text"
    if schema.get("enum") and value not in schema["enum"]:
        return f"'{value}'"
    if schema.get("format") == "date" and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return f"'{value}', which is no date; write it as 2026-11-23"
    return None


def _kind_of_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, list):
        return "a list"
    return "a record" if isinstance(value, dict) else "text"
