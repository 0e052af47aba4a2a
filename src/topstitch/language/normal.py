"""Decides when two definitions are the same: the normal form, and its digest.

Comments, spacing, the order of keys and written-out defaults do not change it. ``publish``
stores the form and names the version by the digest; an instance is pinned to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import OperatorError
from topstitch.language.schema import Workflow

FORMAT: Final = 1
"""The format of stored definitions. A new one comes with an upgrade from the one before."""


def normal_form(workflow: Workflow) -> dict[str, Any]:
    """Return the definition as data, defaults filled in, what is absent left out."""
    return {"format": FORMAT, **workflow.model_dump(mode="json", by_alias=True, exclude_none=True)}


def definition_digest(workflow: Workflow) -> str:
    """Return ``sha256:<hex>`` of the normal form."""
    return digest(normal_form(workflow))


def workflow_from_normal(data: Mapping[str, Any]) -> Workflow:
    """Return the definition that was stored in normal form; raise ``OperatorError`` for a format not known here."""
    stored = data.get("format")
    if stored != FORMAT:
        raise OperatorError(
            "definition-format",
            f"a stored definition has format {stored}; this program reads {FORMAT}: install the version that wrote it",
        )
    body = {key: value for key, value in data.items() if key != "format"}
    return Workflow.model_validate(body, strict=True, by_alias=True, by_name=False)
