"""Decides what first draft of a definition a mapping table gives.

A team fills in the playbook's table before anybody writes YAML; ``topstitch import`` makes a
skeleton of it that has the right shape, with the table's own words where a decision is
still open. What the table cannot say is filled with what is safe: a task for the owner, a
stop on refusal, an undo that has to be named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from topstitch.foundation.errors import RequestError
from topstitch.language.export import MODELINE
from topstitch.language.functions import slug
from topstitch.language.render import HEADERS, TableRow
from topstitch.model.action import Contracts, SystemContract

ROWS_MAX: Final = 200
_COLUMNS: Final = ("step", "system", "action", "payload", "approval", "rollback", "otherwise")


def skeleton_from_table(text: str, contracts: Contracts | None = None, title: str = "Imported workflow") -> str:
    """Return a definition, as YAML text, that has the right shape; raise ``RequestError`` when the text is no table."""
    rows = read_table(text)
    writer = _Writer(contracts or {})
    trigger, steps = _split(rows)
    data = writer.definition(title, trigger, steps)
    body = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120).replace("\n  'on': ", "\n  on: ", 1)
    open_words = [f"#   {row.step}: {row.approval} | {row.rollback}" for row in steps if row.approval or row.rollback]
    notes = ["# Imported from a mapping table. What the table says of approvals and rollbacks:", *open_words]
    return "\n".join([MODELINE, *notes, body])


def read_table(text: str) -> tuple[TableRow, ...]:
    """Read a Markdown table with the playbook's columns."""
    lines, columns = _first_table(text)
    if len(lines) < 3 or len(lines) > ROWS_MAX:
        raise RequestError(
            "table", "this is no mapping table; give a Markdown table with the columns " + ", ".join(HEADERS[:6])
        )
    rows = []
    for line in lines[2:]:
        named = dict(zip(columns, _cells(line), strict=False))
        rows.append(TableRow(**{name: named.get(name, "") for name in _COLUMNS}))
    return tuple(rows)


def _first_table(text: str) -> tuple[list[str], list[str]]:
    """Return the lines and the columns of the first table that has steps, systems and actions."""
    lines = [line.strip() for line in text.splitlines()]
    for start, line in enumerate(lines):
        columns = [_column(cell) for cell in _cells(line)] if line.startswith("|") else []
        if {"step", "system", "action"} <= set(columns):
            end = next((at for at in range(start, len(lines)) if not lines[at].startswith("|")), len(lines))
            return lines[start:end], columns
    return [], []


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _column(header: str) -> str:
    words = header.lower()
    for name, start in (
        ("step", "step"),
        ("system", "system"),
        ("action", "action"),
        ("payload", "data"),
        ("approval", "approval"),
        ("rollback", "rollback"),
    ):
        if words.startswith(start) or name in words:
            return name
    return "otherwise" if words.startswith("if it") else words


def _split(rows: tuple[TableRow, ...]) -> tuple[TableRow | None, list[TableRow]]:
    """Set apart the trigger and the reconciliation."""
    trigger = next((row for row in rows if "trigger" in row.step.lower() or row.payload.startswith("(event)")), None)
    steps = [row for row in rows if row is not trigger and "reconcil" not in row.step.lower()]
    if not steps:
        raise RequestError("table", "the table has no step between trigger and reconciliation; add one")
    return trigger, steps


class _Writer:
    """Makes the parts of a skeleton; remembers which systems it met."""

    def __init__(self, contracts: Contracts) -> None:
        self.contracts = contracts
        self.systems: dict[str, str] = {}

    def definition(self, title: str, trigger: TableRow | None, rows: list[TableRow]) -> dict[str, Any]:
        start = self._trigger(trigger)
        steps: dict[str, Any] = {}
        for row in rows:
            name = _unique(_ident(_title(row.step), "step"), steps)
            steps[name] = self._step(row, list(steps)[-1:])
        names = list(steps)
        return {
            "workflow": slug(title) or "imported-workflow",
            "version": "0.1.0",
            "title": title,
            "purpose": "To be written: what this process is for, in one sentence.",
            "owner": {"team": "to-be-named"},
            "systems": self.systems,
            "trigger": start,
            "steps": steps,
            "reconcile": self._reconcile(steps),
            "sla": {"complete": {"steps": names, "within": "1d", "excluding": "approval_wait"}},
        }

    def _trigger(self, row: TableRow | None) -> dict[str, Any]:
        if row is None:
            return (
                {"on": "source.event", "one_per": "= trigger.id"}
                if self.systems.setdefault("source", "source@1")
                else {}
            )
        alias = self._alias(row.system)
        first = next(iter(_fields(row.payload.removeprefix("(event)"))), "id")
        return {"on": f"{alias}.{self._name(alias, row.action, events=True)}", "one_per": f"= trigger.{first}"}

    def _step(self, row: TableRow, before: list[str]) -> dict[str, Any]:
        alias = self._alias(row.system)
        step: dict[str, Any] = {
            "title": _title(row.step),
            "do": f"{alias}.{self._name(alias, row.action)}",
            "needs": before,
            "with": {name: f"(to be filled in: {words})" for name, words in _fields(row.payload).items()},
        }
        approval = _approval(row.approval)
        if approval:
            step["approval"] = approval
        step["retry"] = {"attempts": 4}
        step["expect"] = {"none": "to be written: what is read back, and what it must show"}
        step["rollback"] = self._rollback(alias, row.rollback)
        task = {"to": "owner", "title": f"Do by hand: {_title(row.step)}", "due": "1d", "give_up": "3d"}
        step["compensate"] = {"do": [{"task": task}], "then": {"done": "continue", "not_done": "stop"}}
        return step

    def _rollback(self, alias: str, words: str) -> dict[str, Any]:
        plain = words.strip()
        if not plain or re.match(r"(?i)n/?a\b|none\b", plain):
            reason = re.sub(r"(?i)^(n/?a|none)\b[\s:(]*", "", plain).rstrip(")").strip()
            return {"none": reason or "informational"}
        if re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", plain):
            return {"do": plain}
        return {"do": f"{alias}.{_ident(plain, 'undo')}"}

    def _reconcile(self, steps: Mapping[str, Any]) -> dict[str, Any]:
        last = next(reversed(self.systems))
        desk = next((alias for alias in self.systems if "service" in alias or alias == "itsm"), last)
        records = {
            name: {
                "covers": name,
                "read": f"{step['do'].split('.')[0]}.get_record",
                "expect": [{"field": "state", "equals": "to be written", "severity": "high"}],
            }
            for name, step in steps.items()
        }
        task = {"to": "owner", "title": "File the exception by hand", "due": "1d", "give_up": "3d"}
        on_difference = {
            "do": f"{desk}.create_exception",
            "with": {
                "process": "= process.id",
                "summary": "${difference.system}: ${difference.field} differs",
                "severity": "= difference.severity",
            },
            "if_that_fails": {"task": task},
        }
        return {"at": ["T+2h", "T+24h"], "records": records, "on_difference": on_difference}

    def _alias(self, words: str) -> str:
        contract = self._contract(words)
        ref = contract.ref if contract else words if re.fullmatch(r"[a-z][a-z0-9-]*@[0-9]+", words) else None
        ref = ref or f"{slug(re.split(r'[/(]', words)[0]) or 'system'}@1"
        if not ref[0].isalpha():
            ref = f"system-{ref}"
        known = next((alias for alias, other in self.systems.items() if other == ref), None)
        alias = known or _unique(_ident(ref.split("@")[0], "system"), self.systems)
        self.systems[alias] = ref
        return alias

    def _contract(self, words: str) -> SystemContract | None:
        """Return the installed contract whose name or title stands first in the cell."""
        lower = words.lower()
        found = [
            (lower.index(name), each.ref)
            for each in self.contracts.values()
            for name in (each.ref, each.name, each.title.lower())
            if name in lower
        ]
        return self.contracts[min(found)[1]] if found else None

    def _name(self, alias: str, words: str, *, events: bool = False) -> str:
        name = _ident(words, "act")
        contract = self.contracts.get(self.systems[alias])
        known = (contract.events if events else contract.actions) if contract else {}
        return next((each for each in known if name == each or name.startswith(each)), name)


def _title(words: str) -> str:
    return re.sub(r"^\s*[0-9]+[.)]?\s*", "", words).strip() or "Step"


def _ident(words: str, fallback: str) -> str:
    name = "_".join(slug(words).replace("-", "_").split("_")[:6])
    return name if re.match(r"[a-z]", name) else f"{fallback}_{name}".rstrip("_")


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    number, candidate = 2, name
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _fields(words: str) -> dict[str, str]:
    """Read ``Employee ID, name (if any)`` as field names and the words for them."""
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", words)]
    return {_ident(re.sub(r"\(.*?\)", "", part), "field"): part for part in parts if slug(part)}


def _approval(words: str) -> dict[str, Any] | None:
    plain = words.strip()
    if not plain or plain.lower().startswith("none"):
        return None
    shown = re.fullmatch(
        r"(?:automatic when `(?P<auto>.+)`; else )?(?P<who>\S+), (?P<quorum>[1-5]) of them, "
        r"within (?P<end>[0-9]+[smhd])",
        plain,
    )
    gate: dict[str, Any] = {"from": "owner", "give_up": "24h"}
    approval: dict[str, Any] = {}
    if shown:
        gate = {"from": shown["who"], "quorum": int(shown["quorum"]), "give_up": shown["end"]}
        if shown["auto"]:
            approval["auto_when"] = shown["auto"]
    elif re.search(r"(?i)\bmanager\b", plain):
        gate["from"] = "manager_of(subject)"
    return {
        **approval,
        "otherwise": gate,
        "refused": {"then": "stop", "tell": ["owner"]},
        "unanswered": {"then": "stop", "tell": ["owner"]},
    }
