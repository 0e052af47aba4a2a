"""Decides how the options of ``instances`` are said in the one search language, for a page or a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topstitch.foundation.errors import RequestError


def search_of(given: Mapping[str, Any]) -> str:
    """Return the search that finds what the options ask for; raise when none does."""
    from topstitch.model.query import STATES, parse_query

    text = str(given["query"] or "")
    if text and (given["workflow"] or given["statuses"] or given["key"]):
        message = "say it all in the search: workflow:NAME, state:STATE and key:KEY can stand in -q"
        raise RequestError("query-and-options", message)
    statuses = given["statuses"]
    if statuses and (len(statuses) > 1 or STATES.get(statuses[0]) != (statuses[0],)):
        message = (
            f"no search finds --status {', '.join(statuses)} alone; say -q state:STATE, one of {', '.join(STATES)}"
        )
        raise RequestError("query-value", message)
    asked = (("workflow", given["workflow"]), ("state", statuses[0] if statuses else None), ("key", given["key"]))
    for field, value in asked:
        if value:
            text = parse_query(text).with_term(field, value)
    return text
