"""Watches the seams: gathers the rows, lets the rules judge, and writes what they say.

``evaluate`` is one look at everything and one transaction; two processes that look at the same
time count once. ``board``, ``speeds`` and ``promises`` are the same figures for pages, so that
board and alert cannot disagree. ``outbox`` tells. People acknowledge, mute and pin
anew here, and each of that stands in the installation's journal. Nothing here touches an instance.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol

from topstitch.foundation.errors import NotFoundError, RequestError
from topstitch.foundation.timetext import duration_text, rfc3339
from topstitch.governance.calendar import Calendar
from topstitch.metrics import alerts, baselines, conditions, pending, rollups, routes, seams, seasons, sla
from topstitch.metrics.alerts import Condition
from topstitch.metrics.baselines import Speed
from topstitch.metrics.exceptions import Count, Outcome
from topstitch.metrics.limits import DAY_MS, DEFAULT, HOUR_MS, Limits
from topstitch.metrics.pending import Open, Pending
from topstitch.metrics.routes import Route
from topstitch.metrics.seams import Seam, SeamFigures, Window
from topstitch.metrics.sla import Progress, Standing
from topstitch.model.record import Actor, Draft, Stage
from topstitch.plan.plan import Plan
from topstitch.store import Store, alarms, deciding, measures, populations, rollups as kept
from topstitch.store.alarms import AlertRow, Mute, Verdict
from topstitch.store.measures import Duration, Wanted
from topstitch.store.rollups import Baseline, Season
from topstitch.store.sealing import milliseconds

EVALUATE_SECONDS: Final = 30
"""How often an evaluation is due."""
PINNER: Final = "system:metrics"


Calendars = Mapping[str, Mapping[str, Calendar]]
"""Workflow -> promise -> in which hours its time runs."""


class PlanSource(Protocol):
    """Where plans come from; ``bootstrap.plans.Plans`` is one."""

    async def load(self, digest: str) -> Plan:
        """Return the plan of a definition version."""
        ...

    async def in_force(self) -> Sequence[Plan]:
        """Return the plan in force of every workflow."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """What watching takes: the database, the plans, the limits, the places to tell."""

    store: Store
    plans: PlanSource
    limits: Limits = DEFAULT
    routes: Mapping[str, Route] = field(default_factory=dict)
    calendars: Callable[[], Awaitable[Calendars]] | None = None
    """Asked at every look in which hours the time of promises runs; without it, in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The plans that matter now: in force, and those of open instances."""

    in_force: Sequence[Plan]
    by_digest: Mapping[str, Plan]
    by_version: Mapping[tuple[str, str], Plan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What one look has found."""

    at_ms: int
    conditions: Sequence[Condition]
    verdict: Verdict
    counted: bool
    """Whether it was written; another process's may have been faster."""


# --- Looking --------------------------------------------------------------------------------------


async def evaluate(watcher: Watcher, now: datetime, extra: Iterable[Condition] = ()) -> Evaluation:
    """Look at everything once; open, raise and clear alerts; word what is to be told.

    ``extra`` are conditions that others have found, such as a population check that differs.
    """
    now_ms = milliseconds(now)
    number, standing, mutes = await alarms.standing(watcher.store)
    known, opened = await look(watcher)
    found, pinned = await _conditions(watcher, known, opened, now_ms)
    found += extra
    verdict = alerts.settle(
        standing, found, mutes, now_ms, number=number, tell=routes.tells(watcher.routes), baselines=pinned
    )
    counted = await alarms.settle(watcher.store, verdict)
    return Evaluation(at_ms=now_ms, conditions=found, verdict=verdict, counted=counted)


async def look(watcher: Watcher) -> tuple[Known, list[Open]]:
    """Return the plans that matter now, and the instances that are open."""
    opened = pending.open_instances(await measures.picture(watcher.store))
    digests = {one.row.digest for one in opened}
    return await _known(watcher, digests), opened


async def _known(watcher: Watcher, digests: Iterable[str]) -> Known:
    in_force = await watcher.plans.in_force()
    by_digest = {plan.digest: plan for plan in in_force}
    for digest in sorted(set(digests) - set(by_digest)):
        try:
            by_digest[digest] = await watcher.plans.load(digest)
        except NotFoundError:
            continue  # an instance of a definition that this database has never held
    return Known(
        in_force=in_force,
        by_digest=by_digest,
        by_version={(plan.workflow, plan.version): plan for plan in by_digest.values()},
    )


async def _conditions(
    watcher: Watcher, known: Known, opened: Sequence[Open], now_ms: int
) -> tuple[list[Condition], list[Baseline]]:
    limits, store = watcher.limits, watcher.store
    waiting = await open_handoffs(watcher, known, opened, now_ms)
    paces, recent, pinned = await _paces(watcher, known, now_ms)
    lookback = max((plan.monitor.handoff_alert_seconds * 1000 for plan in known.in_force), default=0)
    least = min((plan.monitor.handoff_target_seconds * 1000 for plan in known.in_force), default=0)
    ended = await measures.long_crossings(store, now_ms - lookback, now_ms + 1, over_ms=least)
    known = await _with_versions(watcher, known)
    failed, outcomes, worst = await _exceptions(watcher, known, recent, now_ms)
    longer = await _longer(watcher, known, failed, now_ms)
    standings = _standings(known, opened, paces, await _hours(watcher), now_ms)
    plans = known.in_force
    found = conditions.handoff_conditions(plans, waiting, ended, paces, failed, now_ms, limits)
    found += conditions.duration_conditions(plans, paces, _slowest(recent, limits), now_ms, limits)
    found += conditions.running_conditions(plans, pending.running(opened, now_ms), paces, limits)
    found += conditions.exception_conditions(plans, failed, longer, outcomes, worst, now_ms, limits)
    found += conditions.sla_conditions(plans, standings, limits)
    overdue = await measures.overdue(store, now_ms - limits.overdue_ms, now_ms)
    found += conditions.overdue_conditions(plans, overdue, now_ms, limits)
    differing = await populations.open_differences(store, each=conditions.BULK)
    found += conditions.population_conditions(known.in_force, differing)
    return found, pinned


async def open_handoffs(watcher: Watcher, known: Known, opened: Sequence[Open], now_ms: int) -> list[Pending]:
    """Return every open handoff; the journals of the oldest candidates are asked for what only they hold."""
    least = min((plan.monitor.handoff_target_seconds * 1000 for plan in known.by_digest.values()), default=0)
    names = pending.candidates(opened, known.by_digest, now_ms, least)
    asked = set(names[: measures.FACTS_INSTANCES_MAX])
    facts = await measures.facts(watcher.store, sorted(asked), pending.FACT_KINDS)
    # beyond what is asked for, the same outage is known already; guessing would overstate it
    beyond = set(names) - asked
    seen = [one for one in opened if one.row.instance not in beyond]
    return pending.pending(seen, known.by_digest, facts, now_ms)


# --- Figures for pages ------------------------------------------------------------------------------


async def board(watcher: Watcher, now: datetime, *, hours: int = 24, slots: int = 24) -> list[SeamFigures]:
    """Return every seam of every definition, the worst first: what ``topstitch seams`` shows."""
    now_ms = milliseconds(now)
    since, slot = now_ms - hours * HOUR_MS, max(hours * HOUR_MS // slots, 1)
    known, opened = await look(watcher)
    waiting = await open_handoffs(watcher, known, opened, now_ms)
    crossings = await measures.crossings(watcher.store, since, now_ms + 1, slot_ms=slot)
    known = await _with_versions(watcher, known)
    window = await _window(watcher, since, now_ms, slot, crossings)
    window = replace(window, outcomes=await _outcomes_by_version(watcher, known, window, now_ms))
    return seams.board(window, known.by_version, known.in_force, waiting, watcher.limits)


async def speeds(watcher: Watcher, now: datetime) -> dict[tuple[str, str], Speed]:
    """Return how fast each step of the definitions in force is, beside its baselines."""
    known = await _with_versions(watcher, await _known(watcher, ()))
    paces, _, _ = await _paces(watcher, known, milliseconds(now))
    return paces


async def promises(watcher: Watcher, now: datetime, *, workflow: str, days: int = 7) -> list[Standing]:
    """Return how every promise stands in the instances of one workflow that began in the last days."""
    now_ms = milliseconds(now)
    found = await progress_of(watcher.store, workflow, now_ms - days * 24 * HOUR_MS, now_ms)
    known = await _with_versions(watcher, await _known(watcher, {one.row.digest for one in found}))
    paces, _, _ = await _paces(watcher, known, now_ms)
    usual, hours = _usual(paces), await _hours(watcher)
    return [
        standing
        for one in found
        if (plan := known.by_digest.get(one.row.digest)) is not None
        for standing in sla.standings(plan, one, usual.get(plan.workflow, {}), now_ms, hours.get(plan.workflow))
    ]


async def progress_of(store: Store, workflow: str, since_ms: int, until_ms: int) -> list[Progress]:
    """Return the instances of one workflow that began in a time, as far as they have come."""
    begun = await measures.begun(store, workflow, since_ms, until_ms)
    steps: dict[str, dict[str, measures.StepRow]] = {}
    for step in begun.steps:
        steps.setdefault(step.instance, {})[step.step] = step
    asked: dict[str, list[measures.AskedRow]] = {}
    for one in begun.asked:
        asked.setdefault(one.instance, []).append(one)
    return [
        Progress(
            row=row,
            steps=steps.get(row.instance, {}),
            asked=asked.get(row.instance, ()),
            ended_ms=begun.ended.get(row.instance),
        )
        for row in begun.instances
    ]


# --- Gathering ----------------------------------------------------------------------------------------


async def _with_versions(watcher: Watcher, known: Known) -> Known:
    """Add every published version of the workflows in force, so that older rows find their plan."""
    found = await kept.versions(watcher.store, [plan.workflow for plan in known.in_force])
    missing = {digest for digest in found if digest not in known.by_digest}
    return await _known(watcher, set(known.by_digest) | missing) if missing else known


async def _paces(
    watcher: Watcher, known: Known, now_ms: int
) -> tuple[dict[tuple[str, str], Speed], dict[tuple[str, str], list[Duration]], list[Baseline]]:
    """Return each step's speed, its newest executions, and what can be pinned now."""
    limits = watcher.limits
    pinned: dict[tuple[str, str, str], list[Baseline]] = {}
    for baseline in await kept.baselines_of(watcher.store):
        pinned.setdefault((baseline.workflow, baseline.step, baseline.family), []).append(baseline)
    weekly = await _seasons(watcher.store)
    steps = [(plan, step) for plan in known.in_force for step in plan.steps.values() if step.act is not None]
    families = [(plan.workflow, step.id, baselines.family_of(plan, step)) for plan, step in steps]
    plans = _families(known)
    wanted = [
        Wanted(
            key[1],
            [one.digest for one in plans[key]],
            now_ms - (limits.current_ms if key in pinned else limits.raw_days * DAY_MS),
            limits.baseline_window if key not in pinned else limits.current_window,
        )
        for key in families
    ]
    rows = await measures.recent(watcher.store, wanted, now_ms)
    paces: dict[tuple[str, str], Speed] = {}
    recent: dict[tuple[str, str], list[Duration]] = {}
    new: list[Baseline] = []
    for (plan, step), key, found in zip(steps, families, rows, strict=True):
        clean = [row.duration_ms for row in found]
        today = [row for row in found if row.done_ms >= now_ms - limits.current_ms]
        known_ones = pinned.get(key, [])
        if not known_ones:
            first = baselines.to_pin(
                workflow=key[0], step=key[1], family=key[2], clean_ms=clean, known=(), now_ms=now_ms, by=PINNER,
                because="enough clean executions", limits=limits,
            )  # fmt: skip
            if first is not None:
                new.append(first)
                known_ones = [first]
        factor = plan.monitor.duration_factor
        current = [row.duration_ms for row in today]
        season = weekly.get((*key, known_ones[-1].number)) if known_ones else None
        times, hours = [row.done_ms for row in today], season.hours if season else {}
        beside = baselines.Now(at_ms=now_ms, times_ms=times, hours=hours)
        paces[plan.workflow, step.id] = baselines.speed(factor, clean, current, known_ones, limits, beside)
        recent[plan.workflow, step.id] = today
    return paces, recent, new


def _families(known: Known) -> dict[tuple[str, str, str], list[Plan]]:
    """Return the versions whose executions of a step are comparable: those of one family."""
    found: dict[tuple[str, str, str], list[Plan]] = {}
    for plan in known.by_digest.values():
        for step in plan.steps.values():
            found.setdefault((plan.workflow, step.id, baselines.family_of(plan, step)), []).append(plan)
    return found


async def _window(
    watcher: Watcher, since: int, now_ms: int, slot: int, crossings: Sequence[measures.Crossings] = ()
) -> Window:
    exceptions = await measures.exceptions(watcher.store, since, now_ms + 1)
    crossed = await measures.crossed(
        watcher.store, sorted({one.instance for one in exceptions})[:5000], since, now_ms + 1
    )
    tried: Sequence[measures.Tried] = ()
    if not crossings or seams.is_shared(crossings):
        tried = await measures.tried(watcher.store, since, now_ms + 1)
    return Window(
        since_ms=since,
        until_ms=now_ms,
        slot_ms=slot,
        crossings=crossings,
        tried=tried,
        exceptions=exceptions,
        crossed=frozenset(crossed),
    )


async def _exceptions(
    watcher: Watcher, known: Known, recent: Mapping[tuple[str, str], Sequence[Duration]], now_ms: int
) -> tuple[dict[tuple[str, Seam], Count], dict[tuple[str, Seam], list[Outcome]], dict[tuple[str, Seam], list[Outcome]]]:
    span = max((plan.monitor.exception_window_seconds * 1000 for plan in known.in_force), default=24 * HOUR_MS)
    window = await _window(watcher, now_ms - span, now_ms, HOUR_MS)
    failed = conditions.seam_counts(window, known.by_version)
    worst = conditions.failures(window, known.by_version)
    return failed, _outcomes(known, recent, worst), worst


def _outcomes(
    known: Known,
    recent: Mapping[tuple[str, str], Sequence[Duration]],
    worst: Mapping[tuple[str, Seam], Sequence[Outcome]],
) -> dict[tuple[str, Seam], list[Outcome]]:
    """Return how the latest executions at each seam with exceptions came out, successes included."""
    found = {key: list(outcomes) for key, outcomes in worst.items()}
    for plan in known.in_force:
        for step in plan.steps.values():
            seam = seams.seam_of_step(plan, step.id)
            key = (plan.workflow, seam) if seam else None
            if key is not None and key in found:
                found[key] += [
                    Outcome(instance=row.instance, at_ms=row.done_ms)
                    for row in recent.get((plan.workflow, step.id), ())
                ]
    return found


async def _outcomes_by_version(
    watcher: Watcher, known: Known, window: Window, now_ms: int
) -> dict[tuple[str, str, Seam], Sequence[Outcome]]:
    if not window.exceptions:
        return {}
    _, recent, _ = await _paces(watcher, known, now_ms)
    outcomes = _outcomes(known, recent, conditions.failures(window, known.by_version))
    return {
        (plan.workflow, plan.version, seam): found
        for plan in known.in_force
        for (workflow, seam), found in outcomes.items()
        if workflow == plan.workflow
    }


async def _longer(
    watcher: Watcher, known: Known, failed: Mapping[tuple[str, Seam], Count], now_ms: int
) -> dict[tuple[str, Seam], Count]:
    """Return the second line: seams with exceptions and few executions, over as many days as hold enough."""
    limits = watcher.limits
    thin = {key for key, count in failed.items() if count.failed and count.tried < limits.extend_to}
    found: dict[tuple[str, Seam], Count] = {}
    for days in (2, 4, 7):
        if not thin:
            break
        since = now_ms - min(days * 24 * HOUR_MS, limits.extend_ms)
        counts = conditions.seam_counts(await _window(watcher, since, now_ms, HOUR_MS), known.by_version)
        found |= {key: counts[key] for key in thin if key in counts}
        thin = {key for key in thin if key in counts and counts[key].tried < limits.extend_to}
    return found


async def _hours(watcher: Watcher) -> Calendars:
    return await watcher.calendars() if watcher.calendars is not None else {}


def _standings(
    known: Known, opened: Iterable[Open], paces: Mapping[tuple[str, str], Speed], hours: Calendars, now_ms: int
) -> list[Standing]:
    usual = _usual(paces)
    return [
        standing
        for one in opened
        if (plan := known.by_digest.get(one.row.digest)) is not None
        for standing in sla.standings(
            plan,
            Progress(row=one.row, steps=one.steps, asked=one.asked),
            usual.get(plan.workflow, {}),
            now_ms,
            hours.get(plan.workflow),
        )
    ]


def _usual(paces: Mapping[tuple[str, str], Speed]) -> dict[str, dict[str, float]]:
    usual: dict[str, dict[str, float]] = {}
    for (workflow, step), speed in paces.items():
        if speed.shown_ms is not None:
            usual.setdefault(workflow, {})[step] = speed.shown_ms
    return usual


def _slowest(
    recent: Mapping[tuple[str, str], Sequence[Duration]], limits: Limits
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    return {
        key: [
            {"instance": row.instance, "text": duration_text(row.duration_ms / 1000)}
            for row in sorted(rows, key=lambda row: (-row.duration_ms, row.instance))[: limits.worst]
        ]
        for key, rows in recent.items()
    }


# --- What people do ---------------------------------------------------------------------------------------


async def acknowledge(watcher: Watcher, alert: str, actor: Actor, now: datetime, note: str | None = None) -> AlertRow:
    """Note that somebody has taken an alert on."""
    record = _record("alert.acknowledged", {"alert": alert, **({"note": note} if note else {})}, actor, now)
    return await alarms.acknowledge(watcher.store, alert, milliseconds(now), str(actor), note, record)


async def mute(watcher: Watcher, alert: str, actor: Actor, now: datetime, *, until: datetime, because: str) -> Mute:
    """Tell nobody of an alert's cause until a time; the reason stands beside it."""
    if not because.strip():
        raise RequestError("mute-reason", "a mute needs a reason; say why nobody has to hear of this")
    if until <= now:
        raise RequestError("mute-end", f"{rfc3339(until)} is over; name an end that is still to come")
    row = await alarms.get(watcher.store, alert)
    made = Mute(
        cause=row.cause,
        ends_ms=milliseconds(until),
        because=because.strip(),
        muted_by=str(actor),
        muted_ms=milliseconds(now),
    )
    body = {"alert": alert, "cause": row.cause, "until": rfc3339(until), "because": made.because}
    await alarms.mute(watcher.store, made, _record("alert.muted", body, actor, now))
    return made


async def pin_anew(watcher: Watcher, workflow: str, step: str, actor: Actor, now: datetime, because: str) -> Baseline:
    """Pin a new baseline of one step from what is usual now; the frozen first one stays for the goal."""
    known = await _with_versions(watcher, await _known(watcher, ()))
    plan = next((plan for plan in known.in_force if plan.workflow == workflow), None)
    if plan is None or step not in plan.steps:
        raise NotFoundError("no-step", f"{workflow} has no step {step} in force; `topstitch seams` lists what there is")
    family = baselines.family_of(plan, plan.steps[step])
    mine = [b for b in await kept.baselines_of(watcher.store, workflow) if (b.step, b.family) == (step, family)]
    digests = [one.digest for one in _families(known)[workflow, step, family]]
    wanted = Wanted(step, digests, 0, watcher.limits.baseline_window)
    (rows,) = await measures.recent(watcher.store, [wanted], milliseconds(now))
    new = baselines.to_pin(
        workflow=workflow, step=step, family=family, clean_ms=[row.duration_ms for row in rows], known=mine,
        now_ms=milliseconds(now), by=str(actor), because=because, limits=watcher.limits,
    )  # fmt: skip
    if new is None:
        said = f"{step} has {len(rows)} clean executions and a baseline takes {watcher.limits.pinned}"
        raise RequestError("baseline-too-few", f"{said}; wait for more of them")
    body = {"workflow": workflow, "step": step, "family": family, "number": new.number, "because": because}
    body |= {"median_ms": new.median_ms, "samples": new.samples}
    await alarms.repin(watcher.store, new, _record("baseline.pinned", body, actor, now))
    return new


async def keep(watcher: Watcher, now: datetime) -> tuple[int, int]:
    """Roll up the hours that are over and let old rows go; return how many hours, and of how many instances."""
    await deciding.forget_decided(watcher.store, now)
    known = await _with_versions(watcher, await _known(watcher, ()))
    hours = await rollups.roll_up(watcher.store, known.by_version, milliseconds(now), watcher.limits)
    await _learn(watcher, known)
    return hours, await rollups.age_out(watcher.store, milliseconds(now), watcher.limits)


async def _learn(watcher: Watcher, known: Known) -> None:
    """Let the baselines in force learn the hours of the week from what is rolled up."""
    weekly, plans = await _seasons(watcher.store), _families(known)
    newest = {(one.workflow, one.step, one.family): one for one in await kept.baselines_of(watcher.store)}
    rolled = await kept.mark(watcher.store, kept.ROLLED_MARK)
    for key, baseline in newest.items():
        if key in plans:
            season, versions = weekly.get((*key, baseline.number)), [one.version for one in plans[key]]
            await seasons.learn(watcher.store, baseline, season, versions, rolled, watcher.limits)


async def _seasons(store: Store) -> dict[tuple[str, str, str, int], Season]:
    return {(one.workflow, one.step, one.family, one.number): one for one in await kept.seasons_of(store)}


def _record(kind: str, body: Mapping[str, Any], actor: Actor, now: datetime) -> Draft:
    return Draft(kind=kind, at=now, actor=actor, stage=Stage.AUDIT, body=body)
