"""Decides the JSON Schema that a typed model is shown as.

Flat, without titles and references, so that people and the language's checker read it as
it stands: an optional field is one that is not required, never a union with null. Used by
``contract`` when a connector is defined; nothing is computed per call.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pydantic import BaseModel

from topstitch.foundation.money import parse_money


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model, references resolved."""
    schema = model.model_json_schema()
    flat: dict[str, Any] = _flat(schema, schema.get("$defs", {}))
    flat.setdefault("type", "object")
    flat.setdefault("properties", {})
    flat.pop("description", None)
    return flat


def check_money(text: str) -> str:
    """Return ``text`` if it is an amount of money, else raise ``ValueError``."""
    parse_money(text)
    return text


def check_date(text: str) -> str:
    """Return ``text`` if it is a day, else raise ``ValueError``."""
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a date; write it as 2026-11-23") from None
    return text


def _flat(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_flat(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _flat({**target, **{k: v for k, v in node.items() if k != "$ref"}}, definitions)
    node = _without_null(node)
    kept = {k: v for k, v in node.items() if k != "$defs" and not (k == "title" and isinstance(v, str))}
    if kept.get("default", ...) is None:
        kept.pop("default")
    return {k: _properties(v, definitions) if k == "properties" else _flat(v, definitions) for k, v in kept.items()}


def _properties(properties: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _flat(schema, definitions) for name, schema in properties.items()}


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != 1:
        return node
    return {**{k: v for k, v in node.items() if k != "anyOf"}, **options[0]}
