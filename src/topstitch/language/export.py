"""Decides what editors are told about definitions: the JSON Schema behind the modeline.

``topstitch schema`` prints it; a copy stands beside the shipped examples, and a test holds
the two together.
"""

from __future__ import annotations

import json
from typing import Final

from topstitch.language.schema import Workflow

MODELINE: Final = "# yaml-language-server: $schema=./workflow.v1.schema.json"
"""The first line of a definition: editors check and complete it."""


def schema_json() -> str:
    """Return the JSON Schema (draft 2020-12) of definitions, as the file is written."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Workflow.model_json_schema(by_alias=True)}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
