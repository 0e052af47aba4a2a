"""A system's YAML file is read strictly; every mistake is placed, and what it means is compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest

from topstitch.connectors.contract import CallContext
from topstitch.connectors.declarative.compile import compile_document
from topstitch.connectors.declarative.document import load_document
from topstitch.connectors.declarative.paths import compile_path, compile_template, compile_url
from topstitch.foundation.errors import OperatorError
from topstitch.model.action import Effect, Idempotency, SystemContract

GOOD = """\
system: tracker
version: 2
title: Tracker
kind: ITSM
base_url: https://tracker.example
auth: {type: bearer, credential: token}
code_path: error.code
errors:
  - {status: 422, code: busy, class: transient}
actions:
  create_ticket:
    effect: write
    idempotency: {class: unique, header: X-Key}
    lookup: find_ticket
    undo: close_ticket
    settle: 30s
    input:
      summary: {personal: true}
      labels: {type: list}
      price: {type: money, optional: true}
    request:
      method: POST
      path: /tickets
      body: {summary: "{input.summary}", labels: "{input.labels}", price: "{input.price}"}
    output:
      ticket_id: {from: id}
      state: {from: fields.state, one_of: [open, closed], map: {"1": open, "2": closed}}
  find_ticket:
    effect: read
    request: {method: GET, path: /tickets, query: {key: "{key}"}}
    pick: {rows: rows, where: {key: "{key}"}}
  close_ticket:
    effect: write
    idempotency: natural
    irreversible: it is opened again by hand
    input: {ticket_id: {}}
    absent_when: [404]
    request: {method: DELETE, path: "/tickets/{input.ticket_id}"}
    output: {ticket_id: {input: ticket_id}}
"""


def contract(tmp_path: Path, text: str) -> SystemContract:
    path = tmp_path / "tracker.yaml"
    path.write_text(text)
    document, where = load_document(path)
    return compile_document(document, where, {})[0]


def test_a_file_becomes_a_contract(tmp_path: Path) -> None:
    made = contract(tmp_path, GOOD)
    create = made.actions["create_ticket"]
    assert made.ref == "tracker@2"
    assert (create.effect, create.idempotency, create.settle_seconds) == (Effect.WRITE, Idempotency.UNIQUE, 30)
    assert create.input["properties"] == {
        "summary": {"type": "string", "x-personal": True},
        "labels": {"type": "array", "items": {"type": "string"}},
        "price": {"type": "string", "format": "money"},
    }
    assert create.input["required"] == ["summary", "labels"]
    assert create.output["properties"]["state"] == {"type": "string", "enum": ["open", "closed"]}
    assert made.actions["find_ticket"].input == create.input
    assert made.actions["find_ticket"].output == create.output


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "said"),
    [
        ("kind: ITSM", "knd: ITSM", 4, 1, "knd: is not known"),
        ("system: tracker\n", "", 1, 1, "system: is missing"),
        ("  create_ticket:\n    effect: write", "  create_ticket:\n    efect: write", 12, 5, "efect"),
        ("method: POST", "method: SEND", 22, 7, "method"),
        ("path: /tickets\n", "path: tickets\n", 23, 7, "path"),
        ("{input.summary}", "{input.sumary}", 24, 7, "{input.sumary} names nothing"),
        ("{from: fields.state,", "{from: fields..state,", 27, 15, "is no path"),
        ("    undo: close_ticket\n", "", 11, 3, "neither undo nor irreversible"),
        ("undo: close_ticket", "undo: close_tickets", 15, 5, "close_tickets is no write"),
        ("lookup: find_ticket", "lookup: close_ticket", 14, 5, "close_ticket is no read"),
        ("settle: 30s", "settle: soon", 16, 5, "settle"),
        ("labels: {type: list}", "labels: {type: array}", 19, 16, "type"),
        ("code_path: error.code\n", "", 8, 19, "code_path is not said"),
        ("{status: 422, code: busy, class: transient}", "{class: transient}", 9, 5, "fits every answer"),
        ("title: Tracker", "title: Tracker\ntitle: Twice", 4, 1, "title: stands twice"),
        ("kind: ITSM", "kind: &a ITSM", 1, 1, "anchors"),
        ("kind: ITSM", "kind: !!python/name:os.system x", 4, 1, "tag"),
        ("kind: ITSM", "kind: [ITSM", 5, 9, "correct the YAML"),
    ],
)
def test_each_mistake_is_placed(tmp_path: Path, old: str, new: str, line: int, column: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(OperatorError) as caught:
        contract(tmp_path, GOOD.replace(old, new, 1))
    place = f"{tmp_path / 'tracker.yaml'}:{line}:{column}: "
    assert (caught.value.message[: len(place)], said in caught.value.message) == (place, True), caught.value.message


def test_a_native_key_that_is_sent_nowhere_is_refused(tmp_path: Path) -> None:
    text = GOOD.replace("idempotency: {class: unique, header: X-Key}", "idempotency: native_key")
    with pytest.raises(OperatorError, match="key is sent nowhere"):
        contract(tmp_path, text)


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(OperatorError):
        load_document(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", {"a": {"b": [{"c": 1}, {"c": 2}]}, "x-y": 3}),
        ("a.b.1.c", 2),
        ("a.b[].c", [1, 2]),
        ("x-y", 3),
        ("a.b.7.c", None),
        ("a.nothing.at.all", None),
        ("x-y.deeper", None),
        ("a[].c", None),
    ],
)
def test_a_path_finds_its_value_or_nothing(path: str, found: object) -> None:
    assert compile_path(path)({"a": {"b": [{"c": 1}, {"c": 2}]}, "x-y": 3}) == found


@pytest.mark.parametrize("path", ["", "a..b", ".a", "a b", "a[0]"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        compile_path(path)


def test_templates_keep_types_leave_out_what_is_not_given_and_quote_addresses() -> None:
    known, call = frozenset({"n", "who", "none"}), CallContext("ins_1:step", "ins_1")
    template = {
        "n": "{input.n}",
        "t": "n={input.n}/{setting.s}",
        "none": "{input.none}",
        "k": ["{key}", "{input.none}", 7],
    }
    fill = compile_template(template, {"s": "fixed"}, known)
    assert fill({"n": 3, "none": None}, call) == {"n": 3, "t": "n=3/fixed", "k": ["ins_1:step", 7]}
    url = compile_url("/u/{input.who}/x", {}, known)
    assert url({"who": "a b/c@d"}, call) == "/u/a%20b%2Fc%40d/x"
