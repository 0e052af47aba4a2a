"""Deciding by letter and in chat: one link that decides nothing by itself, buttons that are judged at the click."""

from __future__ import annotations

import asyncio
import email
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from email import policy
from html import unescape
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.routing import Mount

from support.commands import called
from support.world import World
from topstitch.api.app import make_app
from topstitch.api.rest import BASE
from topstitch.bootstrap.chatting import Chatting, chat_of, chat_routes, chatting
from topstitch.bootstrap.codes import codes_of
from topstitch.bootstrap.entrance import entrance
from topstitch.bootstrap.measuring import watcher_of
from topstitch.cli.clocks import note_time
from topstitch.cli.hosting import serving, take_port
from topstitch.cli.instance_view import view
from topstitch.cli.programs import rest
from topstitch.cli.tale import Teller
from topstitch.console import Hands, Person, console_app
from topstitch.console.commands import StoreCommands
from topstitch.foundation.clock import SimulatedClock
from topstitch.governance.access import Identity
from topstitch.metrics.watch import keep
from topstitch.model.kinds import Kind
from topstitch.model.record import parse_actor
from topstitch.office.codes import TRIES_MAX
from topstitch.simulators.host import Simulators
from topstitch.store import items, people
from topstitch.store.deciding import forget_decided

JONAS, SARA = "jonas.weber@corp.example", "sara.lindqvist@corp.example"
PAGE = re.compile(r"http://console\.test(/decide/\S+)")


@pytest_asyncio.fixture(loop_scope="session")
async def asking(sims: Simulators, clock: SimulatedClock, tmp_path: Path) -> AsyncIterator[World]:
    """An installation that asks by mail and in chat."""
    for name in sims:
        sims[name].reset()
    clock.advance(3600)
    made = World(sims, clock, tmp_path)
    file = tmp_path / "connections.toml"
    file.write_text(
        file.read_text().replace('[notify]\nconnection = "email"', '[notify]\nconnection = "email"\nchat = "chat"')
    )
    made.settings = replace(made.settings, console_url="http://console.test", code_tier_max=3)
    await made.open()
    await made.publish()
    yield made
    await made.close()


@asynccontextmanager
async def pages(world: World, person: str | Person | None = None) -> AsyncIterator[Callable[..., Any]]:
    """Serve the console on a real port; everybody who comes is ``person``, or nobody."""
    if isinstance(person, str):
        person = Person(id=person, email=person, roles=("approver",))
    house = world.house
    hands = Hands(
        store=world.store,
        clock=world.clock,
        load=house.plans.load,
        contracts=house.ports.connectors.contracts(),
        view=view,
        teller=lambda plan: Teller(plan).sentence,
        commands=StoreCommands(world.store, house.plans.load, world.clock),
        identify=lambda _: person,
        sign_in="/sign-in",
        codes=codes_of(house),
    )
    async with serving(console_app(hands), take_port("127.0.0.1", 0)) as port, aiohttp.ClientSession() as session:

        async def ask(path: str, **form: str) -> tuple[int, str]:
            address, ours = f"http://127.0.0.1:{port}{path}", {"Sec-Fetch-Site": "same-origin"}
            if not form:
                async with session.get(address) as answer:
                    return answer.status, await answer.text()
            async with session.post(address, data=form, headers=ours) as answer:
                return answer.status, await answer.text()

        yield ask


@asynccontextmanager
async def chat(world: World, *, socket: bool) -> AsyncIterator[Chatting]:
    """Listen to the chat: on a socket that we open, or at a signed address."""
    made = chat_of(world.house)
    assert made is not None
    slack = world.sims["slack"]
    slack.configure({"interactivity_url": ""})
    if socket:
        async with chatting(made):
            await _until(lambda: _now(slack.people._sockets))
            yield made
        return
    app = make_app(
        world.house.intake,
        body_bytes_max=1 << 20,
        standing=lambda: {"ok": True},
        more=chat_routes(made, world.clock),
    )
    async with serving(app, take_port("127.0.0.1", 0)) as port:
        slack.configure({"interactivity_url": f"http://127.0.0.1:{port}/hooks/slack/interactivity"})
        yield made
        await made.clicks.rest()


def letters(world: World, to: str) -> list[str]:
    """Return the texts of the letters somebody was sent, oldest first."""
    texts = []
    for kept in world.mails(to):
        message = email.message_from_string(kept["raw"], policy=policy.default)
        body = message.get_body(("plain",))
        assert body is not None
        assert not [part for part in message.walk() if part.get_content_type() == "text/html" and "Decide" in str(part)]
        texts.append(str(body.get_content()))
    return texts


async def asked(world: World, **more: Any) -> tuple[str, dict[str, Any]]:
    name = await world.hire(jobProfile="SEC-ADMIN", **more)
    approval = await world.run_until_asked(name)
    await world.rest()
    return name, dict(approval)


def link(world: World, to: str = JONAS) -> str:
    found = PAGE.findall("\n".join(letters(world, to)))
    assert len(found) == 1
    return str(found[0])


def posted(world: World, to: str = JONAS) -> dict[str, Any]:
    """Return the question that somebody was posted, with its buttons."""
    records = world.sims["slack"].records
    user = next(u for u in records.all("users") if u["profile"]["email"] == to)
    found = list(records.find("messages", channel=f"D{user['id'][1:]}"))
    assert len(found) == 1
    return dict(found[0])


# --- By letter -------------------------------------------------------------------------------------


async def test_a_letter_holds_every_fact_and_one_link(asking: World):
    name, approval = await asked(asking)
    (text,) = letters(asking, JONAS)
    decision = (await asking.records(name, Kind.DECISION))[0]
    for value in (decision.body["payload"]["upn"], decision.body["payload"]["display_name"], approval["id"]):
        assert str(value) in text
    for part in ("If you approve:", "If you refuse:", "If nobody answers by", "context.profile.elevated", "Risk tier"):
        assert part in text
    assert len(PAGE.findall(text)) == 1
    assert "decide nothing" in text


async def test_a_hundred_looks_decide_nothing_and_one_post_does(asking: World):
    name, approval = await asked(asking)
    path = link(asking)
    async with pages(asking) as nobody:
        for _ in range(100):
            status, shown = await nobody(path)
            assert status == 200
    assert "Sign in to decide" in shown
    assert await asking.records(name, Kind.APPROVAL_ANSWERED) == []
    async with pages(asking, JONAS) as jonas:
        status, _ = await jonas(path, said="approve", digest=approval["payload_digest"])
        assert status == 200
        await asking.rest()
        status, shown = await jonas(path)
        assert "This is decided" in shown
        assert "Approve<" not in shown
        status, shown = await jonas(path, said="refuse", comment="too late", digest=approval["payload_digest"])
    assert status == 409
    assert "approved it already" in shown
    answered = await asking.records(name, Kind.APPROVAL_ANSWERED)
    assert [(str(r.actor), r.body["answer"], r.body["via"]) for r in answered] == [
        (f"human:{JONAS}", "approve", "mail")
    ]


async def test_a_link_identifies_nobody_and_a_forged_one_leads_nowhere(asking: World):
    name, approval = await asked(asking)
    path = link(asking)
    async with pages(asking) as nobody:
        status, shown = await nobody(path, said="approve", digest=approval["payload_digest"])
        assert status == 403
        forged = f"/decide/{approval['id']}.AAAAAAAAAAAAAAAAAAAAAA"
        assert (await nobody(forged))[0] == 404
        assert (await nobody("/decide/apr_000000000000.x"))[0] == 404
    async with pages(asking, SARA) as sara:
        status, shown = await sara(path, said="approve", digest=approval["payload_digest"])
        assert status == 403
        assert "was not asked to decide" in shown
    assert await asking.records(name, Kind.APPROVAL_ANSWERED) == []


async def test_a_refusal_by_letter_needs_its_reason(asking: World):
    name, approval = await asked(asking)
    async with pages(asking, JONAS) as jonas:
        status, shown = await jonas(link(asking), said="refuse", digest=approval["payload_digest"])
        assert (status, "Say why" in shown) == (422, True)
        await jonas(link(asking), said="refuse", comment="not before June", digest=approval["payload_digest"])
    answered = await asking.records(name, Kind.APPROVAL_ANSWERED)
    assert [(r.body["answer"], r.body["comment"]) for r in answered] == [("refuse", "not before June")]


async def test_a_code_from_a_second_mail_decides_once_and_guessing_ends(asking: World):
    name, approval = await asked(asking)
    path = link(asking)
    async with pages(asking) as nobody:
        status, shown = await nobody(f"{path}/code", send="1")
        assert (status, "on its way" in shown) == (200, True)
        code = re.search(r"code is (\d{4} \d{4})", letters(asking, JONAS)[-1])
        assert code is not None
        wrong = "0000 0000" if code[1] != "0000 0000" else "1111 1111"
        for _ in range(5):
            assert (await nobody(path, said="approve", code=wrong))[0] == 403
        assert (await nobody(path, said="approve", code=code[1]))[0] == 403
        await nobody(f"{path}/code", send="1")
        fresh = re.search(r"code is (\d{4} \d{4})", letters(asking, JONAS)[-1])
        assert fresh is not None
        asking.clock.advance(601)
        assert (await nobody(path, said="approve", code=fresh[1]))[0] == 403
        await nobody(f"{path}/code", send="1")
        last = re.search(r"code is (\d{4} \d{4})", letters(asking, JONAS)[-1])
        assert last is not None
        status, shown = await nobody(path, said="approve", code=last[1], digest=approval["payload_digest"])
        assert (status, "Approved" in shown) == (200, True)
    answered = await asking.records(name, Kind.APPROVAL_ANSWERED)
    assert [(str(r.actor), r.body["via"]) for r in answered] == [(f"human:{JONAS}", "mail and code")]


async def test_a_code_is_forgotten_once_its_time_is_over_and_its_question_is_decided(asking: World):
    name, _ = await asked(asking)

    async def kept() -> int:
        return len(await asking.store.work(lambda b: b.execute("SELECT approval FROM decision_codes")))

    async with pages(asking) as nobody:
        await nobody(f"{link(asking)}/code", send="1")
    asking.clock.advance(3600)
    assert (await forget_decided(asking.store, asking.clock.now()), await kept()) == (0, 1)  # it counts what was sent
    await asking.answer(name, JONAS)
    watcher = watcher_of(asking.settings, asking.store, asking.house.plans)
    await keep(watcher, asking.clock.now())
    assert await kept() == 0


async def test_no_code_is_taken_above_the_tier_of_the_settings(asking: World):
    asking.house = replace(asking.house, settings=replace(asking.house.settings, code_tier_max=1))
    await asked(asking)
    async with pages(asking) as nobody:
        status, shown = await nobody(f"{link(asking)}/code", send="1")
        assert (status, "up to risk tier 1" in shown) == (409, True)
    assert not [text for text in letters(asking, JONAS) if "code is" in text]


async def test_a_reminder_of_a_decided_question_is_not_sent(asking: World):
    name, _ = await asked(asking)
    await asking.answer(name, JONAS)
    await asking.run_for(hours=4)
    assert len([t for t in letters(asking, JONAS) if "/decide/" in t]) == 1


# --- In chat ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("socket", [False, True])
async def test_a_press_in_slack_is_an_answer_of_the_person_behind_it(asking: World, socket: bool):
    name, _ = await asked(asking)
    message = posted(asking)
    assert [b["action_id"] for b in message["blocks"][-1]["elements"]] == ["approve", "refuse"]
    async with chat(asking, socket=socket) as made:
        people = asking.sims["slack"].people
        people.press(channel=message["channel"], ts=message["ts"], action_id="approve", user=JONAS)
        await _until(lambda: asking.records(name, Kind.APPROVAL_ANSWERED))
        await made.clicks.rest()
    (answered,) = await asking.records(name, Kind.APPROVAL_ANSWERED)
    assert (str(answered.actor), answered.body["via"]) == (f"human:{JONAS}", "slack")
    after = posted(asking)
    assert "actions" not in [block["type"] for block in after["blocks"]]
    assert "jonas.weber@corp.example approved it already" in orjson.dumps(after).decode().replace("human:", "")


async def test_a_press_of_somebody_who_was_not_asked_changes_nothing_and_says_so(asking: World):
    name, _ = await asked(asking)
    message = posted(asking)
    records = asking.sims["slack"].records
    sara = next(u for u in records.all("users") if u["profile"]["email"] == SARA)
    channel = records.get("channels", message["channel"])
    records.change("channels", message["channel"], {"members": [*channel["members"], sara["id"]]})
    async with chat(asking, socket=False) as made:
        asking.sims["slack"].people.press(channel=message["channel"], ts=message["ts"], action_id="approve", user=SARA)
        await _until(lambda: _now(records.all("ephemeral")))
        await made.clicks.rest()
    assert await asking.records(name, Kind.APPROVAL_ANSWERED) == []
    assert "was not asked to decide" in records.all("ephemeral")[0]["text"]
    assert posted(asking)["blocks"][-1]["type"] == "actions"


async def test_an_account_that_is_switched_off_decides_nothing_from_slack_either(asking: World):

    name, _ = await asked(asking)
    admin, now = parse_actor("admin"), asking.clock.now()
    await people.add(asking.store, people.PersonRow(id="jonas", email=JONAS, made_at=now, made_by="admin"), admin)
    await people.disable(asking.store, "jonas", admin, now)
    message = posted(asking)
    async with chat(asking, socket=False) as made:
        asking.sims["slack"].people.press(channel=message["channel"], ts=message["ts"], action_id="approve", user=JONAS)
        await _until(lambda: _now(asking.sims["slack"].records.all("ephemeral")))
        await made.clicks.rest()
    assert "switched off" in asking.sims["slack"].records.all("ephemeral")[0]["text"]
    assert await asking.records(name, Kind.APPROVAL_ANSWERED) == []


async def test_a_refusal_in_slack_asks_for_its_reason_first(asking: World):
    name, _ = await asked(asking)
    message, people = posted(asking), asking.sims["slack"].people
    async with chat(asking, socket=True) as made:
        people.press(channel=message["channel"], ts=message["ts"], action_id="refuse", user=JONAS)
        await _until(lambda: _now(asking.sims["slack"].records.all("views")))
        await made.clicks.rest()
        assert await asking.records(name, Kind.APPROVAL_ANSWERED) == []
        (form,) = asking.sims["slack"].records.all("views")
        people.submit(view=form["id"], values={"reason": {"reason": "not before June"}}, user=JONAS)
        await _until(lambda: asking.records(name, Kind.APPROVAL_ANSWERED))
        await made.clicks.rest()
    (answered,) = await asking.records(name, Kind.APPROVAL_ANSWERED)
    assert (answered.body["answer"], answered.body["comment"]) == ("refuse", "not before June")


async def test_a_click_that_is_delivered_again_is_one_answer_and_a_late_one_hears_who_decided(asking: World):
    name, _ = await asked(asking)
    message, people = posted(asking), asking.sims["slack"].people
    async with chat(asking, socket=False) as made:
        payload = people.press(channel=message["channel"], ts=message["ts"], action_id="approve", user=JONAS)
        await _until(lambda: asking.records(name, Kind.APPROVAL_ANSWERED))
        assert made.clicks.take(payload)  # as X-Slack-Retry-Num brings it
        await made.clicks.rest()
    anew = chat_of(asking.house)  # another process, which has seen nothing
    assert anew is not None
    anew.clicks.take(payload)
    await anew.clicks.rest()
    assert len(await asking.records(name, Kind.APPROVAL_ANSWERED)) == 1
    assert "approved it already" in asking.sims["slack"].records.all("ephemeral")[-1]["text"]


async def test_a_question_that_was_decided_elsewhere_loses_its_buttons(asking: World):
    name, _ = await asked(asking)
    await asking.answer(name, JONAS)
    made = chat_of(asking.house)
    assert made is not None
    assert await made.clicks.settle_decided() == 1
    assert await made.clicks.settle_decided() == 0
    assert "actions" not in [block["type"] for block in posted(asking)["blocks"]]


async def test_what_is_not_signed_by_slack_within_five_minutes_is_refused(asking: World):
    from topstitch.api.slack import PATH

    name, _ = await asked(asking)
    message, slack = posted(asking), asking.sims["slack"]
    async with chat(asking, socket=False):
        url = slack.settings["interactivity_url"]
        slack.configure({"interactivity_url": ""})
        payload = slack.people.press(channel=message["channel"], ts=message["ts"], action_id="approve", user=JONAS)
        body = b"payload=" + orjson.dumps(payload)
        good = slack.people._sign({}, body)
        old = {**good, "X-Slack-Request-Timestamp": str(int(asking.clock.now().timestamp()) - 301)}
        async with aiohttp.ClientSession() as session:
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            for headers in ({}, old, {**good, "X-Slack-Signature": "v0=" + "0" * 64}):
                async with session.post(url, data=body, headers={**form, **headers}) as answer:
                    assert (answer.status, (await answer.json())["code"][:9]) == (401, "signature")
            other = body.replace(b"approve", b"refuse!")
            async with session.post(url, data=other, headers={**form, **good}) as answer:
                assert answer.status == 401
    assert url.endswith(PATH)
    assert await asking.records(name, Kind.APPROVAL_ANSWERED) == []


async def _now(value: Any) -> Any:
    return value


async def _until(look: Callable[[], Any]) -> None:
    """Wait, in the machine's time, until something is there."""
    async with asyncio.timeout(10):
        while not await look():  # noqa: ASYNC110 -- the other side of a socket has no event of ours
            await asyncio.sleep(0)


# --- Who stands in ---------------------------------------------------------------------------------


async def test_A09_a_stand_in_answers_at_every_door_and_is_recorded_as_for(asking: World):
    from topstitch.governance.duties import Delegation
    from topstitch.office import deciding

    now = asking.clock.now()
    grant = Delegation(grantor=JONAS, delegate=SARA, starts_at=now, ends_at=now + timedelta(days=7))
    made = await deciding.grant(asking.store, grant, parse_actor("admin@corp.example"), now, because="on leave")
    name, approval = await asked(asking)
    async with pages(asking, SARA) as sara:
        status, _ = await sara(
            f"/approvals/{approval['id']}/decision", said="approve", digest=approval["payload_digest"]
        )
        assert status == 200
    (answered,) = await asking.records(name, Kind.APPROVAL_ANSWERED)
    assert (str(answered.actor), answered.body["for"]) == (f"human:{SARA}", JONAS)
    own = await asking.store.work(lambda b: b.execute("SELECT kind, body FROM journal WHERE instance = 'installation'"))
    assert [kind for kind, _ in own] == ["delegation.granted"]
    assert all(part in own[0][1] for part in (JONAS, SARA, "admin@corp.example", made.id))


async def test_A08_a_manager_who_may_not_decide_is_passed_over_for_the_one_above(asking: World):
    name, approval = await asked(asking, initiatedBy="W-100020")
    assert JONAS not in [p["id"] for p in approval["people"]]
    assert approval["asked"] == ["manager_of(subject)"]
    record = (await asking.records(name, Kind.APPROVAL_ASKED))[0]
    assert record.body["excluded"][0]["person"] == JONAS
    assert "whoever is above was asked" in record.body["excluded"][0]["why"]
    manager = asking.sims["workday"].records  # the chain of the company itself says who that is
    assert manager is not None
    assert len(approval["people"]) == 1


async def test_a_manager_who_is_away_is_passed_over_unless_somebody_stands_in(asking: World):
    from topstitch.governance.duties import Delegation
    from topstitch.office import calendars, deciding

    now, admin = asking.clock.now(), parse_actor("admin@corp.example")
    until = (now + timedelta(days=30)).isoformat()
    text = f"absences:\n  - {{who: {JONAS}, from: '{now.isoformat()}', until: '{until}'}}\n"
    await calendars.load(asking.store, text, "calendar.yaml", environment="test", by=admin, at=now)
    _, approval = await asked(asking)
    assert JONAS not in [p["id"] for p in approval["people"]]
    grant = Delegation(grantor=JONAS, delegate=SARA, starts_at=now, ends_at=now + timedelta(days=7))
    await deciding.grant(asking.store, grant, admin, now, because="on leave")
    other = await asking.hire(jobProfile="SEC-ADMIN")
    again = await asking.run_until_asked(other)
    assert [p["id"] for p in again["people"]] == [JONAS]


async def test_a_change_freeze_of_the_calendar_bites_at_the_next_decision(asking: World):
    from topstitch.office import calendars
    from topstitch.office.lawmaking import check_bundle, publish

    now, admin = asking.clock.now(), parse_actor("admin@corp.example")
    bundle = (
        "policy: freezes\nversion: 1.0.0\nowner: {team: controls}\nhard:\n  - id: change-freeze\n"
        '    when: calendar.freeze\n    deny: "Change freeze until ${calendar.freeze_ends}"\n'
        "defaults: {tier_1: auto, tier_2: auto, tier_3: auto, tier_4: auto}\n"
        "tests:\n  - given: {calendar: {freeze: true}}\n    then: deny(change-freeze)\n"
    )
    checked = check_bundle({"freezes.yaml": bundle})
    assert checked.clean, (checked.findings, checked.failed)
    await publish(asking.store, checked, environment="test", by=admin, at=now, parent=None)
    until = (now + timedelta(days=2)).isoformat()
    text = f"freezes:\n  - {{from: '{now.isoformat()}', until: '{until}', because: year end}}\n"
    await calendars.load(asking.store, text, "calendar.yaml", environment="test", by=admin, at=now)
    name = await asking.hire(jobProfile="ENG-SWE")
    await asking.run_for(minutes=2)
    denied = [r for r in await asking.records(name, Kind.DECISION) if r.body["outcome"] == "deny"]
    assert denied
    assert denied[0].body["denied"][0]["rule"].endswith("change-freeze")
    assert (await items.list_approvals(asking.store, instance=name)) == []


# --- Whose right it is -----------------------------------------------------------------------------


class Doors:
    """The ways in which Jonas, who has an account, says yes to one question; each returns what he is told."""

    def __init__(self, world: World, approval: Mapping[str, Any]) -> None:
        self.world, self.approval = world, approval
        self.access = entrance(world.house.settings, world.store, world.clock)

    async def come(self, door: str) -> str:
        said: str = await getattr(self, door)()
        await self.world.rest()
        return said

    async def command(self) -> str:
        note_time(self.world.folder, self.world.clock.now())
        words = ("approvals", "approve", self.approval["id"], "--as", "jonas", "--data", str(self.world.folder))
        ran = await asyncio.to_thread(called, *words)
        return ran.out + ran.err

    async def api(self) -> str:
        async def jonas(_connection: Any) -> Identity | None:
            return await self.access.find("jonas")

        app = Starlette(routes=[Mount(BASE, rest(self.world.house, self.world.settings, jonas))])
        async with serving(app, take_port("127.0.0.1", 0)) as port, aiohttp.ClientSession() as session:
            address = f"http://127.0.0.1:{port}{BASE}/approvals/{self.approval['id']}/decision"
            body = {"decision": "approve", "payload_digest": self.approval["payload_digest"]}
            async with session.post(address, json=body, headers={"If-Match": "*"}) as answer:
                return await answer.text()

    async def console(self) -> str:
        return await self._page(f"/approvals/{self.approval['id']}/decision")

    async def letter(self) -> str:
        return await self._page(link(self.world))

    async def code(self) -> str:
        path = link(self.world)
        async with pages(self.world) as nobody:
            await nobody(f"{path}/code", send="1")
            sent = re.search(r"code is (\d{4} \d{4})", letters(self.world, JONAS)[-1])
            assert sent is not None
            return (await nobody(path, said="approve", code=sent[1], digest=self.approval["payload_digest"]))[1]

    async def slack(self) -> str:
        message, slack = posted(self.world), self.world.sims["slack"]
        told = len(slack.records.all("ephemeral"))
        made = chat_of(self.world.house)
        assert made is not None
        slack.configure({"interactivity_url": ""})
        made.clicks.take(
            slack.people.press(channel=message["channel"], ts=message["ts"], action_id="approve", user=JONAS)
        )
        await made.clicks.rest()
        return "".join(one["text"] for one in slack.records.all("ephemeral")[told:])

    async def _page(self, path: str) -> str:
        jonas = await self.access.find("jonas")
        assert jonas is not None
        async with pages(self.world, Person.of(jonas)) as page:
            return str((await page(path, said="approve", digest=self.approval["payload_digest"]))[1])


@pytest.mark.parametrize("door", ["command", "api", "console", "letter", "code", "slack"])
async def test_the_right_to_approve_is_asked_at_the_answer_at_every_door_alike(asking: World, door: str):
    name, approval = await asked(asking)
    admin, now = parse_actor("human:admin"), asking.clock.now()
    await people.add(asking.store, people.PersonRow(id="jonas", email=JONAS, made_at=now, made_by="admin"), admin)
    doors = Doors(asking, approval)
    for role, place in (("admin", ""), ("approver", "offboarding-*")):
        await people.grant(asking.store, "jonas", role, place, admin, now)
        assert "needs the role approver" in unescape(await doors.come(door)).lower()
        assert await asking.records(name, Kind.APPROVAL_ANSWERED) == []
    await people.grant(asking.store, "jonas", "approver", "employee-*", admin, now)
    await doors.come(door)
    (answered,) = await asking.records(name, Kind.APPROVAL_ANSWERED)
    assert str(answered.actor) == f"human:{JONAS}"


async def test_a_code_outlives_a_missing_right_and_says_nothing_of_rights_to_who_has_it_wrong(asking: World):
    name, approval = await asked(asking)
    admin, now = parse_actor("human:admin"), asking.clock.now()
    await people.add(asking.store, people.PersonRow(id="jonas", email=JONAS, made_at=now, made_by="admin"), admin)
    path, digest = link(asking), approval["payload_digest"]
    async with pages(asking) as nobody:
        await nobody(f"{path}/code", send="1")
        sent = re.search(r"code is (\d{4} \d{4})", letters(asking, JONAS)[-1])
        assert sent is not None
        wrong = "0000 0000" if sent[1] != "0000 0000" else "1111 1111"
        status, shown = await nobody(path, said="approve", code=wrong, digest=digest)
        assert (status, "not the code of the last mail" in shown, "the role" in shown) == (403, True, False)
        for _ in range(6):  # more often than a wrong one may be tried
            status, shown = await nobody(path, said="approve", code=sent[1], digest=digest)
            assert (status, "needs the role approver" in unescape(shown).lower()) == (403, True)
        await people.grant(asking.store, "jonas", "approver", "", admin, now)
        assert (await nobody(path, said="approve", code=sent[1], digest=digest))[0] == 200
    (answered,) = await asking.records(name, Kind.APPROVAL_ANSWERED)
    assert str(answered.actor) == f"human:{JONAS}"
    (left,) = await asking.store.work(lambda b: b.execute("SELECT tries FROM decision_codes"))
    assert left[0] >= TRIES_MAX  # it opens nothing any more


@pytest.mark.parametrize("door", ["code", "slack"])
async def test_once_there_are_users_who_has_no_account_decides_up_to_the_tier_of_the_settings(asking: World, door: str):
    name, approval = await asked(asking)
    admin, now = parse_actor("human:admin"), asking.clock.now()
    await people.add(asking.store, people.PersonRow(id="sara", email=SARA, made_at=now, made_by="admin"), admin)
    doors, settings = Doors(asking, approval), asking.house.settings
    if door == "slack":  # no code is even sent above the tier, as another test shows
        asking.house = replace(asking.house, settings=replace(settings, code_tier_max=1))
        assert "has no account here" in await doors.come(door)
        assert await asking.records(name, Kind.APPROVAL_ANSWERED) == []
    asking.house = replace(asking.house, settings=settings)
    await doors.come(door)
    (answered,) = await asking.records(name, Kind.APPROVAL_ANSWERED)
    assert str(answered.actor) == f"human:{JONAS}"


async def test_an_address_that_stands_for_two_accounts_decides_nothing(asking: World):
    name, approval = await asked(asking)
    admin, now = parse_actor("human:admin"), asking.clock.now()
    for account in ("jonas", "jonas-2"):
        row = people.PersonRow(id=account, email=JONAS, made_at=now, made_by="admin")
        await people.add(asking.store, row, admin, [("approver", "")])
    said = await Doors(asking, approval).come("slack")
    assert "several accounts here (jonas and jonas-2)" in said
    assert await asking.records(name, Kind.APPROVAL_ANSWERED) == []
