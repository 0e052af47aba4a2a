"""Commands on policy bundles: list, test, publish, show, explain, replay.

``test`` and ``publish`` read a folder of YAML files; nothing with a finding or a failing test is
published. ``explain`` works a recorded decision out again from what the record itself holds, and
``replay`` asks of recorded decisions what the bundle of a folder would have said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import BROKEN_CHAIN, FINDINGS, WAITING, Door, command_of, fail
from topstitch.cli.groups import Group
from topstitch.foundation.errors import NotFoundError, OperatorError, RequestError

if TYPE_CHECKING:
    from topstitch.cli.desk import Desk
    from topstitch.cli.screen import Screen
    from topstitch.governance.bundle import Bundle
    from topstitch.governance.policy import Change, Decided, Explanation, Tested
    from topstitch.model.record import Record
    from topstitch.model.state import InstanceState
    from topstitch.office.lawmaking import Checked, Enactment
    from topstitch.plan.plan import Plan
    from topstitch.settings import Settings
    from topstitch.store.policies import Move, Proposal, StoredBundle

ENVIRONMENT = click.option("--environment", metavar="NAME", help="Where it is in force. [the environment setting]")
LAST: Final = 500
"""How many decisions are replayed unless told otherwise."""
LAST_MAX: Final = 100_000
SUFFIXES: Final = (".yaml", ".yml")


@click.group(cls=Group)
def policy() -> None:
    """List, test, publish and show policy bundles; explain decisions, and replay them under another bundle."""


# --- test and publish -------------------------------------------------------------------------


@command_of(policy, "test")
@click.argument("folder", metavar="FOLDER")
def test(door: Door, folder: str) -> None:
    """Check a bundle and run the tests inside it. Exit 3 when there are findings or a test fails."""
    checked = _checked(folder)
    door.screen.data(_tested(checked))
    _print_checked(door.screen, checked)
    if not checked.clean:
        fail(FINDINGS)


@command_of(policy, "publish")
@click.argument("folder", metavar="FOLDER", required=False)
@click.option("--as", "person", metavar="PERSON", help="Who publishes. [the person setting, or your user name]")
@click.option("--parent", metavar="DIGEST", help="Refuse unless this bundle is in force. [the one in force now]")
@click.option("--dry-run", is_flag=True, help="Check, test and compare, and publish nothing.")
@click.option("--pending", is_flag=True, help="List what waits for a second person.")
@click.option("--agree", metavar="DIGEST", help="Put in force what somebody else proposed.")
@click.option("--withdraw", metavar="DIGEST", help="Take back what was proposed.")
@ENVIRONMENT
def publish(
    door: Door, folder: str | None, person: str | None, parent: str | None, environment: str | None, **wanted: Any
) -> None:
    """Publish a bundle: from now on it is in force in this environment, for what is under way too.

    A bundle that may demand less than the one in force waits until another publisher agrees.
    """
    settings = door.settings(person=person, environment=environment)
    if wanted["pending"] or wanted["agree"] or wanted["withdraw"]:
        door.run(_second_person(door, settings, agree=wanted["agree"], withdraw=wanted["withdraw"]))
        return
    if folder is None:
        raise RequestError("no-folder", "name the FOLDER to publish, or use --pending, --agree or --withdraw")
    checked = _checked(folder)
    if not checked.clean:
        door.screen.data(_tested(checked))
        _print_checked(door.screen, checked)
        door.screen.note("Nothing was published.")
        fail(FINDINGS)
    done = door.run(_publish(settings, checked, parent, dry_run=wanted["dry_run"]))
    door.screen.data(done.document())
    for line in done.lines():
        door.screen.print(line)
    if done.waits and not done.dry_run:
        fail(WAITING)


async def _publish(settings: Settings, checked: Checked, parent: str | None, *, dry_run: bool) -> Enactment:
    from topstitch.cli.desk import desk
    from topstitch.cli.rights import speaking
    from topstitch.model.record import parse_actor
    from topstitch.office import lawmaking
    from topstitch.office.publishing import wants_four_eyes

    async with desk(settings) as here:
        me = await speaking(settings, here.store)
        return await lawmaking.publish(
            here.store,
            checked,
            environment=settings.environment,
            by=parse_actor(me.actor),
            at=here.now(),
            parent=parent,
            four_eyes=await wants_four_eyes(here.store, settings.four_eyes),
            dry_run=dry_run,
        )


async def _second_person(door: Door, settings: Settings, *, agree: str | None, withdraw: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.rights import speaking
    from topstitch.office import lawmaking
    from topstitch.store import policies

    where = settings.environment
    async with desk(settings) as here:
        if agree is not None:
            done = await lawmaking.agree(here.store, agree, where, await speaking(settings, here.store), here.now())
            door.screen.print(f"{done.ref} is in force in {where}; {done.proposed_by} wrote it, and you agreed.")
            return
        if withdraw is not None:
            me = await speaking(settings, here.store)
            done = await lawmaking.withdraw(here.store, withdraw, where, me, here.now())
            door.screen.print(f"{done.ref} no longer waits.")
            return
        found = await policies.waiting(here.store)
    door.screen.data({"items": [_waits(one) for one in found]})
    rows = [
        (p.digest.removeprefix("sha256:")[:12], p.ref, p.environment, p.proposed_by, "; ".join(p.because))
        for p in found
    ]
    columns = ("proposal", "bundle", "environment", "by", "because")
    door.screen.table(columns, rows, "Nothing waits for a second person.")


def _waits(one: Proposal) -> dict[str, Any]:
    return {
        "digest": one.digest,
        "bundle": one.ref,
        "environment": one.environment,
        "parent": one.parent,
        "proposed_by": one.proposed_by,
        "because": list(one.because),
    }


def _checked(folder: str) -> Checked:
    from topstitch.office.lawmaking import check_bundle

    return check_bundle(_files(Path(folder)))


def _files(folder: Path) -> Mapping[str, str]:
    """Return the text of each file of a bundle's folder."""
    if not folder.is_dir():
        raise OperatorError("folder-missing", f"there is no folder {folder}; name the folder of a policy bundle")
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if not paths:
        raise OperatorError("folder-empty", f"{folder} holds no .yaml file; name the folder of a policy bundle")
    return {path.name: _text(path) for path in paths}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise OperatorError("file-unreadable", f"{path} is no UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise OperatorError(
            "file-unreadable", f"{path} cannot be read ({error.strerror}); correct its permissions"
        ) from None


def _tested(checked: Checked) -> dict[str, Any]:
    from topstitch.language import messages

    bundle = checked.bundle
    return {
        "bundle": bundle.ref if bundle else None,
        "digest": bundle.digest if bundle else None,
        "findings": [each for document, found in checked.findings for each in messages.as_json(document, found)],
        "tests": [
            {
                "test": one.index + 1,
                "passed": one.passed,
                "expected": one.expected,
                "got": one.got,
                "rules": list(one.rules),
                "errors": list(one.errors),
            }
            for one in checked.tests
        ],
        "clean": checked.clean,
    }


def _print_checked(screen: Screen, checked: Checked) -> None:
    from topstitch.language import messages

    for document, found in checked.findings:
        if found:
            screen.print(messages.as_text(document, found, every=True))
    for one in checked.failed:
        for line in _failure(one):
            screen.print(line)
    if checked.bundle is None:
        screen.note("This is no policy bundle yet; correct the findings, then test it again.")
        return
    passed = len(checked.tests) - len(checked.failed)
    mark = screen.mark("ok" if checked.clean else "bad")
    screen.print(f"{mark} {checked.bundle.ref}: {passed} of {len(checked.tests)} tests pass  {checked.bundle.digest}")


def _failure(one: Tested) -> list[str]:
    lines = [f"test {one.index + 1} fails", f"  expected {one.expected}", f"  got      {one.got}"]
    lines += [f"  by       {', '.join(one.rules)}"] if one.rules else []
    return lines + [f"  unknown  {error}" for error in one.errors]


# --- list and show -------------------------------------------------------------------------------------


@command_of(policy, "list")
@ENVIRONMENT
def list_bundles(door: Door, environment: str | None) -> None:
    """List the bundles that are and were in force here, newest first."""
    door.run(_list(door, door.settings(environment=environment)))


async def _list(door: Door, settings: Settings) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.foundation.timetext import rfc3339
    from topstitch.store import policies

    async with desk(settings) as here:
        moves = await policies.history(here.store, settings.environment)
        known = {digest: await policies.get(here.store, digest) for digest in {move.digest for move in moves}}
    items = [
        {
            "bundle": known[move.digest].ref,
            "digest": move.digest,
            "environment": move.environment,
            "in_force": move is moves[0],
            "since": rfc3339(move.moved_at),
            "by": move.moved_by,
            "written_by": known[move.digest].published_by,
        }
        for move in moves
    ]
    door.screen.data({"items": items})
    now, before = door.screen.mark("ok", "in force"), door.screen.mark("idle", "before")
    rows = [
        (
            known[move.digest].ref,
            now if move is moves[0] else before,
            at(move.moved_at),
            move.moved_by,
            move.digest.removeprefix("sha256:")[:12],
        )
        for move in moves
    ]
    empty = f"No policy was ever in force in {settings.environment}; topstitch policy publish FOLDER begins."
    door.screen.table(("bundle", "is", "since", "by", "digest"), rows, empty)


@command_of(policy, "show")
@click.argument("bundle", required=False, metavar="[BUNDLE]")
@ENVIRONMENT
def show(door: Door, bundle: str | None, environment: str | None) -> None:
    """Show the bundle in force: its rules, since when and by whom. BUNDLE is another: name@version or a digest."""
    door.run(_show(door, door.settings(environment=environment), bundle))


async def _show(door: Door, settings: Settings, name: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.foundation.timetext import rfc3339
    from topstitch.office.lawmaking import opened
    from topstitch.store import policies

    async with desk(settings) as here:
        moves = await policies.history(here.store, settings.environment)
        stored = (
            await _named(here, name) if name else await policies.get(here.store, moves[0].digest) if moves else None
        )
        refs = {move.digest: (await policies.get(here.store, move.digest)).ref for move in moves}
    history = [
        {"bundle": refs[m.digest], "digest": m.digest, "at": rfc3339(m.moved_at), "by": m.moved_by} for m in moves
    ]
    document: dict[str, Any] = {"environment": settings.environment, "history": history, "bundle": None}
    if stored is not None:
        document |= {
            "bundle": stored.ref,
            "digest": stored.digest,
            "in_force": bool(moves) and moves[0].digest == stored.digest,
            "published_at": rfc3339(stored.published_at),
            "published_by": stored.published_by,
            "text": opened(stored).normal(),
        }
    door.screen.data(document)
    if stored is None:
        door.screen.note(f"No policy is in force in {settings.environment}: the definitions decide. Publish one with")
        door.screen.note("topstitch policy publish FOLDER")
        return
    _print_bundle(door.screen, stored, moves, refs, settings.environment)


async def _named(here: Desk, name: str) -> StoredBundle:
    from topstitch.store import policies

    found = await policies.find(here.store, name)
    if not found:
        raise NotFoundError("no-bundle", f"there is no policy bundle {name!r}; topstitch policy show lists them")
    return found[0]


def _print_bundle(
    screen: Screen, stored: StoredBundle, moves: Sequence[Move], refs: Mapping[str, str], where: str
) -> None:
    from topstitch.cli.when import at
    from topstitch.office.lawmaking import demand_of, opened, sort_of

    bundle = opened(stored)
    screen.print(screen.style(f"{bundle.ref}  {bundle.digest}", bold=True))
    screen.print(f"owner {bundle.owner}; published {at(stored.published_at)} by {stored.published_by}")
    rows = [(rule.id, sort_of(rule), demand_of(rule), " ".join(rule.when.split())) for rule in bundle.rules]
    rows += [(f"tier-{tier}", "default", text, f"step.risk == {tier}") for tier, text in bundle.defaults.items()]
    screen.table(("rule", "kind", "demands", "when"), rows, "The bundle has no rules.")
    for move in moves:
        word = "in force" if move is moves[0] else "before"
        screen.print(f"{word} in {where}: {refs[move.digest]} from {at(move.moved_at)}, by {move.moved_by}")


# --- explain ----------------------------------------------------------------------------------


@command_of(policy, "explain")
@click.argument("instance", metavar="INSTANCE")
@click.argument("step", metavar="STEP")
def explain(door: Door, instance: str, step: str) -> None:
    """Say what decided on a step: rules, facts read, digests; work it out again. Exit 20 when that differs."""
    if not door.run(_explain(door, instance, step)):
        fail(BROKEN_CHAIN)


async def _explain(door: Door, instance: str, step: str) -> bool:
    from topstitch.cli.desk import desk
    from topstitch.governance.policy import explain as work_out
    from topstitch.model.kinds import Kind
    from topstitch.store import instances

    async with desk(door.settings()) as here:
        name = await here.named(instance)
        records = await instances.records(here.store, name)
        made = [record for record in records if record.kind == Kind.DECISION and record.step == step]
        if not made:
            steps = dict.fromkeys(str(record.step) for record in records if record.kind == Kind.DECISION)
            known = f"decided were {', '.join(steps)}" if steps else "nothing was decided yet"
            raise NotFoundError(
                "no-decision", f"there is no decision on {step!r} in {name}; {known}: name one of these"
            )
        bundles = await _bundles(here, made)
    explained = [(record, work_out(record.body, bundles)) for record in made]
    door.screen.data({"instance": name, "step": step, "decisions": [_explained(*each) for each in explained]})
    for record, explanation in explained:
        _print_explained(door.screen, record, explanation)
    return all(explanation.same for _, explanation in explained)


async def _bundles(here: Desk, made: Iterable[Record]) -> Mapping[str, Bundle]:
    """Return the bundles that decisions name, those that are here."""
    from topstitch.office.lawmaking import opened
    from topstitch.store import policies

    digests = {one["digest"] for record in made for one in record.body.get("policy", {}).values()}
    found: dict[str, Bundle] = {}
    for digest in digests:
        try:
            found[digest] = opened(await policies.get(here.store, digest))
        except NotFoundError:
            continue  # ``explain`` says that it is not here
    return found


def _explained(record: Record, explanation: Explanation) -> dict[str, Any]:
    from topstitch.foundation.timetext import rfc3339

    body = record.body
    parts = (
        "outcome",
        "risk",
        "gates",
        "because",
        "denied",
        "decided_by",
        "policy",
        "facts",
        "absent",
        "env",
        "engine",
    )
    return {
        "seq": record.seq,
        "at": rfc3339(record.at),
        "by": str(record.actor),
        **{name: body[name] for name in parts if name in body},
        "payload_digest": body.get("payload_digest"),
        "worked_out": str(explanation.ruling),
        "same": explanation.same,
        "why_not": explanation.why_not,
    }


def _print_explained(screen: Screen, record: Record, explanation: Explanation) -> None:
    from topstitch.cli.when import at

    screen.print(f"{at(record.at)}  record {record.seq}, by {record.actor}")
    for line in explanation.lines:
        screen.print(f"  {line}")
    if explanation.same:
        screen.print(f"  {screen.mark('ok')} worked out again from these facts: the same answer")
    else:
        screen.print(f"  {screen.mark('bad')} cannot be confirmed: {explanation.why_not}")


# --- replay -----------------------------------------------------------------------------------


@command_of(policy, "replay")
@click.argument("folder", metavar="FOLDER")
@click.option(
    "--last", type=click.IntRange(1, LAST_MAX), default=LAST, show_default=True, metavar="N", help="How many decisions."
)
def replay(door: Door, folder: str, last: int) -> None:
    """List which of the last recorded decisions the bundle of a folder would change. Nothing is published."""
    checked = _checked(folder)
    if checked.bundle is None or checked.found:
        door.screen.data(_tested(checked))
        _print_checked(door.screen, checked)
        fail(FINDINGS)
    door.run(_replay(door, checked.bundle, last))


async def _replay(door: Door, bundle: Bundle, last: int) -> None:
    from topstitch.cli.desk import desk
    from topstitch.governance.policy import replay as play

    async with desk(door.settings()) as here:
        decisions = await _decisions(here, bundle, last)
    changes = play(bundle, decisions)
    door.screen.data(
        {
            "bundle": bundle.ref,
            "digest": bundle.digest,
            "decisions": len(decisions),
            "changes": [_changed(change) for change in changes],
        }
    )
    rows = [
        (
            one.instance,
            one.step,
            str(one.before),
            str(one.after or "cannot be told"),
            ", ".join(one.rules or one.untold),
        )
        for one in changes
    ]
    door.screen.table(("instance", "step", "was", "would be", "by"), rows, "No decision would change.")
    door.screen.note(f"{bundle.ref} would change {len(changes)} of the last {len(decisions)} decisions.")


def _changed(change: Change) -> dict[str, Any]:
    return {
        "instance": change.instance,
        "step": change.step,
        "before": str(change.before),
        "after": str(change.after) if change.after is not None else None,
        "rules": list(change.rules),
        "untold": list(change.untold),
    }


async def _decisions(here: Desk, bundle: Bundle, last: int) -> list[Decided]:
    """Return the last decisions, oldest first."""
    from topstitch.bootstrap.plans import Plans
    from topstitch.cli.desk import contracts
    from topstitch.store import instances, policies

    plans = Plans(here.store, contracts(here.settings))
    places = await policies.last_decisions(here.store, last)
    wanted: dict[str, set[int]] = {}
    for instance, seq in places:
        wanted.setdefault(instance, set()).add(seq)
    found: dict[tuple[str, int], Decided] = {}
    for instance, numbers in wanted.items():
        records = await instances.records(here.store, instance)
        plan = await plans.load(records[0].body["digest"])
        found |= {(instance, seq): decided for seq, decided in _decided(plan, bundle, records, numbers)}
    return [found[place] for place in places]


def _decided(
    plan: Plan, bundle: Bundle, records: Sequence[Record], numbers: Collection[int]
) -> Iterator[tuple[int, Decided]]:
    """Yield decisions; where a record does not hold all that ``bundle`` reads, with what could be read then."""
    from topstitch import lifecycle
    from topstitch.governance.facts import is_told
    from topstitch.governance.policy import Decided

    state = lifecycle.initial(plan, records[0].instance)
    for record in records[: max(numbers)]:
        if record.seq in numbers:
            body = record.body
            told = all(is_told(path, body.get("facts", {}), body.get("absent", ())) for path in bundle.paths)
            scope = None if told else _scope(plan, state, record)
            if state.rates and "rates" not in body:
                body = {**body, "rates": dict(state.rates)}
            yield record.seq, Decided(instance=state.id, step=str(record.step), body=body, scope=scope)
        state = lifecycle.fold(plan, state, record)


def _scope(plan: Plan, state: InstanceState, record: Record) -> Mapping[str, Any]:
    """Return what rules could read at a decision: the instance as it stood, and what the record says of the rest."""
    from topstitch.governance.facts import DEFINITION_DECIDED, ENGINE_ACTS, NO_FREEZE, rebuilt
    from topstitch.governance.policy import scope_of
    from topstitch.model.record import ActorKind, parse_actor
    from topstitch.plan.heals import step_of

    asker = parse_actor(state.requester or "")
    noted = rebuilt(record.body.get("facts", {})).get("calendar", {})
    return scope_of(
        plan,
        step_of(plan, str(record.step)),
        state,
        record.body["payload"],
        calendar={**NO_FREEZE, **noted},
        actor={"kind": "agent", "id": asker.id} if asker.kind is ActorKind.AGENT else ENGINE_ACTS,
        decided=record.body.get("decided_by", DEFINITION_DECIDED),
    )
