"""G-05: every address and every command has a rule, is refused without one, and asks it before it does anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from browser.seeded import seed
from browser.site import ask, hands_for
from topstitch.access.guard import Guard, every_route, needs, protect, rule_of
from topstitch.api.app import RULES_BY_PATH, make_app, refused
from topstitch.cli.rights import RULES as COMMANDS
from topstitch.cli.root import topstitch
from topstitch.console import console_app
from topstitch.console.rights import RULES as PAGES
from topstitch.foundation.clock import SimulatedClock
from topstitch.governance.access import PUBLIC, RIGHTS, ROLES, RULES, SIGNED_IN, Identity, may
from topstitch.store import Store, at_once


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with Store.open("sqlite::memory:") as one:
        at_once(seed(one))
        yield one


def console(store: Store, identity: Identity | None) -> Starlette:
    return console_app(hands_for(store, identify=lambda _connection: identity, sign_in="/sign-in"))


def programs(identity: Identity | None = None) -> Starlette:
    async def identify(_connection: Any) -> Identity | None:
        return identity

    async def scrape() -> str:
        return ""

    intake: Any = None
    guard = Guard(identify=identify, refuse=refused, clock=SimulatedClock())
    return make_app(intake, body_bytes_max=1, standing=dict, scrape=scrape, guard=guard)


def pages(app: Starlette) -> list[tuple[str, str, str]]:
    """Return method, address and rule of every route."""
    found = []
    for path, route in every_route(app.routes):
        assert isinstance(route, (Route, Mount)), path
        rule = rule_of(route)
        assert rule in RULES, f"{path} has no rule"
        methods = sorted((route.methods or set()) - {"HEAD"}) if isinstance(route, Route) else ["GET"]
        found += [(method, path, str(rule)) for method in methods]
    return found


def address(path: str) -> str:
    """Return an address of a route."""
    filled = path.replace("{old}..{new}", "1.0.0..1.0.0")
    for name in ("name", "command", "alias", "source", "target", "version", "provider", "code"):
        filled = filled.replace("{" + name + "}", "x")
    return filled


def test_G05_every_page_of_the_console_has_a_rule(store: Store) -> None:
    found = pages(console(store, None))
    assert {(method, path) for method, path, _ in found} == set(PAGES)


def test_G05_every_address_for_programs_has_a_rule() -> None:
    assert {path for _, path, _ in pages(programs())} | {"/hooks/slack/interactivity"} == set(RULES_BY_PATH)


async def test_G05_nobody_gets_past_any_rule_that_is_not_public(store: Store) -> None:
    nobody = console(store, None)
    for method, path, rule in pages(nobody):
        answer = await ask(nobody, address(path), method=method)
        if rule != PUBLIC:
            assert answer.status in (303, 401), (method, path)
            assert answer.status == 401 or answer.headers["location"].startswith("/sign-in"), (method, path)
    doors = programs()
    for method, path, rule in pages(doors):
        if rule != PUBLIC:
            assert (await ask(doors, address(path), method=method)).status == 401, path


@pytest.mark.parametrize("role", [None, *ROLES])
async def test_G05_each_role_passes_the_rules_it_gives_and_no_other(store: Store, role: str | None) -> None:
    identity = Identity(id="x", roles=(role,) if role else (), via="token")
    app = console(store, identity)
    for method, path, rule in pages(app):
        if rule in (PUBLIC, SIGNED_IN) or may(identity, rule):
            continue
        answer = await ask(app, address(path), method=method)
        assert answer.status == 403, (role, method, path, rule)
        assert "may not do this" in answer.text


async def test_an_address_without_a_rule_is_refused_at_run_time_whoever_asks(store: Store) -> None:
    async def forgotten(_request: Request) -> Response:
        return PlainTextResponse("the secret")

    routes: list[BaseRoute] = [Route("/forgotten", forgotten)]

    async def somebody(_connection: Any) -> Identity | None:
        return Identity(id="root", roles=ROLES, via="token")

    protect(routes, Guard(identify=somebody, refuse=refused, clock=SimulatedClock()))
    answer = await ask(Starlette(routes=routes), "/forgotten")
    assert answer.status == 403
    assert "secret" not in answer.text
    assert "no rule" in answer.json["detail"]


def test_a_rule_that_is_none_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="no rule"):
        needs("moon.land")


def commands(group: click.Group, path: list[str]) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        assert one is not None
        if isinstance(one, click.Group):
            yield from commands(one, [*path, name])
        else:
            yield " ".join([*path, name])


def test_G05_every_command_has_a_rule_and_every_rule_a_command() -> None:
    assert set(commands(topstitch, [])) == set(COMMANDS)
    assert set(COMMANDS.values()) <= RULES


def test_every_right_is_asked_for_by_some_door(store: Store) -> None:
    asked = {rule for _, _, rule in pages(console(store, None))} | set(COMMANDS.values()) | set(RULES_BY_PATH.values())
    unasked = set(RIGHTS) - asked
    assert unasked <= SPOKEN_FOR_ELSEWHERE, unasked - SPOKEN_FOR_ELSEWHERE


SPOKEN_FOR_ELSEWHERE = {
    # by the mounted API alone, whose own tests walk it
    "comments.write", "connectors.manage", "definitions.write", "delegations.own", "discrepancies.handle",
    "instances.start", "settings.manage", "settings.read", "tokens.manage", "webhooks.manage", "webhooks.read",
}  # fmt: skip
