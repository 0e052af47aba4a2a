"""The ``demo`` command: puts systems, engine, script and story together, and says how it went."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import FAILED, Door, command, fail
from topstitch.foundation.errors import OperatorError

if TYPE_CHECKING:
    from topstitch.bootstrap.installation import Installation
    from topstitch.cli.demo.people import People
    from topstitch.cli.demo.script import Script
    from topstitch.cli.demo.story import Story
    from topstitch.settings import Settings
    from topstitch.simulators.host import Simulators

FOLDER: Final = "topstitch-demo"
LAST: Final = timedelta(days=6)
"""The story is over in a day; what has not ended by then never will."""
LOOK_SECONDS: Final = 2
"""How often the seams are looked at, in the machine's time: the story's days pass too fast for every half minute."""
SYSTEMS: Final = "Workday, Entra ID, ServiceNow, Salesforce, Slack, e-mail"


@command("demo")
@click.option("--port", metavar="PORT", help="The port of the event endpoint; 0 takes any free one. [8700]")
@click.option("--exit", "hurried", is_flag=True, help="Answer the waiting people, end with the story, and prove it.")
def demo(door: Door, port: str | None, *, hurried: bool) -> None:
    """Run five hires through the onboarding against simulated systems, on a clock that does not dawdle."""
    door.data = door.data or FOLDER
    from topstitch.cli.logs import start_log

    settings = door.settings(port=port, environment="demo", person=_visitor())
    start_log("error")
    _make_folder(settings.data)
    if not door.run(_demo(door, settings, hurried=hurried)):
        fail(FAILED)


async def _demo(door: Door, settings: Settings, *, hurried: bool) -> bool:
    """Run the demo; return whether everything is as the story says."""
    from topstitch.cli.demo.script import Script
    from topstitch.cli.hosting import take_port
    from topstitch.cli.simulated import HOOK, write_connections
    from topstitch.cli.simulators import state_file
    from topstitch.foundation.clock import PacedClock
    from topstitch.simulators.host import Simulators

    stopping = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    listening = take_port(settings.host, settings.port)
    try:
        clock = PacedClock(_first_moment(settings))
        sims = Simulators(data=state_file(settings.data), clock=clock)
        script = Script(sims, clock.now)
        script.set_up(f"http://{settings.host}:{listening.getsockname()[1]}/hooks/{HOOK}")
        async with sims:
            write_connections(settings.data, sims.facts())
            return await _on_stage(door, settings, _Cast(clock, sims, script, listening, stopping), hurried=hurried)
    finally:
        listening.close()


class _Cast:
    """What the stage needs, by name."""

    def __init__(self, clock: Any, sims: Simulators, script: Script, listening: Any, stopping: asyncio.Event) -> None:
        self.clock, self.sims, self.script, self.listening, self.stopping = clock, sims, script, listening, stopping


async def _on_stage(door: Door, settings: Settings, cast: _Cast, *, hurried: bool) -> bool:
    from topstitch.api.app import make_app
    from topstitch.api.rest import close
    from topstitch.bootstrap.auditing import sealing
    from topstitch.bootstrap.installation import open_installation
    from topstitch.bootstrap.measuring import Scrape, measuring, watcher_of
    from topstitch.cli.demo.people import People
    from topstitch.cli.demo.story import Story
    from topstitch.cli.front import front
    from topstitch.cli.hosting import serving
    from topstitch.cli.programs import mounts, rest, whoever
    from topstitch.cli.serve import standing
    from topstitch.foundation.clock import SystemClock

    async with open_installation(settings, clock=cast.clock) as house:
        story = Story(house, door.screen, door.typed, prompts=not hurried)
        told = await story.forget_the_past()
        await _publish(door, house, settings)
        cast.script.story = story
        people = People(house, story, cast.sims["servicenow"].facts(), answering=hurried)
        scrape = Scrape(watcher_of(settings, house.ports.store, house.plans), house.clock)
        api = rest(house, settings, whoever(settings))
        app = make_app(
            house.intake,
            body_bytes_max=settings.body_kb_max * 1024,
            standing=lambda: standing(house),
            mounts=mounts(api),
            scrape=scrape,
        )
        doors = front(app, house, settings, cast=_names())
        async with serving(doors, cast.listening) as port:
            _greet(door, settings, port, told, hurried=hurried)
            async with (
                measuring(house, pace=SystemClock(), every_seconds=LOOK_SECONDS),
                sealing(settings, house.ports.store, house.clock),
            ):
                await _play(door, house, cast, story, people, hurried=hurried)
            await close(api)
            doors.close()
        if not hurried:
            return True
        return await _prove(door, house, cast.sims)


async def _play(door: Door, house: Installation, cast: _Cast, story: Story, people: People, *, hurried: bool) -> None:
    """Run engine, clock and story until the end, or until told to stop."""
    from topstitch.cli.demo.pace import Pace

    last = cast.script.began + LAST
    pace = Pace(cast.clock, house.engine, house.settings.data, hurried=hurried, last=last)
    drive = pace.drive(
        due=lambda: _sooner(cast.script, people),
        limit=people.limit,
        act=lambda: _either(story, cast.script, people),
        over=lambda: _all_ended(house, cast.script),
        stands=lambda: _your_turn(story, people),
    )
    engine = asyncio.create_task(house.engine.run(), name="engine")
    telling = asyncio.create_task(story.follow(), name="story")
    driving = asyncio.create_task(drive, name="pace")
    waiting = asyncio.create_task(cast.stopping.wait(), name="until stopped")
    await asyncio.wait({engine, driving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if driving.done() and not driving.cancelled() and driving.exception() is None and not hurried:
        await story.catch_up()
        await _final_table(door, house)
        door.screen.note("All five have ended. The demo stays up for you to look around; stop with Ctrl-C.")
        await asyncio.wait({engine, waiting}, return_when=asyncio.FIRST_COMPLETED)
    house.engine.stop()
    for task in (driving, waiting):
        task.cancel()
    await engine
    await story.catch_up()
    telling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await telling
    if driving.done() and not driving.cancelled():
        driving.result()


async def _sooner(script: Script, people: People) -> datetime | None:
    times = [time for time in (await script.due(), await people.due()) if time is not None]
    return min(times) if times else None


async def _either(story: Story, script: Script, people: People) -> bool:
    await story.catch_up()
    acted = await script.act()
    return await people.act() or acted


async def _your_turn(story: Story, people: People) -> None:
    await story.catch_up()
    story.stand(await people.questions())


async def _all_ended(house: Installation, script: Script) -> bool:
    from topstitch.cli.demo.cast import HIRES
    from topstitch.store import instances

    if await script.due() is not None:
        return False
    rows = await instances.listing(house.ports.store)
    return len(rows) >= len(HIRES) and all(row["ended_at"] for row in rows)


async def _publish(door: Door, house: Installation, settings: Settings) -> None:
    from topstitch.cli.publishing import publish_into
    from topstitch.language.check import check
    from topstitch.language.load import load

    path = files("topstitch") / "examples" / "onboarding" / "employee-onboarding.yaml"
    text = path.read_text(encoding="utf-8")
    checked = check(load(text, str(path)), house.ports.connectors.contracts())
    done = await publish_into(house.ports.store, text, checked, now_of=settings, by="human:demo")
    if done.changed:
        door.screen.note(f"Published {done.workflow} {done.version} ({done.digest[:19]})")


def _greet(door: Door, settings: Settings, port: int, told: int, *, hurried: bool) -> None:
    from topstitch.cli.when import zone_name

    say = door.screen.note
    say(f"Six pretend systems are up ({SYSTEMS}). Nothing leaves this machine.")
    acts_as = _names().get(settings.person, settings.person)
    say(f"Console http://{settings.host}:{port}/     (open it in a browser; you act as {acts_as})")
    say(f"Events  http://{settings.host}:{port}/api/v1/events     Data  {settings.data}")
    say(f"Look around from another terminal: {door.typed('instances')}")
    stands = "" if hurried else ", and stands still before an answer would come too late"
    say(f"The clock ({zone_name()}) jumps to whatever is due next{stands}: a day passes in seconds.")
    if told:
        say(f"Going on where it was left, after {told} records.")
    say("")


def _visitor() -> str | None:
    """Return whom the demo's console takes a visitor for; nobody where the person is set."""
    from topstitch.cli.demo.cast import VISITOR

    return None if os.environ.get("TOPSTITCH_PERSON") else VISITOR


def _names() -> dict[str, str]:
    """Return the people of the company with their names: whom a visitor may act as."""
    from topstitch.simulators.company import PEOPLE

    return {person.email: person.name for person in PEOPLE}


async def _final_table(door: Door, house: Installation) -> None:
    from topstitch.cli.screen import status_of
    from topstitch.cli.when import ago, at
    from topstitch.store import instances, items

    store = house.ports.store
    rows = []
    for row in reversed(await instances.listing(store)):
        asked = await items.list_approvals(store, status=None, instance=row["id"])
        work = await items.list_tasks(store, status=None, instance=row["id"])
        found = await items.list_discrepancies(store, status=None, instance=row["id"])
        rows.append(
            (
                row["title"],
                status_of(door.screen, row["status"]),
                at(row["started_at"]),
                ago(row["started_at"], row["ended_at"] or house.clock.now()),
                ", ".join(f"{a['step']} {a['status']}" for a in asked),
                ", ".join(f"{t['step']} {_BY_HAND.get(t['ending'], t['status'])}" for t in work),
                ", ".join(f"{d['system']}: {_mended(d['status'])}, ticket {_ticket(d['ticket'])}" for d in found),
            )
        )
    door.screen.print()
    door.screen.table(
        ("for", "ended", "started", "took", "approvals", "by hand", "differences"), rows, "Nothing has happened."
    )
    door.screen.print()


_BY_HAND: Final[Mapping[str | None, str]] = {"accepted": "done", "expired": "not done in time"}
"""How the endings of a task read to somebody who sees the table for the first time."""


def _mended(status: str) -> str:
    return "agrees again" if status == "agreed" else status


def _ticket(ticket: Any) -> str:
    from topstitch.foundation.canonical import parse

    if isinstance(ticket, str) and ticket.startswith("{"):
        ticket = parse(ticket)
    return (
        str(ticket.get("number") or ticket.get("exception_id"))
        if isinstance(ticket, Mapping)
        else str(ticket or "none")
    )


async def _prove(door: Door, house: Installation, sims: Simulators) -> bool:
    """Verify the chains and compare the systems with the story; say so."""
    from topstitch.cli.chains import verify_chains
    from topstitch.cli.demo.proof import differences
    from topstitch.store import instances

    await _final_table(door, house)
    chains = await verify_chains(house.ports.store, house.settings)
    statuses = {r["correlation"]: await _steps(house, r["id"]) for r in await instances.listing(house.ports.store)}
    wrong = [*chains.broken, *differences(sims, statuses)]
    door.screen.data({"chains": chains.records, "broken": chains.broken, "differences": wrong, "ok": not wrong})
    for each in wrong:
        door.screen.print(f"{door.screen.mark('bad')} {each}")
    if not wrong:
        door.screen.print(f"{door.screen.mark('ok')} Chains intact: {chains.records} records.")
        door.screen.print(f"{door.screen.mark('ok')} Every system holds what the story says, each thing exactly once.")
    return not wrong


async def _steps(house: Installation, instance: str) -> Mapping[str, str]:
    from topstitch import lifecycle
    from topstitch.store import instances

    records: Sequence[Any] = await instances.records(house.ports.store, instance)
    plan = await house.plans.load(records[0].body["digest"])
    state = lifecycle.initial(plan, instance)
    for record in records:
        state = lifecycle.fold(plan, state, record)
    return {name: str(step.status) for name, step in state.steps.items()}


def _first_moment(settings: Settings) -> datetime:
    """Return the demo's time: where it was left, or now."""
    from topstitch.cli.clocks import noted_time
    from topstitch.foundation.clock import SystemClock

    return noted_time(settings.data) or SystemClock().now()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} cannot be made ({error.strerror}); choose another folder with --data"
        raise OperatorError("folder-unwritable", message) from None
