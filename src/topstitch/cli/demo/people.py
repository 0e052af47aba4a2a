"""The people of the demo: who orders by hand, and who decides when nobody sits at the terminal.

They act as people do: through the rules that every answer passes, and in the systems' own
portals. Nothing here is known to the engine.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from topstitch import lifecycle
from topstitch.bootstrap.installation import Installation
from topstitch.cli.demo.cast import BY_HAND_AFTER, BY_ID, SUFFERER
from topstitch.cli.demo.story import Question, Story, approving, handing_in
from topstitch.foundation.canonical import parse
from topstitch.governance import approvals, by_hand
from topstitch.model.state import InstanceState
from topstitch.store import HeadIs, instances, items

PORTAL = "/api/sn_sc/servicecatalog"


class People:
    """Everybody around the engine."""

    def __init__(self, house: Installation, story: Story, service_desk: Mapping[str, Any], *, answering: bool) -> None:
        self._house, self._story, self._desk, self._answering = house, story, service_desk, answering
        self._shown: set[str] = set()
        self._by_hand: dict[str, Question] = {}

    async def due(self) -> datetime | None:
        """Return when somebody does something next."""
        times = [when for when, _ in await self._plans()]
        return min(times) if times else None

    async def act(self) -> bool:
        """Do what is due now; return whether that was anything."""
        now = self._house.clock.now()
        done = False
        for when, do in await self._plans():
            if when <= now:
                await do()
                done = True
        return done

    async def limit(self) -> datetime | None:
        """Return the time that the clock must not pass while somebody may still answer."""
        if self._answering:
            return None
        store = self._house.ports.store
        open_items = [*await items.list_approvals(store), *await items.list_tasks(store)]
        ends = [row["give_up_at"] for row in open_items]
        return min(ends) - timedelta(hours=1) if ends else None

    async def questions(self) -> list[Question]:
        """Return what waits for an answer, with one of those who may give it."""
        rows = await items.list_approvals(self._house.ports.store)
        open_tasks = {row["id"] for row in await items.list_tasks(self._house.ports.store)}
        asked = [(row, person) for row in sorted(rows, key=_end) if (person := await self._first_asked(row))]
        return [
            *(Question(row["title"], str(p.get("name")), approving(str(p["id"]), row["id"])) for row, p in asked),
            *(each for task, each in self._by_hand.items() if task in open_tasks),
        ]

    async def _first_asked(self, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        state, _ = await self._state(row["instance"])
        step = {**state.steps, **state.heals}.get(row["step"])
        people = step.approval.people if step is not None and step.approval is not None else ()
        return next((dict(person) for person in people), None)

    async def _plans(self) -> list[tuple[datetime, Any]]:
        store = self._house.ports.store
        plans: list[tuple[datetime, Any]] = []
        if self._answering:
            for row in await items.list_approvals(store):
                who = await self._cast_answer(row["instance"])
                if who is not None and not await self._is_answered(row["id"]):
                    plans.append((row["asked_at"] + timedelta(minutes=who[1]), _bound(self._approve, row, who[0])))
        for row in await items.list_tasks(store):
            if row["step"] == "equipment" and row["id"] not in self._shown:
                plans.append((row["opened_at"] + BY_HAND_AFTER, _bound(self._order, row)))
            elif row["step"] == "equipment" and self._answering:
                who = SUFFERER.answers
                assert who is not None
                plans.append((row["opened_at"] + timedelta(minutes=who[1]), _bound(self._hand_in, row, who[0])))
        return plans

    async def _cast_answer(self, instance: str) -> tuple[str, int] | None:
        row = await instances.get(self._house.ports.store, instance)
        hire = BY_ID.get(row["correlation"] or "")
        return hire.answers if hire else None

    async def _is_answered(self, approval: str) -> bool:
        return bool((await items.get_approval(self._house.ports.store, approval))["answers"])

    async def _approve(self, row: Mapping[str, Any], person: str) -> None:
        state, seq = await self._state(row["instance"])
        now = self._house.clock.now()
        comment = "as agreed in the offer"
        draft = approvals.answer(state, row["id"], person, approvals.APPROVE, now, comment=comment, via="demo")
        await self._house.ports.store.append_outside(row["instance"], [draft], now, guards=[HeadIs(seq)])

    async def _order(self, row: Mapping[str, Any]) -> None:
        """Order in the portal what the engine could not, once, and say how to hand it in."""
        output = await self._ordered()
        self._shown.add(row["id"])
        person = SUFFERER.answers[0] if SUFFERER.answers else ""
        name = person.partition("@")[0].replace(".", " ").title()
        self._story.aside(
            self._house.clock.now(), f"{name} orders the equipment in ServiceNow's portal: {output['number']}"
        )
        words = handing_in(person, row["id"], output)
        self._by_hand[row["id"]] = Question(row["title"], name, words)
        self._story.show_command(f"to hand it in as {name}", words)

    async def _hand_in(self, row: Mapping[str, Any], person: str) -> None:
        output = await self._ordered()
        state, seq = await self._state(row["instance"])
        now = self._house.clock.now()
        if state.tasks[row["id"]].said is not None:
            return
        draft = by_hand.finished(
            state, row["id"], person, output, row["form"] or {}, now, comment="ordered in the portal"
        )
        await self._house.ports.store.append_outside(row["instance"], [draft], now, guards=[HeadIs(seq)])

    async def _ordered(self) -> dict[str, str]:
        """Return the request that a person made for the hire; make it if it is not there."""
        auth = {
            "Authorization": "Basic "
            + base64.b64encode(f"{self._desk['username']}:{self._desk['password']}".encode()).decode()
        }
        base = str(self._desk["base_url"])
        async with aiohttp.ClientSession(base, headers=auth) as portal:
            async with portal.get("/_sim/records/sc_request") as answer:
                for request in parse(await answer.read()):
                    if request["short_description"] == _DESCRIPTION:
                        return {"request_id": request["sys_id"], "number": request["number"]}
            async with portal.get(f"{PORTAL}/items", params={"sysparm_text": "Laptop 14"}) as answer:
                item = parse(await answer.read())["result"][0]["sys_id"]
            variables = {
                "employee_id": SUFFERER.worker_id,
                "location": "LOC-BER",
                "department": SUFFERER.department,
                "tier": "standard",
                "short_description": _DESCRIPTION,
            }
            body = {"sysparm_quantity": "1", "variables": variables}
            async with portal.post(f"{PORTAL}/items/{item}/order_now", json=body) as answer:
                made = parse(await answer.read())["result"]
        return {
            "request_id": made.get("sys_id") or made["request_id"],
            "number": made.get("number") or made["request_number"],
        }

    async def _state(self, instance: str) -> tuple[InstanceState, int]:
        records = await instances.records(self._house.ports.store, instance)
        plan = await self._house.plans.load(records[0].body["digest"])
        state = lifecycle.initial(plan, instance)
        for record in records:
            state = lifecycle.fold(plan, state, record)
        return state, records[-1].seq


_DESCRIPTION = f"ordered by hand for {SUFFERER.name}"


def _end(row: Mapping[str, Any]) -> datetime:
    at: datetime = row["give_up_at"]
    return at


def _bound(do: Any, *given: Any) -> Any:
    async def act() -> None:
        await do(*given)

    return act
