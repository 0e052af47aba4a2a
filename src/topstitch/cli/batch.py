"""Commands that act on many instances at once: a frozen, counted selection, previewed, then carried out.

``preview`` chooses, freezes and shows; ``start`` carries out exactly what was previewed, a few a second, by the
rules of the single command; ``show`` says how each item went. All three stand in the installation's
journal with actor and reason, and each item in its own instance's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import FAILED, Door, command, fail
from topstitch.cli.operate import PERSON, REASON
from topstitch.cli.selections import ITEMS_MAX, RATE_DEFAULT
from topstitch.foundation.errors import ConflictError, NotFoundError, RequestError

if TYPE_CHECKING:
    from datetime import datetime

    from topstitch.cli.desk import Desk
    from topstitch.cli.selections import Done
    from topstitch.model.record import Actor, Draft
    from topstitch.model.state import InstanceState
    from topstitch.plan.plan import Plan

VERBS: Final = ("retry", "skip", "pause", "resume", "cancel", "edit")
PREVIEWED, STARTED, ENDED = "batch.preview", "batch.start", "batch.end"


@click.group()
def batch() -> None:
    """Act on many instances at once: preview, start, show."""


def _batch_command(name: str, **rest: Any) -> Callable[[Callable[..., None]], click.Command]:
    def make(function: Callable[..., None]) -> click.Command:
        made = command(name, **rest)(function)
        batch.add_command(made)
        return made

    return make


@_batch_command("preview")
@click.argument("verb", type=click.Choice(VERBS))
@click.argument("names", nargs=-1, metavar="INSTANCE...")
@click.option("--workflow", metavar="NAME", help="Choose instances of this workflow.")
@click.option("--status", "statuses", multiple=True, metavar="STATUS", help="Choose by status; may be repeated.")
@click.option(
    "--group", metavar="CAUSE", help="Choose the instances of these open cases, as exceptions list names them."
)
@click.option("--step", metavar="STEP", help="The step to retry or skip.")
@click.option(
    "--edit",
    "edits",
    multiple=True,
    metavar="PATH=VALUE",
    help="Process data to change first; '= expr' is worked out for each.",
)
@click.option("--rollback", "choice", flag_value="rollback", help="For cancel: take back what is done.")
@click.option("--stop", "choice", flag_value="stop", help="For cancel: keep what is done.")
@REASON
@PERSON
def preview(
    door: Door,
    verb: str,
    names: Sequence[str],
    workflow: str | None,
    statuses: Sequence[str],
    group: str | None,
    step: str | None,
    edits: Sequence[str],
    choice: str | None,
    reason: str,
    person: str | None,
) -> None:
    """Choose instances, freeze the choice, and show what would become of each. Nothing is done yet."""
    wish = {"name": verb, "step": step, "choice": choice, "reason": reason, "edits": list(edits)}
    chosen = {"names": list(names), "workflow": workflow, "statuses": list(statuses), "group": group}
    done = door.run(_preview(door, wish, chosen, person))
    door.screen.data(done)
    for item in done["items"]:
        mark = "ok" if item["ok"] else "bad"
        door.screen.print(f"{door.screen.mark(mark)} {item['instance']}  {item['title']}")
        for line in item["says"]:
            door.screen.print(f"      {line}")
    able = sum(item["ok"] for item in done["items"])
    door.screen.print(
        f"{done['batch']}: {len(done['items'])} chosen, {able} can be done, {len(done['items']) - able} cannot"
    )
    door.screen.note(f"Carry it out with: topstitch batch start {done['batch']}")


async def _preview(
    door: Door, wish: Mapping[str, Any], chosen: Mapping[str, Any], person: str | None
) -> dict[str, Any]:
    from topstitch.cli.desk import desk
    from topstitch.foundation.ids import new_id
    from topstitch.model.record import parse_actor

    settings = door.settings(person=person)
    async with desk(settings) as here:
        actor = parse_actor(settings.person)
        names = await _selection(here, chosen)
        items = [await _previewed(here, name, wish, actor) for name in names]
        name = new_id("bat", here.now())
        body = {"command": PREVIEWED, "batch": name, "wish": wish, "chosen": chosen, "items": names}
        await _note(here, actor, body)
    return {"batch": name, "verb": wish["name"], "items": items}


async def _selection(here: Desk, chosen: Mapping[str, Any]) -> list[str]:
    """Return the instances that are meant, frozen: by name, by case, or by what the list can tell apart."""
    from topstitch.cli.exceptions import cases_of, group_of
    from topstitch.store import instances

    if chosen["names"]:
        found = [await here.named(name) for name in chosen["names"]]
    elif chosen["group"]:
        found = [c["instance"] for c in await cases_of(here) if c["instance"] and group_of(c) == chosen["group"]]
    elif chosen["workflow"] or chosen["statuses"]:
        rows = await instances.listing(
            here.store, workflow=chosen["workflow"], statuses=chosen["statuses"], limit=ITEMS_MAX
        )
        found = [row["id"] for row in rows]
    else:
        raise RequestError("nothing-chosen", "name instances, or choose them with --group, --workflow or --status")
    if not found:
        raise NotFoundError("nothing-chosen", "no instance is chosen by this; see topstitch instances")
    return list(dict.fromkeys(str(name) for name in found))


async def _previewed(here: Desk, name: str, wish: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
    from topstitch.foundation.errors import TopstitchError

    seen = await here.picture(name)
    now = max(here.now(), seen.records[-1].at)
    item: dict[str, Any] = {"instance": name, "title": seen.state.title, "seq": seen.records[-1].seq}
    try:
        drafts = wished(seen.plan, seen.state, wish, actor, now, "preview")
    except TopstitchError as error:
        return {**item, "ok": False, "code": error.code, "says": [error.message]}
    return {**item, "ok": True, "says": _says(seen.plan, seen.state, drafts, wish)}


def wished(
    plan: Plan, state: InstanceState, wish: Mapping[str, Any], actor: Actor, now: datetime, name: str
) -> list[Draft]:
    """Return the records of what a batch wishes of one instance: its edits, then its command."""
    from topstitch import lifecycle
    from topstitch.execution.operate import Command

    reason = f"{wish['reason']} [{name}]"
    drafts: list[Draft] = []
    for change in wish["edits"]:
        path, value = _edited(plan, state, change)
        edit = Command(name="edit", reason=reason, path=path, value=value)
        for draft in lifecycle.operate(plan, state, edit, actor, now):
            drafts.append(draft)
            state = lifecycle.fold(plan, state, draft)
    if wish["name"] == "edit":
        if not drafts:
            raise RequestError("no-edit", "say what to change with --edit PATH=VALUE")
        return drafts
    asked = Command(name=wish["name"], reason=reason, step=wish["step"], choice=wish["choice"])
    return [*drafts, *lifecycle.operate(plan, state, asked, actor, now)]


def _edited(plan: Plan, state: InstanceState, change: str) -> tuple[str, Any]:
    """Read ``path=value``; a value that begins with ``=`` is an expression on the instance's own data."""
    from topstitch.foundation.canonical import parse
    from topstitch.language.expressions import runtime_expression
    from topstitch.plan.scope import facts

    path, equals, value = change.partition("=")
    if not equals or not path:
        raise RequestError("bad-change", f"{change!r} changes nothing; write it as PATH=VALUE")
    if value.startswith("="):
        return path.strip(), runtime_expression(value[1:].strip()).evaluate(facts(plan, state))
    try:
        return path.strip(), parse(value)
    except ValueError:
        return path.strip(), value


def _says(plan: Plan, before: InstanceState, drafts: Sequence[Draft], wish: Mapping[str, Any]) -> list[str]:
    """Say what would follow: the data that changes, the payloads that change with it, the steps."""
    from topstitch import lifecycle
    from topstitch.console.commands import sentences
    from topstitch.execution.operate import Command

    said, after = [], before
    for draft in drafts:
        after = lifecycle.fold(plan, after, draft)
        if draft.body.get("command") == "edit":
            said.append(f"{draft.body['path']}: {draft.body['before']!r} becomes {draft.body['after']!r}")
    said += _payloads(plan, before, after)
    if wish["name"] != "edit":
        command_ = Command(name=wish["name"], reason=wish["reason"], step=wish["step"], choice=wish["choice"])
        said += sentences(plan, before, after, command_)
    return said


def _payloads(plan: Plan, before: InstanceState, after: InstanceState) -> list[str]:
    from topstitch.model.instance import SETTLED

    said = []
    for name, step in plan.steps.items():
        if after.steps[name].status in SETTLED:
            continue
        old, new = _payload(plan, before, name), _payload(plan, after, name)
        said += [
            f"{step.title} would send {field}: {old.get(field)!r} becomes {new.get(field)!r}"
            for field in sorted({*old, *new})
            if old.get(field) != new.get(field)
        ]
    return said


def _payload(plan: Plan, state: InstanceState, name: str) -> Mapping[str, Any]:
    from topstitch.execution.begin import rendered
    from topstitch.language.expressions import ExpressionError

    try:
        payload = rendered(plan, plan.steps[name], state)
    except ExpressionError:
        return {}
    return payload if isinstance(payload, Mapping) else {"items": payload}


@_batch_command("start")
@click.argument("name", metavar="BATCH")
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 100),
    default=RATE_DEFAULT,
    show_default=True,
    metavar="N",
    help="At most so many a second.",
)
@PERSON
def start(door: Door, name: str, rate: float, person: str | None) -> None:
    """Carry out what was previewed, on exactly those instances. Exit 1 when an item could not be done."""
    results = door.run(_start(door, name, rate, person))
    door.screen.data({"batch": name, "items": [one.document() for one in results]})
    failed = [one for one in results if not one.ok]
    for one in failed:
        door.screen.print(f"{door.screen.mark('bad')} {one.item}: {one.message}")
    door.screen.print(f"{name}: {len(results) - len(failed)} of {len(results)} done")
    if failed:
        fail(FAILED)


async def _start(door: Door, name: str, rate: float, person: str | None) -> list[Done]:
    from topstitch.cli.desk import desk
    from topstitch.cli.selections import one_by_one
    from topstitch.foundation.clock import SystemClock
    from topstitch.model.record import parse_actor

    settings = door.settings(person=person)
    async with desk(settings) as here:
        kept = await _kept(here, name)
        if STARTED in kept:
            raise ConflictError(
                "batch-started", f"{name} was started already; topstitch batch show {name} says how it went"
            )
        actor, asked = parse_actor(settings.person), kept[PREVIEWED]
        wish, items = asked["wish"], list(asked["items"])
        await _note(here, actor, {"command": STARTED, "batch": name, "reason": wish["reason"], "count": len(items)})

        async def do(item: str) -> int | None:
            plan = (await here.picture(item)).plan
            records = await here.say(item, lambda state, now: wished(plan, state, wish, actor, now, name))
            return records[-1].seq

        results = await one_by_one(items, do, SystemClock(), per_second=rate)
        await _note(here, actor, {"command": ENDED, "batch": name, "results": [one.document() for one in results]})
    return results


@_batch_command("show")
@click.argument("name", metavar="BATCH")
def show(door: Door, name: str) -> None:
    """Show a batch: who wished what of how many, and how each went."""
    kept = door.run(_show(door, name))
    asked = kept[PREVIEWED]
    results = kept.get(ENDED, {}).get("results", [])
    state = "done" if ENDED in kept else "started" if STARTED in kept else "previewed"
    door.screen.data(
        {
            "batch": name,
            "state": state,
            "wish": asked["wish"],
            "count": len(asked["items"]),
            "by": asked["actor"],
            "results": results,
        }
    )
    count, wish = len(asked["items"]), asked["wish"]
    door.screen.print(f"{name}  {wish['name']} of {count} instances, by {asked['actor']}: {wish['reason']}   {state}")
    for one in results:
        door.screen.print(
            f"{door.screen.mark('ok' if one['ok'] else 'bad')} {one['item']}  {one.get('message', 'done')}"
        )


async def _show(door: Door, name: str) -> dict[str, dict[str, Any]]:
    from topstitch.cli.desk import desk

    async with desk(door.settings()) as here:
        return await _kept(here, name)


async def _kept(here: Desk, name: str) -> dict[str, dict[str, Any]]:
    """Return what the installation's journal holds of a batch, by what was done with it."""
    from topstitch.foundation.canonical import parse
    from topstitch.model.kinds import Kind
    from topstitch.store import instances
    from topstitch.store.ledger import INSTALLATION

    found: dict[str, dict[str, Any]] = {}
    after = 0
    while rows := await instances.stored_records(here.store, after_position=after, instance=INSTALLATION):
        after = rows[-1].position
        for row in rows:
            if row.kind != Kind.OPERATOR_COMMANDED:
                continue
            document = parse(row.body)
            body = document["body"]
            if body.get("batch") == name:
                found[body["command"]] = {**body, "actor": document["actor"], "at": document["at"]}
    if PREVIEWED not in found:
        raise NotFoundError("no-batch", f"there is no batch {name}; make one with topstitch batch preview")
    return found


async def _note(here: Desk, actor: Actor, body: Mapping[str, Any]) -> None:
    from topstitch.model.kinds import Kind
    from topstitch.model.record import Draft, Stage
    from topstitch.store.ledger import note_down

    draft = Draft(kind=Kind.OPERATOR_COMMANDED, at=here.now(), actor=actor, stage=Stage.AUDIT, body=body)
    await note_down(here.store, draft)
