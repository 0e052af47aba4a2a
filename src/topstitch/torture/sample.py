"""Makes a value that a JSON Schema allows: what a simulated system answers, what a trigger carries.

Called by ``arrange``. The same schema gives the same value; nothing here is random.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FORMATS: Final = {
    "money": "10.00 USD",
    "date": "2026-02-02",
    "date-time": "2026-02-02T09:00:00.000Z",
    "email": "someone@example.com",
    "uri": "https://example.com/x",
}
LIST_LENGTH: Final = 2
DEPTH_MAX: Final = 8
"""Levels of nesting; a schema that goes deeper gets nothing there."""


def sample(schema: Mapping[str, Any], name: str = "value", depth: int = 0) -> Any:
    """Return a value of the schema with every field filled in, optional ones too."""
    if depth > DEPTH_MAX:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return sample(schema[choice][0], name, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    match kind:
        case "object":
            return {key: sample(part, key, depth + 1) for key, part in (schema.get("properties") or {}).items()}
        case "array":
            return [sample(schema.get("items") or {}, f"{name}{index}", depth + 1) for index in range(LIST_LENGTH)]
        case "boolean":
            return True
        case "integer" | "number":
            return int(schema.get("minimum", 1))
        case "null":
            return None
        case _:
            return FORMATS.get(schema.get("format", ""), f"{name}-x")
