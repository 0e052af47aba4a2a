"""The rows of the simulated ServiceNow's tables: inserted, queried, shown.

``servicenow`` and ``servicenow_catalog`` share it. It answers no calls itself; it only reads from
a call how a row is to be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from topstitch.foundation.ids import random_bytes
from topstitch.simulators import glide
from topstitch.simulators.servicenow_tables import COLUMNS, NUMBERS, REFERENCES, STATE_LABELS
from topstitch.simulators.simulator import Simulator
from topstitch.simulators.state import Json
from topstitch.simulators.wire import Call

_SYSTEM: Final = frozenset({"sys_id", "sys_created_on", "sys_updated_on", "sys_created_by", "sys_mod_count"})


class Rows:
    """The rows of one instance."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._records = simulator.records

    def select(self, table: str, query: str) -> list[Json]:
        """Return the rows of a table that an encoded query selects."""
        return glide.select(
            self._records.all(table),
            query,
            self._columns(table),
            lambda row, name: self._reach(table, row, name),
            no_rows_if_invalid=bool(self._simulator.settings["invalid_query_returns_no_rows"]),
        )

    def put_new(self, table: str, fields: Mapping[str, str]) -> Json:
        """Insert a row with its system fields and its number."""
        usual = dict.fromkeys(COLUMNS[table], "")
        if table in NUMBERS:
            prefix, start = NUMBERS[table]
            usual["number"] = f"{prefix}{self._records.number(table, start):07d}"
        return self.put(table, random_bytes(16).hex(), _with_priority(table, {**usual, **_defaults(table), **fields}))

    def put(self, table: str, sys_id: str, fields: Mapping[str, str]) -> Json:
        """Insert a row under a sys_id that is known."""
        stamp = self.stamp()
        made = {"sys_created_on": stamp, "sys_updated_on": stamp, "sys_mod_count": "0"}
        made |= {"sys_id": sys_id, "sys_created_by": str(self._simulator.settings.get("username", ""))}
        return self._records.put(table, sys_id, {**made, **fields})

    def change(self, table: str, row: Json, fields: Mapping[str, str]) -> Json:
        """Change a row and its system fields."""
        count = str(int(row.get("sys_mod_count", "0")) + 1)
        stamped = {**row, **fields, "sys_updated_on": self.stamp(), "sys_mod_count": count}
        return self._records.change(table, row["sys_id"], _with_priority(table, stamped))

    def known_fields(self, table: str, fields: Json) -> dict[str, str]:
        """Return the fields that the table has, as text; the vendor ignores the others."""
        return {name: _text(value) for name, value in fields.items() if name in self._columns(table)}

    def shown(self, table: str, row: Json, call: Call) -> dict[str, Any]:
        """Return a row the way sysparm_fields and sysparm_display_value ask for."""
        names = [name for name in call.query.get("sysparm_fields", "").split(",") if name] or list(row)
        return {name: self._cell(table, row, name, call) for name in names if self._has(table, row, name)}

    def stamp(self) -> str:
        """Return the present as the vendor writes it: UTC, to the second."""
        return f"{self._simulator.clock.now():%Y-%m-%d %H:%M:%S}"

    def _columns(self, table: str) -> set[str]:
        return {*COLUMNS[table], *_SYSTEM, *(self._simulator.settings.get("columns", {}).get(table, []))}

    def _has(self, table: str, row: Json, name: str) -> bool:
        return name in row or name.partition(".")[0] in REFERENCES.get(table, {})

    def _reach(self, table: str, row: Json, name: str) -> Any:
        """Read a column; ``a.b`` walks through the reference ``a``."""
        first, _, rest = name.partition(".")
        if not rest:
            return row.get(first)
        target = REFERENCES.get(table, {}).get(first)
        referred = self._records.get(target, str(row.get(first, ""))) if target else None
        return self._reach(target, referred, rest) if target and referred else ""

    def _cell(self, table: str, row: Json, name: str, call: Call) -> Any:
        mode = call.query.get("sysparm_display_value", "false")
        value = self._reach(table, row, name)
        display = self._display(table, name, value)
        target = REFERENCES.get(table, {}).get(name)
        if mode == "all":
            return {"display_value": display, "value": value or ""}
        if target and value and call.query.get("sysparm_exclude_reference_link") != "true":
            link = f"{call.base_url}/api/now/table/{target}/{value}"
            return {"display_value": display, "link": link} if mode == "true" else {"link": link, "value": value}
        return display if mode == "true" else value

    def _display(self, table: str, name: str, value: Any) -> Any:
        target = REFERENCES.get(table, {}).get(name)
        if target:
            referred = self._records.get(target, str(value or ""))
            return (referred.get("name") or referred.get("number") or value) if referred else value
        return STATE_LABELS.get(table, {}).get(name, {}).get(str(value), value)


def _defaults(table: str) -> dict[str, str]:
    if table == "incident":
        return {"state": "1", "impact": "3", "urgency": "3", "priority": "5", "active": "true"}
    return {"active": "true"} if "active" in COLUMNS[table] else {}


def _with_priority(table: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return a row with the priority that follows from impact and urgency, as the vendor's rule has it."""
    both = (fields.get("impact", ""), fields.get("urgency", ""))
    if table != "incident" or not all(one in {"1", "2", "3"} for one in both):
        return dict(fields)
    return {**fields, "priority": str(int(both[0]) + int(both[1]) - 1)}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
