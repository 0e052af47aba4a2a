"""The commands that ask the HTTP API of a running server, so that whatever it can do is a command too.

``api get PATH`` and ``api post PATH`` print the answer as JSON; a refusal is the server's own problem
document, and its status decides the exit code. The server asks who it is: a token from the
environment, else whoever sits at the server's own machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import click

from topstitch.cli.command import (
    CONFLICT,
    FAILED,
    NOT_ALLOWED,
    NOT_FOUND,
    UNREACHABLE,
    USAGE,
    Door,
    command_of,
    fail,
)
from topstitch.cli.reach import server_of
from topstitch.cli.typed import BASE, TOKEN, address_of, body_of, tag_of
from topstitch.foundation.errors import OperatorError, RequestError

SECONDS_MAX: Final = 30.0
CODES: Final[Mapping[int, int]] = {
    HTTPStatus.UNAUTHORIZED: NOT_ALLOWED,
    HTTPStatus.FORBIDDEN: NOT_ALLOWED,
    HTTPStatus.NOT_FOUND: NOT_FOUND,
    HTTPStatus.GONE: NOT_FOUND,
    HTTPStatus.CONFLICT: CONFLICT,
    HTTPStatus.PRECONDITION_FAILED: CONFLICT,
    HTTPStatus.TOO_MANY_REQUESTS: UNREACHABLE,
    HTTPStatus.SERVICE_UNAVAILABLE: UNREACHABLE,
}
"""The exit code of a status; any other of the caller's is wrong usage, of the server's a failure."""
URL = click.option("--url", metavar="URL", help="Which server. [host and port of the settings]")


@click.group()
def api() -> None:
    """Ask the HTTP API of a running server; see /api/reference there."""


@command_of(api, "get")
@click.argument("path", metavar="PATH")
@URL
def get(door: Door, path: str, url: str | None) -> None:
    """Get what stands at an address, such as '/instances?q=state:waiting', and print it as JSON."""
    _ask(door, "GET", path, url, None, {})


@command_of(api, "post")
@click.argument("path", metavar="PATH")
@click.option("--body", metavar="JSON", help="What is sent: JSON, @FILE, or - for standard input.")
@click.option("--key", metavar="KEY", help="The Idempotency-Key: the same again does it once. [a new one]")
@click.option("--match", metavar="ETAG", help="If-Match: what you looked at, as `api get` notes it.")
@URL
def post(door: Door, path: str, body: str | None, key: str | None, match: str | None, url: str | None) -> None:
    """Post to an address, such as /instances/ins_1/pause, and print the answer as JSON."""
    from topstitch.foundation.clock import SystemClock
    from topstitch.foundation.ids import new_id

    headers = {"Idempotency-Key": key or new_id("cli", SystemClock().now())}
    if match is not None:
        headers["If-Match"] = tag_of(match)
    _ask(door, "POST", path, url, body_of(body), headers)


def _ask(door: Door, method: str, path: str, url: str | None, body: bytes | None, headers: dict[str, str]) -> None:
    from topstitch.foundation.canonical import canonical_bytes, parse

    server = url or server_of(door.settings())
    status, told, text = _sent(server, method, BASE + address_of(path), body, headers)
    if not told.get("content-type", "").partition(";")[0].endswith("json"):
        message = f"{path} answers no JSON ({status} {told.get('content-type', 'nothing')}); correct the address"
        raise RequestError("answer-no-json", message)
    document = parse(text)
    if status < HTTPStatus.BAD_REQUEST:
        door.screen.data(document)
        if not door.screen.as_json:
            sys.stdout.write(canonical_bytes(document).decode() + "\n")
        if "etag" in told and not door.screen.as_json:
            door.screen.note(f"ETag: {told['etag']}")
        return
    _refused(door, status, document)


def _refused(door: Door, status: int, problem: Mapping[str, Any]) -> None:
    """Say why the server refused, in its own words, and end with the code of its status."""
    if door.screen.as_json:
        from topstitch.foundation.canonical import canonical_bytes

        click.echo(canonical_bytes(problem).decode(), err=True)
    else:
        named = door.screen.style("error", fg="red", bold=True, err=True)
        door.screen.note(f"{named}[{problem.get('code', status)}]: {problem.get('detail', problem.get('title', ''))}")
        for one in problem.get("errors", ()):
            door.screen.note(f"  {one.get('pointer', '')}: {one.get('detail', '')}")
    fail(CODES.get(status, FAILED if status >= HTTPStatus.INTERNAL_SERVER_ERROR else USAGE))


def _sent(
    server: str, method: str, address: str, body: bytes | None, headers: Mapping[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """Send one request; return status, headers and body."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    place = urlsplit(server)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise RequestError("url-unclear", f"--url {server} names no server; write it as https://topstitch.example")
    given = {"Accept": "application/json", **headers}
    if token := os.environ.get(TOKEN):
        given["Authorization"] = f"Bearer {token}"
    if body is not None:
        given["Content-Type"] = "application/json"
    try:
        kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
        line = kind(place.hostname, place.port, timeout=SECONDS_MAX)
        try:
            line.request(method, place.path.rstrip("/") + address, body, given)
            answer = line.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            streams = told.get("content-type", "").startswith("text/event-stream")
            return answer.status, told, b"" if streams else answer.read()
        finally:
            line.close()
    except (OSError, HTTPException, ValueError) as error:
        message = f"{server} does not answer ({error}); start topstitch serve there, or correct --url"
        raise OperatorError("server-unreachable", message) from None
