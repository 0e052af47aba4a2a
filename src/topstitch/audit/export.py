"""Decides how the trail is written for other programs: JSON lines, OCSF, CSV.

JSON lines are the truth: each holds a record's exact text, which can be cut out and hashed
again. OCSF is a mapping of what security tools understand (API Activity for what was done in
systems, Entity Management for approvals), pinned to one version, because the meaning of
fields moved between them; what has no class is left out. CSV is for spreadsheets. Personal
values stay commitments in all three.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import orjson

from topstitch.foundation.canonical import canonical_bytes
from topstitch.model.kinds import Kind
from topstitch.store.ledger_reader import StoredRecord

OCSF_VERSION: Final = "1.3.0"
COLUMNS: Final = ("leaf", "instance", "seq", "at", "stage", "step", "kind", "actor_kind", "actor", "hash", "body")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

Placed = Iterable[tuple[StoredRecord, int | None]]
"""Records in order, each with its leaf, as the ledger reader gives them."""


class Format(StrEnum):
    """What can be written."""

    JSONL = "jsonl"
    """One record a line, exact."""
    OCSF = "ocsf"
    """Open Cybersecurity Schema Framework events, one a line."""
    CSV = "csv"
    """One record a row."""


def export(records: Placed, form: Format) -> Iterator[str]:
    """Yield the lines of an export, each with its end."""
    yield from {Format.JSONL: _jsonl, Format.OCSF: _ocsf, Format.CSV: _csv}[form](records)


def _jsonl(records: Placed) -> Iterator[str]:
    for record, leaf in records:
        place = "null" if leaf is None else leaf
        yield f'{{"leaf":{place},"hash":"{record.hash}","record":{record.text}}}\n'


def _csv(records: Placed) -> Iterator[str]:
    yield _csv_line(COLUMNS)
    for record, leaf in records:
        value = orjson.loads(record.text)
        kind, _, name = value["actor"].partition(":")
        head = (
            "" if leaf is None else leaf,
            record.instance,
            record.seq,
            value["at"],
            value["stage"],
            value["step"] or "",
        )
        yield _csv_line(
            (*head, value["kind"], kind, _harmless(name), record.hash, canonical_bytes(value["body"]).decode())
        )


def _csv_line(values: Iterable[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(values)
    return out.getvalue()


def _harmless(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


# --- OCSF -------------------------------------------------------------------------------------

_API_ACTIVITY: Final = (6, 6003, "API Activity", "Application Activity")
_ENTITY: Final = (3, 3004, "Entity Management", "Identity & Access Management")
_CREATE, _READ, _UPDATE, _DELETE = (1, "Create"), (2, "Read"), (3, "Update"), (4, "Delete")
_SUCCESS, _FAILURE, _UNKNOWN = (1, "Success"), (2, "Failure"), (0, "Unknown")
_INFORMATIONAL, _MEDIUM = (1, "Informational"), (3, "Medium")
_ANSWERS: Final = {"ok": _SUCCESS, "unknown": _UNKNOWN}


def _ocsf(records: Placed) -> Iterator[str]:
    sent: dict[tuple[str, str], Mapping[str, Any]] = {}
    for record, _ in records:
        if record.kind == Kind.ACT_INTENT:
            body = orjson.loads(record.text)["body"]
            sent[record.instance, body["act"]] = {"system": body.get("system"), "action": body.get("action")}
        maker = _OCSF.get(record.kind)
        if maker is not None:
            value = orjson.loads(record.text)
            if record.kind == Kind.ACT_RESULT:  # which system and action it answers, the intent before it says
                value["body"] = {**sent.pop((record.instance, value["body"]["act"]), {}), **value["body"]}
            event = maker(value)
            yield canonical_bytes({**event, **_common(record)}).decode() + "\n"


def _common(record: StoredRecord) -> dict[str, Any]:
    value = orjson.loads(record.text)
    return {
        "time": record.at_ms,
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Topstitch", "vendor_name": "Topstitch"},
            "uid": record.hash,
            "correlation_uid": record.instance,
            "original_time": value["at"],
            "sequence": record.seq,
        },
        "actor": _actor(value["actor"]),
        "unmapped": {"stage": value["stage"], "step": value["step"], "kind": value["kind"]},
    }


def _actor(text: str) -> dict[str, Any]:
    kind, _, name = text.partition(":")
    if kind == "human":
        return {"user": {"uid": name, "type": "User", "type_id": 1}}
    return {"app_name": text, "user": {"uid": text, "type": "System", "type_id": 3}}


def _class(kind: tuple[int, int, str, str], activity: tuple[int, str], status: tuple[int, str]) -> dict[str, Any]:
    category, uid, name, category_name = kind
    severity = _MEDIUM if status is _FAILURE else _INFORMATIONAL
    return {
        "category_uid": category,
        "category_name": category_name,
        "class_uid": uid,
        "class_name": name,
        "activity_id": activity[0],
        "activity_name": activity[1],
        "type_uid": uid * 100 + activity[0],
        "type_name": f"{name}: {activity[1]}",
        "severity_id": severity[0],
        "severity": severity[1],
        "status_id": status[0],
        "status": status[1],
    }


def _api(body: Mapping[str, Any], activity: tuple[int, str], status: tuple[int, str], operation: str) -> dict[str, Any]:
    resource = {"uid": body["record"]} if isinstance(body.get("record"), str) else None
    return {
        **_class(_API_ACTIVITY, activity, status),
        "api": {"operation": operation, "service": {"name": str(body.get("system") or "")}},
        "src_endpoint": {"name": "topstitch"},
        **({"resources": [resource]} if resource else {}),
        **({"duration": body["duration_ms"]} if isinstance(body.get("duration_ms"), int) else {}),
    }


def _context_read(value: Mapping[str, Any]) -> dict[str, Any]:
    return _api(value["body"], _READ, _SUCCESS, str(value["body"].get("action")))


def _context_failed(value: Mapping[str, Any]) -> dict[str, Any]:
    return _api(value["body"], _READ, _FAILURE, str(value["body"].get("action")))


def _result(value: Mapping[str, Any]) -> dict[str, Any]:
    body = value["body"]
    activity = _DELETE if str(body.get("act", "")).endswith("/undo") else _UPDATE
    return _api(body, activity, _ANSWERS.get(str(body.get("result")), _FAILURE), str(body.get("action") or body["act"]))


def _entity(
    kind: str, key: str, activity: tuple[int, str], said: str | None
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def make(value: Mapping[str, Any]) -> dict[str, Any]:
        body = value["body"]
        event = {**_class(_ENTITY, activity, _SUCCESS), "entity": {"type": kind, "uid": str(body.get(key))}}
        if said is not None:
            event["message"] = f"{kind} {body.get(said)}"
        if isinstance(body.get("comment"), str):
            event["comment"] = body["comment"]
        return event

    return make


_OCSF: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    Kind.CONTEXT_READ: _context_read,
    Kind.CONTEXT_FAILED: _context_failed,
    Kind.ACT_RESULT: _result,
    Kind.APPROVAL_ASKED: _entity("approval", "approval", _CREATE, None),
    Kind.APPROVAL_ANSWERED: _entity("approval", "approval", _UPDATE, "answer"),
    Kind.APPROVAL_CLOSED: _entity("approval", "approval", _UPDATE, "ending"),
    Kind.CASE_OPENED: _entity("exception case", "case", _CREATE, "cause"),
    Kind.CASE_CLOSED: _entity("exception case", "case", _UPDATE, "how"),
    Kind.ERASED: _entity("personal data", "ground", _DELETE, None),
}
