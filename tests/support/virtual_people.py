"""Virtual people for the whole-engine simulation: they decide, do tasks, send events, give commands, or do nothing.

Whatever they do goes through the store's own doors, guarded as the product's doors guard
it, so that they race with the engines. Called by ``virtual``, which tells them what the
journal asks of them.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from topstitch import lifecycle
from topstitch.foundation.errors import RequestError
from topstitch.lifecycle import Command
from topstitch.model.event import TriggerEvent
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Draft, Stage
from topstitch.model.state import ActStatus, InstanceState
from topstitch.store import HeadIs, Still
from topstitch.store.journal import REOPENING
from topstitch.torture import world as systems
from topstitch.torture.arrange import Arena
from topstitch.torture.world import World

if TYPE_CHECKING:
    from support.virtual import Simulation

OLGA: Final = Actor(ActorKind.HUMAN, "olga")
HOURS_MAX: Final = 30.0
NEVER: Final = 0.2
"""The share of matters that nobody ever sees to."""


class People:
    """Everybody of one simulation."""

    def __init__(self, simulation: Simulation, rng: random.Random) -> None:
        self.simulation, self.rng = simulation, rng
        self.idle = False
        """Whether they do nothing of their own accord: then a test does it for them."""

    def hear(self, instance: str, drafts: Sequence[Draft]) -> None:
        """Take note of what was written; decide who does what about it, and when."""
        for draft in drafts:
            if draft.kind == Kind.TASK_OPENED and draft.body["check_first"]:
                self._shut(instance, f"first:{draft.body['task']}")
            if self.idle or self.rng.random() < NEVER:
                continue
            match draft.kind:
                case Kind.APPROVAL_ASKED:
                    word = "approve" if self.rng.random() < 0.7 else "refuse"
                    asked, people = draft.body, draft.body["quorum"] if word == "approve" else 1
                    self._later(
                        partial(
                            self.decide,
                            instance,
                            str(draft.step),
                            asked["approval"],
                            asked["payload_digest"],
                            word,
                            people,
                        )
                    )
                case Kind.TASK_OPENED:
                    done = self.rng.random() < 0.75
                    self._later(partial(self.see_to, instance, draft.body["task"], done=done))
                case Kind.WAIT_BEGAN:
                    self._later(partial(self.send_event, instance, draft.body["event"]))
                case _:
                    pass

    def _later(self, act: Callable[[], Any]) -> None:
        hours = self.rng.uniform(0, HOURS_MAX) ** self.rng.choice((0.2, 1.0))
        self.simulation.after(hours * 3600, act)

    # --- what is asked of them ----------------------------------------------------------------

    async def decide(self, instance: str, step: str, approval: str, digest: str, word: str, people: int) -> bool:
        """Answer an approval, as many people as are said; return whether it was still open."""
        answer = {"approval": approval, "answer": word, "payload_digest": digest, "via": "simulation"}
        drafts = [self._said(Kind.APPROVAL_ANSWERED, step, answer, f"person{number}") for number in range(people)]
        taken = await self._append(instance, drafts, Still("approvals", approval))
        if taken and word == "approve":
            world = self._world(instance)
            self._set(instance, replace(world, approved=(*world.approved, step)))
        return taken

    async def see_to(self, instance: str, task: str, *, done: bool) -> None:
        """Do what a task says, or say that it cannot be done."""
        simulation = self.simulation
        arena, state = await simulation.state_of(instance)
        found = state.tasks.get(task)
        if found is None:
            return
        step = arena.plan.steps.get(found.step or "")
        output = arena.outputs.get(f"{step.act.system}.{step.act.action.name}", {}) if step and step.act else {}
        body: dict[str, Any] = {"task": task, "output": output if found.purpose == "step" else {}}
        kind = Kind.TASK_DONE if done else Kind.TASK_FAILED
        draft = self._said(kind, found.step, body if done else {"task": task, "comment": "no"}, "ivo")
        if await self._append(instance, [draft], Still("tasks", task)) and done:
            self._set(instance, _done(arena, state, self._world(instance), task))

    async def send_event(self, instance: str, event_type: str) -> None:
        """Send an event of the type that an instance waits for, and now and then send it twice."""
        now = self.simulation.clock.now()
        event = TriggerEvent(id=f"for-{instance}", source="workday", type=event_type, data={}, received_at=now)
        for _ in range(self.rng.choice((1, 1, 2))):
            await self.simulation.store.accept(event)

    # --- operators ----------------------------------------------------------------------------

    async def command(self, instance: str, name: str, **rest: Any) -> bool:
        """Give an operator's command on the picture as it is; return whether it was taken."""
        simulation = self.simulation
        arena, state = await simulation.state_of(instance)
        command = Command(name=name, reason="because", **rest)
        try:
            drafts = lifecycle.operate(arena.plan, state, command, OLGA, simulation.clock.now())
        except RequestError:
            return False
        taken = await self._append(instance, drafts, HeadIs(await simulation.head_of(instance)))
        if taken and name in REOPENING:
            simulation.open.add(instance)  # also one that had ended: it must come to an end once more
        return taken

    async def meddle(self) -> None:
        """Give a command that the seed draws to an instance that it draws."""
        simulation, rng = self.simulation, self.rng
        if not simulation.instances:
            return
        instance = rng.choice(simulation.instances)
        arena, _ = await simulation.state_of(instance)
        match rng.choice(("pause", "resume", "cancel", "skip", "retry", "retry")):
            case "cancel":
                await self.command(instance, "cancel", choice=rng.choice(("rollback", "stop")))
            case "skip":
                await self.command(instance, "skip", step=rng.choice(list(arena.plan.steps)))
            case "retry":
                await self.retry(instance, rng.choice([*arena.plan.steps, None]))
            case name:
                await self.command(instance, name)

    async def retry(self, instance: str, step: str | None) -> bool:
        """Retry a step that came to nothing; what a person has done in its stead is left alone."""
        _, state = await self.simulation.state_of(instance)
        if step is not None and any(task.said == "done" for task in state.tasks.values() if task.step == step):
            return False
        return await self.command(instance, "retry", step=step)

    # --- helpers ------------------------------------------------------------------------------

    async def _append(self, instance: str, drafts: Sequence[Draft], *guards: Any) -> bool:
        with contextlib.suppress(RequestError):
            await self.simulation.store.append_outside(instance, drafts, self.simulation.clock.now(), guards=guards)
            return True
        return False

    def _said(self, kind: Kind, step: str | None, body: Mapping[str, Any], person: str) -> Draft:
        actor = Actor(ActorKind.HUMAN, person)
        now = self.simulation.clock.now()
        return Draft(kind=kind, at=now, actor=actor, stage=Stage.EXECUTION, step=step, body=body)

    def _world(self, instance: str) -> World:
        return self.simulation.systems.worlds.setdefault(instance, World())

    def _set(self, instance: str, world: World) -> None:
        self.simulation.systems.worlds[instance] = world

    def _shut(self, instance: str, door: str) -> None:
        self._set(instance, self._world(instance).shutting(door))


def _done(arena: Arena, state: InstanceState, world: World, task: str) -> World:
    """Return the world once a person has done what the task says."""
    found = state.tasks[task]
    step = arena.plan.steps.get(found.step or "")
    if step is None or step.act is None or found.purpose == "ticket":
        return world
    for name in state.steps[step.id].acts or (step.id,):
        if found.purpose == "undo":
            world = systems.by_hand_undone(world, name)
        elif name not in state.acts or state.acts[name].status is not ActStatus.DONE:
            world = systems.by_hand(world, name, step.act.action, looks=f"first:{task}" in world.shut)
    return world
