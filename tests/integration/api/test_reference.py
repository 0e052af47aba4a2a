"""The API's document is kept as a snapshot, and its reference page is our own: no script, nothing from elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.routing import APIRoute

from integration.api.programs import Programs
from topstitch.access.guard import rule_of
from topstitch.api.reference import POLICY, operations, reference_page, rendered
from topstitch.connectors.signing import new_key, new_secret, public_of, signed
from topstitch.foundation.canonical import parse
from topstitch.foundation.clock import SimulatedClock

SNAPSHOT = Path(__file__).parents[2] / "snapshots" / "openapi.json"
UPDATE = "TOPSTITCH_UPDATE_SNAPSHOTS"


def document(programs: Programs) -> dict[str, Any]:
    found: dict[str, Any] = programs.app.openapi()
    return found


def test_the_document_is_the_one_that_was_looked_at(told: Programs):
    text = orjson.dumps(document(told), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"
    if os.environ.get(UPDATE):
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert SNAPSHOT.read_text(encoding="utf-8") == text, f"the API has changed; look, then run with {UPDATE}=1"


async def test_the_server_gives_its_document_and_it_is_3_1(told: Programs):
    answer = await told.get("/openapi.json")
    assert (answer.status, answer.json["openapi"][:3]) == (200, "3.1")
    assert answer.json == parse(orjson.dumps(document(told)))


def test_every_operation_says_its_right_its_key_and_one_shape_of_errors(told: Programs):
    rules = {
        (route.path, next(iter(route.methods))): rule_of(route)
        for route in told.app.routes
        if isinstance(route, APIRoute)
    }
    for path, methods in document(told)["paths"].items():
        for method, one in methods.items():
            if path == "/events":
                continue
            assert one["x-right"] == rules[path, method.upper()]
            assert one["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
            assert "422" not in one["responses"]
            names = {each["name"] for each in one.get("parameters", ())}
            assert ("x-idempotency" in one) is ("Idempotency-Key" in names)


def test_no_page_of_fastapi_is_served(told: Programs):
    paths = {getattr(route, "path", "") for route in told.app.routes}
    assert not paths & {"/docs", "/redoc", "/docs/oauth2-redirect"}


async def ask(app: Any, path: str) -> tuple[int, dict[str, str], str]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
        "headers": [], "scheme": "http", "server": ("x", 80), "client": ("x", 1), "http_version": "1.1",
    }  # fmt: skip
    await app(scope, lambda: None, send)
    headers = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(m.get("body", b"") for m in sent[1:]).decode()


async def test_the_reference_page_has_no_script_and_loads_nothing_from_elsewhere(told: Programs):
    status, headers, page = await ask(reference_page(told.app), "/")
    assert (status, headers["content-security-policy"]) == (200, POLICY)
    assert "script" not in POLICY
    assert not re.search(r"<script|<style|\son[a-z]+=|\sstyle=|javascript:", page)
    sources = re.findall(r'(?:href|src)="([^"#][^"]*)"', page)
    assert all(one.startswith("/") for one in sources)
    status, headers, style = await ask(reference_page(told.app), "/reference.css")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/css")
    assert "url(" not in style


def test_each_operation_is_told_with_curl_python_and_where_there_is_one_the_command(told: Programs):
    page = rendered(document(told))
    found = list(operations(document(told)))
    assert len(found) > 70
    for one in found:
        assert f'id="{one["id"]}"' in page
        compile(one["python"], one["id"], "exec")
        assert one["curl"].startswith("curl")
    assert len({one["id"] for one in found}) == len(found)
    assert sum(1 for one in found if one["command"]) > 25


def test_every_command_that_the_reference_names_exists(told: Programs):
    from topstitch.cli.root import topstitch

    for one in operations(document(told)):
        words = (one["command"] or "topstitch").split()[1:]
        command: Any = topstitch
        for word in words:
            if not hasattr(command, "get_command") or not word.islower():
                break
            following = command.get_command(None, word)
            assert following is not None, f"{one['path']}: topstitch has no command {' '.join(words)}"
            command = following


def test_every_operation_and_every_type_of_event_is_documented(told: Programs):
    docs = Path(__file__).parents[3] / "docs"
    page = (docs / "reference" / "http-api.md").read_text(encoding="utf-8")
    wanted = [f"`{one['method']} {one['path'].removeprefix('/api/v1')}`" for one in operations(document(told))]
    assert [each for each in wanted if each not in page] == [], "add these to docs/reference/http-api.md"
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert [each for each in listed if f"`{each}`" not in wanted] == [], "these are no more"


def test_the_receiver_in_the_docs_takes_what_we_sign(monkeypatch: pytest.MonkeyPatch):
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "receive-webhooks.md").read_text(encoding="utf-8")
    names, asymmetric = dict[str, Any](), dict[str, Any]()
    exec(page.split("```python\n")[1].split("```")[0], names)  # noqa: S102 -- the docs' own example
    exec(page.split("```python\n")[2].split("```")[0], asymmetric)  # noqa: S102 -- the docs' own example
    now = SimulatedClock().now()
    monkeypatch.setattr(names["time"], "time", now.timestamp)
    old, new = new_secret(), new_secret()
    headers = signed("evt_1", now, b"{}", [new, old])
    assert names["is_genuine"](headers, b"{}", old)
    assert names["is_genuine"](headers, b"{}", new)
    assert not names["is_genuine"](headers, b"{ }", new)
    was, key = new_key(), new_key()
    headers = signed("evt_1", now, b"{}", [key, new, was])
    for public in (public_of(was), public_of(key)):
        assert asymmetric["is_genuine"](headers, b"{}", public)
        assert not asymmetric["is_genuine"](headers, b"{ }", public)
    assert not asymmetric["is_genuine"](headers, b"{}", public_of(new_key()))
    assert names["is_genuine"](headers, b"{}", new)
