"""Decides what is alarming at this moment, and whose fault it looks like.

Each function turns one metric into conditions: it fires over the limit, holds between where it
fires and where it clears, and is silent below. The diagnosis follows one rule (I-12): when the
steps at both ends are as fast as usual and handoffs climb, the orchestrator is the bottleneck;
otherwise the system is named. Pure; ``watch`` gathers, ``alerts`` opens and clears.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from topstitch.foundation.timetext import duration_text
from topstitch.metrics.alerts import Condition, Kind, Level
from topstitch.metrics.baselines import Pace, Speed, too_old_ms
from topstitch.metrics.exceptions import Count, Outcome, Share, judge
from topstitch.metrics.limits import DEFAULT, Limits
from topstitch.metrics.pending import Pending, Running
from topstitch.metrics.seams import Seam, counts, seam_of
from topstitch.metrics.sla import PromiseState, Standing
from topstitch.plan.plan import Plan
from topstitch.store.measures import LongCrossing, Overdue
from topstitch.store.populations import Standing as DifferingPopulations
from topstitch.store.sealing import milliseconds

SpeedKey = tuple[str, str]
"""Workflow and step."""
SeamKey = tuple[str, Seam]
"""Workflow and seam: an alert is about both, whatever the version."""
HOLD_SHARE = 0.1
"""A promise stays at risk until it is expected this share of its time before its end."""

BULK: Final = 20
"""So many open differences between the populations of one workflow have one alert, fewer an alert each."""
DIFFERENCES: Final[Mapping[str, str]] = {
    "no_instance": "{system} lists one for which nothing was started",
    "missing": "one that succeeded is missing in {system}",
    "extra": "{system} lists one that nothing of ours stands behind",
    "duplicate": "{system} lists one more than once",
}


def handoff_conditions(
    plans: Iterable[Plan],
    pending: Iterable[Pending],
    ended: Iterable[LongCrossing],
    speeds: Mapping[SpeedKey, Speed],
    failed: Mapping[SeamKey, Count],
    now_ms: int,
    limits: Limits = DEFAULT,
) -> list[Condition]:
    """Return the seams at which work lies, or has just lain, for longer than it should."""
    by_workflow = {plan.workflow: plan for plan in plans}
    found: dict[SeamKey, list[_Lying]] = {}
    for one in pending:
        seam = Seam(from_system=one.from_system, to_system=one.to_system)
        open_now = _Lying(one.instance, one.version, one.to_step, one.age_ms, now_ms)
        found.setdefault((one.workflow, seam), []).append(open_now)
    for long in ended:
        seam = Seam(from_system=long.from_system, to_system=long.to_system)
        lying = _Lying(long.instance, long.version, long.to_step, long.net_ms, long.started_ms)
        found.setdefault((long.workflow, seam), []).append(lying)
    conditions = []
    for key, many in found.items():
        plan = by_workflow.get(key[0])
        if plan is None:
            continue
        condition = _handoff(plan, key[1], many, speeds, failed.get(key), now_ms, limits)
        if condition is not None:
            conditions.append(condition)
    return conditions


class _Lying:
    """Work that lies, or lay, at a seam."""

    __slots__ = ("age_ms", "instance", "step", "until_ms", "version")

    def __init__(self, instance: str, version: str, step: str, age_ms: int, until_ms: int) -> None:
        self.instance, self.version, self.step = instance, version, step
        self.age_ms, self.until_ms = age_ms, until_ms


def _handoff(
    plan: Plan,
    seam: Seam,
    lying: Sequence[_Lying],
    speeds: Mapping[SpeedKey, Speed],
    failed: Count | None,
    now_ms: int,
    limits: Limits,
) -> Condition | None:
    target, limit = plan.monitor.handoff_target_seconds * 1000, plan.monitor.handoff_alert_seconds * 1000
    worst = sorted(lying, key=lambda one: (-one.age_ms, one.instance))
    if worst[0].age_ms <= target:
        return None
    over = [one for one in worst if one.age_ms > limit]
    still = [one for one in over if one.until_ms == now_ms]
    waits = f"{len(still)} still open" if still else "none open any more"
    exceptions = failed.text() if failed else "0 of 0 (0.0 %)"
    return Condition(
        cause=f"handoff|{plan.workflow}|{seam}",
        kind=Kind.HANDOFF,
        level=Level.RED,
        workflow=plan.workflow,
        version=worst[0].version,
        step=worst[0].step,
        from_system=seam.from_system,
        to_system=seam.to_system,
        since_ms=min(one.until_ms - one.age_ms for one in worst),
        title=f"{plan.title}: work lies between {seam.from_system} and {seam.to_system}",
        text=(
            f"{len(over)} handoff{'' if len(over) == 1 else 's'} {seam} took longer than {_s(limit)}, {waits}; "
            f"the longest {_s(worst[0].age_ms)}. "
            f"Exceptions at this seam: {exceptions}"
        ),
        diagnosis=diagnose(plan, seam, speeds, failed, limits),
        owner=plan.owner,
        worst=[{"instance": one.instance, "text": _s(one.age_ms)} for one in worst[: limits.worst]],
        holds=not over,
    )


def diagnose(
    plan: Plan, seam: Seam, speeds: Mapping[SpeedKey, Speed], failed: Count | None, limits: Limits = DEFAULT
) -> str:
    """Say where the bottleneck is: the orchestrator when both systems are as fast as usual, else the system."""
    at_seam = [s for s in plan.steps.values() if plan.connector_of(s.system) in (seam.to_system, seam.from_system)]
    slow = [(s, speeds[plan.workflow, s.id]) for s in at_seam if _is_slow(speeds.get((plan.workflow, s.id)))]
    if slow:
        step, speed = max(slow, key=lambda one: one[1].factor or 0)
        return f"{plan.connector_of(step.system)}: {step.title} takes {speed.text}"
    if failed is not None and failed.share > plan.monitor.exception_alert and failed.failed >= limits.exceptions_least:
        return f"{seam.to_system}: {failed.text()} of its executions had an exception"
    learning = any((s := speeds.get((plan.workflow, step.id))) is None or s.pace is Pace.LEARNING for step in at_seam)
    usual = "still being learnt" if learning else "as usual"
    return (
        f"orchestrator: durations at {seam.from_system} and {seam.to_system} are {usual} and handoffs climb; "
        "see that an engine is up and keeps pace"
    )


def _is_slow(speed: Speed | None) -> bool:
    return speed is not None and speed.pace in (Pace.SLOW, Pace.RAISED)


def duration_conditions(
    plans: Iterable[Plan],
    speeds: Mapping[SpeedKey, Speed],
    slowest: Mapping[SpeedKey, Sequence[Mapping[str, Any]]],
    now_ms: int,
    limits: Limits = DEFAULT,
) -> list[Condition]:
    """Return the steps whose windowed median is a multiple of their pinned baseline."""
    found = []
    for plan in plans:
        for step in plan.steps.values():
            speed = speeds.get((plan.workflow, step.id))
            if speed is None or speed.pace not in (Pace.SLOW, Pace.RAISED):
                continue
            system = plan.connector_of(step.system)
            found.append(
                Condition(
                    cause=f"duration|{plan.workflow}|{step.id}",
                    kind=Kind.DURATION,
                    level=Level.RED,
                    workflow=plan.workflow,
                    version=plan.version,
                    step=step.id,
                    from_system=_before(plan, step.id),
                    to_system=system,
                    since_ms=now_ms,
                    title=f"{plan.title}: {step.title} is slow",
                    text=f"The last executions took {speed.text}",
                    diagnosis=f"{system}: the step itself takes longer, from its first attempt to its confirmation",
                    owner=plan.owner,
                    worst=list(slowest.get((plan.workflow, step.id), ()))[: limits.worst],
                    evaluations=limits.evaluations,
                    holds=speed.pace is Pace.RAISED,
                )
            )
    return found


def running_conditions(
    plans: Iterable[Plan],
    running: Iterable[Running],
    speeds: Mapping[SpeedKey, Speed],
    limits: Limits = DEFAULT,
) -> list[Condition]:
    """Return the steps of which a single execution under way is too old."""
    by_workflow = {plan.workflow: plan for plan in plans}
    old: dict[SpeedKey, list[Running]] = {}
    limits_ms: dict[SpeedKey, int] = {}
    for one in running:
        plan = by_workflow.get(one.workflow)
        step = plan.steps.get(one.step) if plan else None
        if plan is None or step is None or step.act is None:
            continue  # a wait ends by its own declared time
        speed = speeds.get((one.workflow, one.step))
        usual = speed.p95_ms(one.started_ms) if speed else None
        limit = too_old_ms(usual, share_of_promise_ms(plan, one.step), limits)
        if limit is not None and one.age_ms > limit:
            old.setdefault((one.workflow, one.step), []).append(one)
            limits_ms[one.workflow, one.step] = min(limit, limits_ms.get((one.workflow, one.step), limit))
    found = []
    for (workflow, name), executions in old.items():
        plan = by_workflow[workflow]
        worst = sorted(executions, key=lambda one: (-one.age_ms, one.instance))
        system, title = plan.connector_of(plan.steps[name].system), plan.steps[name].title
        found.append(
            Condition(
                cause=f"running|{workflow}|{name}",
                kind=Kind.RUNNING,
                level=Level.RED,
                workflow=workflow,
                version=worst[0].version,
                step=name,
                from_system=_before(plan, name),
                to_system=system,
                since_ms=worst[0].started_ms,
                title=f"{plan.title}: {title} has been running for {_s(worst[0].age_ms)}",
                text=_older(title, len(worst), limits_ms[workflow, name]),
                diagnosis=f"{system}: the step has begun and is not confirmed",
                owner=plan.owner,
                worst=[{"instance": one.instance, "text": _s(one.age_ms)} for one in worst[: limits.worst]],
            )
        )
    return found


def share_of_promise_ms(plan: Plan, step: str) -> int | None:
    """Return the tightest promise that covers a step: no execution of it may be older."""
    promised = [sla.within_seconds * 1000 for sla in plan.sla if step in sla.steps]
    return min(promised) if promised else None


def exception_conditions(
    plans: Iterable[Plan],
    failed: Mapping[SeamKey, Count],
    longer: Mapping[SeamKey, Count],
    outcomes: Mapping[SeamKey, Sequence[Outcome]],
    worst: Mapping[SeamKey, Sequence[Outcome]],
    now_ms: int,
    limits: Limits = DEFAULT,
) -> list[Condition]:
    """Return the seams with too large a share of exceptions."""
    by_workflow = {plan.workflow: plan for plan in plans}
    found = []
    for (workflow, seam), count in failed.items():
        plan = by_workflow.get(workflow)
        if plan is None or not count.failed:
            continue
        key = (workflow, seam)
        target, alert = plan.monitor.exception_target, plan.monitor.exception_alert
        said = judge(
            count, alert=alert, target=target, outcomes=outcomes.get(key, ()), longer=longer.get(key), limits=limits
        )
        holds = said.share is Share.QUIET
        if holds and count.share <= (target + alert) / 2:
            continue
        latest = sorted(worst.get(key, ()), key=lambda one: -one.at_ms)
        window = _s(plan.monitor.exception_window_seconds * 1000)
        classes = sorted({one.failure for one in latest})
        found.append(
            Condition(
                cause=f"exceptions|{workflow}|{seam}",
                kind=Kind.EXCEPTIONS,
                level=Level.PAGING if said.share is Share.PAGING else Level.CROSSED,
                workflow=workflow,
                version=plan.version,
                from_system=seam.from_system,
                to_system=seam.to_system,
                since_ms=min((one.at_ms for one in latest), default=now_ms),
                title=f"{plan.title}: exceptions at {seam}",
                text=f"{said.text}; the limit is {alert * 100:g} % of executions in {window}",
                diagnosis=_culprit(seam, classes),
                owner=plan.owner,
                worst=[{"instance": one.instance, "text": one.failure} for one in latest[: limits.worst]],
                holds=holds,
            )
        )
    return found


def _culprit(seam: Seam, classes: Sequence[str]) -> str:
    if classes == ["expression"]:
        return "definition: a condition or payload could not be worked out"
    return f"{seam.to_system}: {', '.join(classes)}" if classes else seam.to_system


def sla_conditions(plans: Iterable[Plan], standings: Iterable[Standing], limits: Limits = DEFAULT) -> list[Condition]:
    """Return the promises that are broken or at risk in instances still under way."""
    by_workflow = {plan.workflow: plan for plan in plans}
    grouped: dict[tuple[str, str], list[Standing]] = {}
    for one in standings:
        if one.open and (one.state in (PromiseState.AT_RISK, PromiseState.BREACHED) or _nearly(one)):
            grouped.setdefault((one.workflow, one.promise), []).append(one)
    found = []
    for (workflow, promise), many in grouped.items():
        plan = by_workflow.get(workflow)
        if plan is None:
            continue
        worst = sorted(many, key=lambda one: (one.left_ms, one.instance))
        broken = [one for one in worst if one.state is PromiseState.BREACHED]
        risky = [one for one in worst if one.state is PromiseState.AT_RISK]
        found.append(
            Condition(
                cause=f"sla|{workflow}|{promise}",
                kind=Kind.SLA,
                level=Level.BREACHED if broken else Level.AT_RISK,
                workflow=workflow,
                version=worst[0].version,
                step=next(iter(worst[0].waiting), None),
                from_system=worst[0].from_system,
                to_system=worst[0].to_system,
                since_ms=worst[0].started_ms,
                title=f"{plan.title}: the promise '{promise}' is {'broken' if broken else 'at risk'}",
                text=f"{len(broken)} broken and {len(risky)} at risk among those under way; the worst: {worst[0].text}",
                diagnosis=worst[0].holds_up,
                owner=plan.owner,
                worst=[{"instance": one.instance, "text": one.text} for one in worst[: limits.worst]],
                holds=not broken and not risky,
            )
        )
    return found


def overdue_conditions(
    plans: Iterable[Plan], overdue: Iterable[Overdue], now_ms: int, limits: Limits = DEFAULT
) -> list[Condition]:
    """Return the workflows whose reconciliation checks are due and have not begun."""
    by_workflow = {plan.workflow: plan for plan in plans}
    grouped: dict[str, list[Overdue]] = {}
    for one in overdue:
        grouped.setdefault(one.workflow, []).append(one)
    return [
        Condition(
            cause=f"check|{workflow}",
            kind=Kind.CHECK,
            level=Level.RED,
            workflow=workflow,
            version=late[0].version,
            since_ms=late[0].due_ms,
            title=f"{plan.title}: reconciliation is overdue",
            text=_late(plan, len(late), now_ms - late[0].due_ms),
            diagnosis="orchestrator: nobody has taken the checks up; see that an engine is up and keeps pace",
            owner=plan.owner,
            worst=[{"instance": o.instance, "text": _s(now_ms - o.due_ms)} for o in late[: limits.worst]],
        )
        for workflow, late in grouped.items()
        if (plan := by_workflow.get(workflow)) is not None
    ]


def population_conditions(plans: Iterable[Plan], differing: Mapping[str, DifferingPopulations]) -> list[Condition]:
    """Return what whole populations differ in: an alert for each, as long as they are few.

    Many are an incident or a wrong mapping, and one alert.
    """
    found = []
    for plan in plans:
        standing = differing.get(plan.workflow)
        if standing is None:
            continue
        if standing.how_many >= BULK:
            text = (
                f"{standing.how_many} differences are open; see topstitch discrepancies list --workflow {plan.workflow}"
            )
            found.append(_differing(plan, "", milliseconds(standing.since), "the systems do not list the same", text))
            continue
        for row in standing.oldest:
            system = plan.systems[row["system"]].title if row["system"] in plan.systems else str(row["system"])
            title = DIFFERENCES[row["what"]].format(system=system)
            text = f"Compare and settle it with topstitch discrepancies show {row['id']}"
            worst = [{"instance": row["instance"], "text": "stands behind it"}] if row["instance"] else []
            fault = f"{_connector(plan, row['system'])}, compared with what {_trigger(plan)} has started"
            found.append(_differing(plan, str(row["id"]), milliseconds(row["opened_at"]), title, text, worst, fault))
    return found


def _differing(
    plan: Plan,
    name: str,
    since_ms: int,
    title: str,
    text: str,
    worst: Sequence[Mapping[str, Any]] = (),
    diagnosis: str = "",
) -> Condition:
    many = not name
    return Condition(
        cause=f"population|{plan.workflow}" + (f"|{name}" if name else ""),
        kind=Kind.CHECK,
        level=Level.RED,
        workflow=plan.workflow,
        version=plan.version,
        since_ms=since_ms,
        title=f"{plan.title}: {title}",
        text=text,
        diagnosis="so many at once are an incident or a wrong mapping, no drift" if many else diagnosis,
        owner=plan.owner,
        worst=worst,
    )


def _late(plan: Plan, count: int, oldest_ms: int) -> str:
    checks = "1 check was" if count == 1 else f"{count} checks were"
    others = sorted({plan.connector_of(alias) for alias in plan.systems} - {_trigger(plan)})
    return (
        f"{checks} due and {'has' if count == 1 else 'have'} not begun; the oldest for {_s(oldest_ms)}. "
        f"Until then nobody compares {_trigger(plan)} with {', '.join(others)}"
    )


def _trigger(plan: Plan) -> str:
    return plan.connector_of(plan.trigger.system)


def _connector(plan: Plan, alias: str) -> str:
    return plan.connector_of(alias) if alias in plan.systems else alias


def _older(title: str, count: int, limit_ms: int) -> str:
    executions = "1 execution" if count == 1 else f"{count} executions"
    return f"{executions} of {title} {'has' if count == 1 else 'have'} been under way for longer than {_s(limit_ms)}"


def _nearly(one: Standing) -> bool:
    return one.state is PromiseState.ON_TRACK and one.left_ms < one.within_ms * HOLD_SHARE


def seam_counts(window: Any, plans: Mapping[tuple[str, str], Plan]) -> dict[SeamKey, Count]:
    """Return the counts of a window by workflow and seam, over all versions."""
    total: dict[SeamKey, Count] = {}
    for (workflow, _, seam), count in counts(window, plans).items():
        before = total.get((workflow, seam), Count(tried=0, failed=0))
        total[workflow, seam] = Count(tried=before.tried + count.tried, failed=before.failed + count.failed)
    return total


def failures(window: Any, plans: Mapping[tuple[str, str], Plan]) -> dict[SeamKey, list[Outcome]]:
    """Return what went wrong in a window, by workflow and seam."""
    found: dict[SeamKey, list[Outcome]] = {}
    for what in window.exceptions:
        plan = plans.get((what.workflow, what.version))
        seam = seam_of(plan, what) if plan else None
        if seam is not None:
            outcome = Outcome(instance=what.instance, at_ms=what.at_ms, failure=what.what)
            found.setdefault((what.workflow, seam), []).append(outcome)
    return found


def _before(plan: Plan, step: str) -> str:
    needs = plan.steps[step].needs
    return plan.connector_of(plan.steps[needs[-1]].system if needs else plan.trigger.system)


def _s(ms: float) -> str:
    return duration_text(ms / 1000)
