"""Instances whose journals are written by hand, at any time, into a real database; and a sender that remembers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from support.paper import PaperEngine
from topstitch.foundation.errors import NotFoundError, OperatorError
from topstitch.foundation.timetext import rfc3339
from topstitch.metrics.routes import Payload, Route, RouteKind
from topstitch.model.event import TriggerEvent
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, Draft, Stage
from topstitch.plan.plan import Plan
from topstitch.store import NewInstance, Store
from topstitch.store.database import Backend

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SYSTEMS = {"identity": "entra-id", "equipment": "servicenow", "crm_assignment": "salesforce", "welcome_chat": "slack"}
SECRET = "whsec_" + base64.b64encode(b"a secret of some length").decode()


def after(seconds: float) -> datetime:
    """Return a time after ``NOW``."""
    return NOW + timedelta(seconds=seconds)


class Paper:
    """Plans that are there without a definition in the database."""

    def __init__(self, *plans: Plan) -> None:
        self.plans = plans

    async def load(self, digest: str) -> Plan:
        for plan in self.plans:
            if plan.digest == digest:
                return plan
        raise NotFoundError("no-definition", "there is none; publish it")

    async def in_force(self) -> Sequence[Plan]:
        return self.plans[:1]


class Told:
    """A sender that remembers, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[Payload] = []
        self.failures = failures

    async def send(self, payload: Payload) -> None:
        if self.failures:
            self.failures -= 1
            raise OperatorError("mail-down", "the mail server does not answer; see that it is up")
        self.sent.append(payload)


def routes() -> dict[str, Route]:
    return {
        "mail": Route(name="mail", kind=RouteKind.EMAIL, to="ops@acme.example"),
        "hook": Route(name="hook", kind=RouteKind.WEBHOOK, to="https://hooks.example/x", secret=SECRET),
    }


class Case:
    """One instance, written record by record."""

    def __init__(self, store: Store, name: str, at: datetime, plan: Plan) -> None:
        self.store, self.name, self.at, self.plan = store, name, at, plan
        self.held: list[Draft] | None = None
        """Records that are kept back, to be written in one go."""

    async def begin(self) -> Case:
        """Accept it: nobody has taken it up yet."""
        event = TriggerEvent(
            id=f"evt_{self.name}", source="workday", type="workday.hire_completed", data={}, received_at=self.at
        )
        first = self.draft(Kind.STARTED, None, self.at, event={"id": event.id}, data={}, title=self.name)
        new = NewInstance(
            id=self.name, workflow=self.plan.workflow, version=self.plan.version, digest=self.plan.digest, first=first,
            title=self.name,
        )  # fmt: skip
        await self.store.accept(event, [new])
        return self

    def draft(self, kind: str, step: str | None, at: datetime, **body: Any) -> Draft:
        return Draft(kind=kind, at=at, actor=ENGINE, stage=Stage.EXECUTION, step=step, body=body)

    async def add(self, kind: str, step: str | None, at: datetime, **body: Any) -> Case:
        draft = self.draft(kind, step, at, **body)
        if self.held is None:
            await self.store.append_outside(self.name, [draft], at)
        else:
            self.held.append(draft)
        return self

    async def flush(self) -> Case:
        """Write what was kept back."""
        held, self.held = self.held or [], None
        await self.store.append_outside(self.name, held, held[-1].at)
        return self

    async def enter(self, stage: str, at: datetime, status: str = "running") -> Case:
        """Go on to a stage, as the engine's summary says it."""
        await self.add(Kind.STAGE_ENTERED, None, at, stage=stage)
        return await self.stand(stage, status)

    async def stand(self, stage: str, status: str, ended: datetime | None = None) -> Case:
        at = None if ended is None else round(ended.timestamp() * 1000)

        def write(backend: Backend) -> None:
            backend.execute(
                "UPDATE instances SET stage = ?, status = ?, ended_at = ?, wake_at = NULL WHERE id = ?",
                (stage, status, at, self.name),
            )

        await self.store.work(write)
        return self

    async def intent(self, step: str, ready: datetime, at: datetime, source: str = "identity") -> Case:
        """Send a step's first attempt: its handoff ends."""
        ms = round((at - ready).total_seconds() * 1000)
        crossing = {
            "from": source, "from_system": SYSTEMS.get(source, "workday"), "to_system": SYSTEMS[step],
            "ready_at": rfc3339(ready), "net_ms": ms, "gross_ms": ms,
        }  # fmt: skip
        system = next(alias for alias in self.plan.systems if self.plan.connector_of(alias) == SYSTEMS[step])
        return await self.add(
            Kind.ACT_INTENT, step, at, act=step, attempt=1, key="k", system=system, action="a", handoffs=[crossing]
        )

    async def done(self, step: str, started: datetime, at: datetime) -> Case:
        """Confirm a step."""
        ms = round((at - started).total_seconds() * 1000)
        return await self.add(
            Kind.STEP_DONE, step, at, output={}, found=False, system=step, started_at=rfc3339(started), duration_ms=ms
        )

    async def fail(self, step: str, at: datetime, failure: str = "unreachable") -> Case:
        """Let a step fail for good."""
        seam = {"from_system": "entra-id", "to_system": SYSTEMS[step]}
        return await self.add(Kind.STEP_FAILED, step, at, failure=failure, effect="none", seam=seam)


async def case(store: Store, name: str, at: datetime, plan: Plan) -> Case:
    """Begin an instance and take it to the first steps."""
    one = await Case(store, name, at, plan).begin()
    await one.enter("context", at + timedelta(milliseconds=100))
    return await one.enter("execution", at + timedelta(milliseconds=400))


async def finished(
    store: Store, name: str, at: datetime, plan: Plan, *, seconds: Mapping[str, float] | None = None, fails: str = ""
) -> Case:
    """Write an instance from beginning to end: identity, then equipment."""
    took = {"identity": 4.0, "equipment": 5.0, **(seconds or {})}
    one = await Case(store, name, at, plan).begin()
    ready = at + timedelta(milliseconds=400)
    one.held = [one.draft(Kind.STAGE_ENTERED, None, ready, stage="execution")]
    for step, source in (("identity", "context"), ("equipment", "identity")):
        start = ready + timedelta(milliseconds=40)
        end = start + timedelta(seconds=took[step])
        await one.intent(step, ready, start, source)
        if step == fails:
            await one.fail(step, end)
            await one.add(Kind.STEP_GIVEN_UP, step, end, failure="unreachable", effect="none")
        else:
            await one.done(step, start, end)
        ready = end
    await one.flush()
    return await one.stand("audit", "completed", ready)


async def keep(store: Store, name: str, engine: PaperEngine) -> None:
    """Write what an instance on paper has recorded into a database."""
    first, *rest = engine.records
    event = TriggerEvent(
        id=f"evt_{name}", source="workday", type="workday.hire_completed", data={}, received_at=first.at
    )
    new = NewInstance(
        id=name,
        workflow=engine.plan.workflow,
        version=engine.plan.version,
        digest=engine.plan.digest,
        first=first,
        title="x",
    )
    await store.accept(event, [new])
    await store.append_outside(name, rest, rest[-1].at)
    ended = engine.records[-1].at if engine.state.ended else None
    await Case(store, name, first.at, engine.plan).stand(
        str(engine.state.stage), str(engine.state.ended or "running"), ended
    )
