"""Instances of the lab on paper: a world in which everything goes well, an inbox, and workflows to call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.generated import built, definition
from support.paper import PaperEngine, ok
from topstitch import lifecycle
from topstitch.execution.operate import Command
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, InboxCall, Outcome, ReportCall, StartCall
from topstitch.model.record import Actor, ActorKind

OPERATOR = Actor(ActorKind.HUMAN, "olga")
THING = {"id": "1", "name": "n"}
WELL = {
    "lab.see": ok({**THING, "state": "there"}),
    "lab.unmake": ok({"id": "1"}),
    "look_up lab.unmake": ok(None),
}
"""What the lab answers on a good day, whatever is made."""


class LabPaper(PaperEngine):
    """A paper engine of the lab; ``started`` is every workflow it asked for."""

    def __init__(self, steps: Mapping[str, Any], world: Mapping[str, Any]) -> None:
        made = {step["do"]: ok(THING) for step in steps.values() if "do" in step}
        looks = {f"look_up {action}": ok(None) for action in made}
        super().__init__(built(definition(dict(steps))).plan, {**WELL, **made, **looks, **world})
        self.started: list[StartCall] = []
        self.begin({"key": "k", "names": ["a", "b"]})

    def answer(self, call: Call) -> Outcome:
        match call:
            case InboxCall():
                return ok({"events": []})
            case StartCall():
                self.started.append(call)
                given = self.world.get("start")
                if callable(given):
                    given()
                return given if isinstance(given, Outcome) else ok({"instance": f"ins_child{len(self.started)}"})
            case ReportCall():
                return ok()
            case _:
                return super().answer(call)

    def take_up(self) -> LabPaper:
        """Record what is decided now, and make no call: what an engine does while another call is still out."""
        orders = lifecycle.decide(self.plan, self.state, self.clock.now())
        self.records += orders.records
        self.state = orders.state
        return self

    def command(self, name: str, **rest: Any) -> LabPaper:
        """Carry out an operator's command."""
        wish = Command(name=name, reason="because", **rest)
        self._append(lifecycle.operate(self.plan, self.state, wish, OPERATOR, self.clock.now()))
        return self

    def child_ends(self, step: str, end: str, child: str | None = None) -> LabPaper:
        """Hear that a called workflow has ended."""
        body = {"instance": child or self.state.steps[step].child, "end": end}
        self._append([self._said(Kind.CHILD_ENDED, step, body, "engine")])
        return self
