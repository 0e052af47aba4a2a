"""Signing in over a real socket: sessions, their ends, throttling on the injected clock, and no forged posts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from integration.access.conftest import ADMIN, PASSWORD, Site
from topstitch.access.throttle import FREE_PAIR, WAIT_SECONDS_MIN
from topstitch.store import people, sessions


async def test_until_there_are_users_whoever_is_at_this_machine_comes_in(site: Site) -> None:
    async with site.browser() as browser:
        assert (await browser.get("/instances")).status == 200
        rebound = await browser.get("/instances", Host="rebound.example")
        assert rebound.status == 303
        await site.add("ada", "admin")
        assert (await browser.get("/instances")).headers["Location"] == "/sign-in?next=%2Finstances"


async def test_a_person_signs_in_and_goes_where_they_wanted(site: Site) -> None:
    await site.add("ada", "viewer")
    async with site.browser() as browser:
        assert 'name="password"' in (await browser.get("/sign-in?next=/audit")).text
        answer = await browser.sign_in("ada", next="/audit")
        assert (answer.status, answer.headers["Location"]) == (303, "/audit")
        assert "ada" in (await browser.get("/audit")).text
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
async def test_nobody_is_sent_elsewhere(site: Site, target: str) -> None:
    await site.add("ada", "viewer")
    async with site.browser() as browser:
        assert (await browser.sign_in("ada", next=target)).headers["Location"] == "/"


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong password"), ("nobody", PASSWORD), ("robot", PASSWORD), ("ada", "")]
)
async def test_a_wrong_name_and_a_wrong_password_sound_the_same(site: Site, name: str, password: str) -> None:
    await site.add("ada", "viewer")
    await site.add("robot", "viewer", kind="service")
    async with site.browser() as browser:
        answer = await browser.sign_in(name, password)
        assert answer.status == 403
        assert "The name or the password is wrong" in answer.text
        assert browser.cookie() is None


async def test_the_cookie_is_new_at_each_sign_in_and_the_old_one_is_dead(site: Site) -> None:
    await site.add("ada", "viewer")
    async with site.signed_in("ada") as browser, site.browser() as thief:
        first = browser.cookie()
        await browser.sign_in("ada")
        assert first != browser.cookie()
        assert (await thief.get("/instances", Cookie=f"topstitch_session={first}")).status == 303
        assert len(await sessions.of_person(site.store, "ada")) == 1


async def test_a_session_ends_when_it_rests_and_at_the_latest_after_half_a_day(site: Site) -> None:
    await site.add("ada", "viewer")
    async with site.signed_in("ada") as browser:
        for _ in range(12):
            site.clock.advance(59 * 60)
            assert (await browser.get("/instances")).status == 200
        site.clock.advance(59 * 60)
        assert (await browser.get("/instances")).status == 303
    async with site.signed_in("ada") as browser:
        site.clock.advance(61 * 60)
        assert (await browser.get("/instances")).status == 303
    assert await sessions.of_person(site.store, "ada") == []


async def test_signing_out_ends_the_session_on_the_server(site: Site) -> None:
    await site.add("ada", "viewer")
    async with site.signed_in("ada") as browser, site.browser() as thief:
        secret = browser.cookie()
        assert "You are signed out" in (await browser.post("/sign-out")).text
        assert browser.cookie() in (None, "")
        assert (await thief.get("/instances", Cookie=f"topstitch_session={secret}")).status == 303


async def test_disabling_somebody_ends_their_sessions_at_once(site: Site) -> None:
    await site.add("ada", "viewer")
    async with site.signed_in("ada") as browser:
        assert (await people.disable(site.store, "ada", ADMIN, site.clock.now()))[0] == 1
        assert (await browser.get("/instances")).status == 303
        assert (await browser.sign_in("ada")).status == 403


async def test_a_role_taken_back_counts_at_the_next_request(site: Site) -> None:
    await site.add("ada", "viewer")
    async with site.signed_in("ada") as browser:
        await people.revoke(site.store, "ada", "viewer", "", ADMIN, site.clock.now())
        answer = await browser.get("/instances")
        assert answer.status == 403
        assert "Needs the role" in answer.text or "needs the role" in answer.text
        assert (await browser.get("/account")).status == 200


async def test_attempts_are_throttled_with_a_time_to_wait(site: Site) -> None:
    await site.add("ada", "viewer")
    async with site.browser() as browser:
        for _ in range(FREE_PAIR):
            assert (await browser.sign_in("ada", "guess after guess")).status == 403
        refused = await browser.sign_in("ada")
        assert refused.status == 429
        assert 0 < int(refused.headers["Retry-After"]) <= WAIT_SECONDS_MIN + 1
        assert browser.cookie() is None
        site.clock.advance(WAIT_SECONDS_MIN)
        assert (await browser.sign_in("ada", "guess after guess")).status == 403
        site.clock.advance(WAIT_SECONDS_MIN)
        assert (await browser.sign_in("ada")).status == 429
        site.clock.advance(WAIT_SECONDS_MIN)
        assert (await browser.sign_in("ada")).status == 303
        await browser.post("/sign-out")
        assert (await browser.sign_in("ada")).status == 303


async def test_an_unknown_name_is_throttled_as_a_known_one(site: Site) -> None:
    await site.add("ada", "viewer")
    async with site.browser() as browser:
        for _ in range(FREE_PAIR):
            await browser.sign_in("nobody", "guess after guess")
        assert (await browser.sign_in("nobody", "guess after guess")).status == 429
        assert (await browser.sign_in("ada")).status == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Accept": "*/*"},
    ],
)
async def test_posts_of_other_pages_are_refused(site: Site, headers: dict[str, str]) -> None:
    await site.add("ada", "operator")
    name = site.hires["Priya Raman"]
    async with site.signed_in("ada") as browser:
        answer = await browser.post(f"/instances/{name}/pause", {"reason": "forged"}, **headers)
        assert answer.status == 403
        assert "did not come from the console" in answer.text
        assert "forged" not in (await browser.get(f"/instances/{name}.json")).text
        assert (await browser.get("/account")).status == 200


async def test_G05_what_a_role_does_not_give_is_refused_at_its_address(site: Site) -> None:
    name = site.hires["Priya Raman"]
    await site.add("vera", "viewer")
    await site.add("otto", "operator")
    async with site.signed_in("vera") as viewer, site.signed_in("otto") as operator:
        asked = {"reason": "because"}
        assert (await viewer.get(f"/instances/{name}")).status == 200
        assert (await viewer.post(f"/instances/{name}/pause", asked)).status == 403
        assert (await operator.post(f"/instances/{name}/pause", asked)).status == 303


async def test_a_role_for_a_part_of_the_workflows_covers_that_part_alone(site: Site) -> None:
    name = site.hires["Priya Raman"]
    await site.add("mine", "operator:employee-*")
    await site.add("other", "operator:quote-*")
    async with site.signed_in("mine") as mine, site.signed_in("other") as other:
        assert (await mine.get(f"/instances/{name}")).status == 200
        assert (await mine.get("/instances")).status == 200
        assert (await mine.get("/audit")).status == 403
        assert (await other.get(f"/instances/{name}")).status == 403
        assert (await other.post(f"/instances/{name}/pause", {"reason": "x"})).status == 403
        assert "Priya Raman" in (await mine.get("/instances.json")).text
        assert "Priya Raman" not in (await other.get("/instances.json")).text
        assert "Priya Raman" not in (await other.get("/instances.csv")).text
        assert (await other.get("/instances")).text.count("Priya Raman") == 0


async def test_an_open_stream_ends_within_a_minute_of_the_session(site: Site) -> None:
    await site.add("ada", "viewer")
    headers = {"Last-Event-ID": "1"}
    async with site.signed_in("ada") as browser, browser.http.get("/stream", headers=headers) as stream:
        assert (await stream.content.readline()).startswith(b": looking on")
        await people.disable(site.store, "ada", ADMIN, site.clock.now())
        site.clock.advance(timedelta(minutes=1).total_seconds())
        await site.store.append_outside(*_something(site))
        await stream.content.read()
        assert stream.content.at_eof()


def _something(site: Site) -> Any:
    from topstitch.model.kinds import Kind
    from topstitch.model.record import Draft, Stage

    now = site.clock.now()
    draft = Draft(kind=Kind.ATTEMPT_REFUSED, at=now, actor=ADMIN, stage=Stage.AUDIT, body={"what": "a", "because": "b"})
    return site.hires["Priya Raman"], [draft], now


async def test_people_and_their_changes_stand_in_the_installations_own_journal(site: Site) -> None:
    from topstitch.store.instances import records
    from topstitch.store.ledger import INSTALLATION

    await site.add("ada", "viewer")
    await people.grant(site.store, "group:ops", "operator", "", ADMIN, site.clock.now())
    await people.disable(site.store, "ada", ADMIN, site.clock.now())
    noted = [r.body for r in await records(site.store, INSTALLATION) if r.kind == "access.changed"]
    assert [(body["command"], body["about"]) for body in noted] == [
        ("add", "ada"),
        ("grant", "ada"),
        ("grant", "group:ops"),
        ("disable", "ada"),
    ]
