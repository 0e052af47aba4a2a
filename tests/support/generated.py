"""Small valid definitions, as many as wanted: the same seed gives the same definition.

For torture and the verifier: every kind of step, every idempotency class, every disposition,
approvals, order with deadlines, items, events and called workflows, in graphs of two to four
steps. Written as an author would write them and checked by ``language.check``, so that what
is tortured is what could be published.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from support.contracts import event, read, system, write
from topstitch.language.check import check
from topstitch.language.load import Document, load
from topstitch.language.schema import Workflow
from topstitch.model.action import Contracts, Effect, Idempotency, SystemContract
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan

CLASSES = tuple(Idempotency)


def _maker(kind: Idempotency) -> list[Any]:
    look = "find_" + kind if kind is not Idempotency.NONE else None
    settle = 60 if kind in (Idempotency.UNIQUE, Idempotency.FIND_FIRST) else 0
    parts = [write(f"make_{kind}", "name", "id, name", kind, lookup=look, undo="unmake", settle_seconds=settle)]
    return parts + ([read(look, "name", "id, name")] if look else [])


LAB: SystemContract = system(
    "lab@1",
    "Lab",
    "Lab",
    event("started", "key, names L"),
    event("arrived", "key"),
    read("see", "name", "id, name, state"),
    *[part for kind in CLASSES for part in _maker(kind)],
    write(
        "make_slow", "name", "id, name", Idempotency.NATIVE_KEY, lookup="find_slow", undo="unmake", settle_seconds=60
    ),
    read("find_slow", "name", "id, name"),
    write("make_blind", "name", "id, name", Idempotency.NATURAL, undo="unmake"),
    write("unmake", "id", "id", Idempotency.NATURAL, irreversible="what is gone is gone"),
    write(
        "tell_all",
        "name",
        "id",
        Idempotency.FIND_FIRST,
        effect=Effect.NOTIFY,
        lookup="find_told",
        irreversible="said is said",
    ),
    read("find_told", "name", "id"),
    write("raise", "process, summary, severity enum(low|medium|high)", "id", Idempotency.NATIVE_KEY, undo="close"),
    write("close", "id, note?", "id", Idempotency.NATURAL, irreversible="closed is closed"),
)
LAB_CONTRACTS: Contracts = {LAB.ref: LAB}
SEEN = {"read": "lab.see", "with": {"name": "n"}, "that": "found.state == 'there'", "within": "2m"}
TASK = {"task": {"to": "group:hands", "title": "Do it by hand", "due": "1h", "give_up": "2h"}}
NAMES = ("alpha", "beta", "gamma", "delta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """One definition: its seed, text, document, shape and plan."""

    seed: int
    text: str
    document: Document
    workflow: Workflow
    plan: Plan


def definitions(count: int, first: int = 0, *, steps_max: int = 4, simple: bool = False) -> Iterator[Generated]:
    """Yield ``count`` definitions from seed ``first`` on. ``simple`` leaves out waits, calls and items."""
    for seed in range(first, first + count):
        yield generate(seed, steps_max=steps_max, simple=simple)


def generate(seed: int, *, steps_max: int = 4, simple: bool = False) -> Generated:
    """Return the definition of one seed."""
    return built(written(random.Random(seed), steps_max=steps_max, simple=simple), seed)


def built(definition: dict[str, Any], seed: int = 0) -> Generated:
    """Return a definition checked and compiled; fails the test when the checker refuses it."""
    text = json.dumps(definition, indent=1)
    document = load(text, f"generated-{seed}.yaml")
    result = check(document, LAB_CONTRACTS)
    assert result.workflow is not None, [finding.message for finding in result.findings]
    assert not result.errors, (seed, [(f.code, f.path, f.message) for f in result.errors])
    plan = compile_plan(result.workflow, LAB_CONTRACTS, f"sha256:{seed}")
    return Generated(seed=seed, text=text, document=document, workflow=result.workflow, plan=plan)


def written(chance: random.Random, *, steps_max: int = 4, simple: bool = False) -> dict[str, Any]:
    """Return a definition as an author would write it."""
    steps: dict[str, Any] = {}
    for name in NAMES[: chance.randint(2, steps_max)]:
        steps[name] = _step(chance, name, steps, simple=simple)
    return definition(steps)


def definition(steps: dict[str, Any]) -> dict[str, Any]:
    """Return a whole definition around ``steps``."""
    records = {
        name: {
            "covers": name,
            "read": "lab.see",
            "with": {"name": name},
            "expect": [{"field": "state", "equals": "there", "severity": "low"}],
        }
        for name, step in steps.items()
        if "do" in step and step["do"] != "lab.see"
    }
    return {
        "workflow": "generated",
        "version": "1.0.0",
        "title": "Generated",
        "purpose": "To be tortured.",
        "owner": {"team": "lab"},
        "systems": {"lab": "lab@1"},
        "trigger": {"on": "lab.started", "one_per": "= trigger.key"},
        "steps": steps,
        "reconcile": {
            "at": ["T+30d"],
            "records": records,
            "on_difference": {
                "do": "lab.raise",
                "with": {"process": "= process.id", "summary": "it differs", "severity": "low"},
                "if_that_fails": TASK,
            },
        },
        "sla": {"all": {"steps": [next(iter(steps))], "within": "30d"}},
    }


def healing(heal: dict[str, Any]) -> dict[str, Any]:
    """Return a definition of one step whose record is repaired as ``heal`` says when somebody has changed it."""
    whole = definition({"first": making("make_natural")})
    rule = {"field": "state", "equals": "there", "severity": "low", "heal": "lab.make_natural", **heal}
    whole["reconcile"]["records"]["first"]["expect"] = [rule]
    whole["reconcile"]["at"] = ["T+2h", "T+24h"]
    return whole


def making(action: str, then: str = "continue", **rest: Any) -> dict[str, Any]:
    """Return a step that makes one thing: read back, undone, and given to a person who ends it with ``then``."""
    return {
        "title": action,
        "do": f"lab.{action}",
        "with": {"name": "n"},
        "retry": {"attempts": 2, "first": "10s", "max": "1m"},
        "expect": [SEEN],
        "rollback": {"do": "lab.unmake", "with": {"id": "= step.output.id"}},
        "compensate": {"do": [TASK], "then": {"done": "continue", "not_done": then}},
        **rest,
    }


def _step(chance: random.Random, name: str, before: dict[str, Any], *, simple: bool) -> dict[str, Any]:
    kind = (
        "write"
        if simple
        else chance.choices(("write", "wait", "call", "items", "tell", "read"), (14, 2, 1, 2, 2, 1))[0]
    )
    step: dict[str, Any] = {"title": name.title()}
    _place(chance, step, before)
    match kind:
        case "wait":
            otherwise = chance.choice(("continue", "stop", "rollback"))
            step["wait_for"] = {
                "event": "lab.arrived",
                "match": "event.key == trigger.key",
                "give_up": "2h",
                "otherwise": otherwise,
            }
            return step
        case "call":
            step["call"] = {"workflow": "another", "with": {"key": name}, "give_up": "3h"}
        case "read":
            step |= {"do": "lab.see", "with": {"name": name}}
        case "tell":
            step |= {"do": "lab.tell_all", "with": {"name": name}, "expect": {"none": "cannot be seen"}}
            step["rollback"] = {"none": "informational; said is said"}
            step["pivot"] = True
        case _:
            _write(chance, name, step, items=kind == "items")
    if chance.random() < 0.3 and kind != "call":
        _approve(chance, name, step)
    if chance.random() < 0.15:
        step["require"] = [
            {
                "check": "trigger.key != ''",
                "because": "no key",
                "otherwise": chance.choice(("stop", "continue", "rollback")),
            }
        ]
    step["compensate"] = _compensation(chance, name, step)
    return step


def _place(chance: random.Random, step: dict[str, Any], before: dict[str, Any]) -> None:
    for other in before:
        said = chance.random()
        if said < 0.45:
            step.setdefault("needs", []).append(other)
        elif said < 0.6:
            step.setdefault("after", {})[other] = chance.choice(("10m", "5h"))
    if chance.random() < 0.15:
        step["when"] = "trigger.key != 'x'"


def _write(chance: random.Random, name: str, step: dict[str, Any], *, items: bool) -> None:
    action = chance.choice([f"make_{kind}" for kind in CLASSES] + ["make_slow", "make_blind"])
    step["do"] = f"lab.{action}"
    step["with"] = {"name": "= item" if items else name}
    if items:
        step["for_each"] = {"items": "= trigger.names", "max": 5}
    if action != "make_none":
        step["retry"] = {"attempts": chance.choice((1, 2)), "first": "10s", "max": "1m"}
    seen: dict[str, Any] = {"read": "lab.see", "with": {"name": name}, "that": "found.state == 'there'", "within": "2m"}
    step["expect"] = [seen] if chance.random() < 0.7 else {"none": "cannot be seen"}
    if chance.random() < 0.8:
        undo: dict[str, Any] = {"do": "lab.unmake", "with": {"id": "= step.output.id"}}
        if chance.random() < 0.4:
            undo["expect"] = [{**seen, "that": "found.state != 'there'"}]
        step["rollback"] = undo
    else:
        step["rollback"] = {"none": "informational; it stays as it is"}


def _approve(chance: random.Random, name: str, step: dict[str, Any]) -> None:
    gate: dict[str, Any] = {"from": "group:heads", "give_up": "4h", "quorum": chance.choice((1, 1, 2))}
    if chance.random() < 0.5:
        gate |= {"remind": "1h", "escalate": [{"after": "2h", "to": "group:chiefs"}]}
    approval: dict[str, Any] = {"otherwise": gate}
    for ending in ("refused", "unanswered"):
        approval[ending] = {"then": chance.choice(("continue", "stop", "rollback"))}
    if chance.random() < 0.5:
        approval["auto_when"] = "trigger.key == 'y'"
    if chance.random() < 0.3:
        approval["refused"]["flag"] = f"{name}_declined"
    step["approval"] = approval


def _compensation(chance: random.Random, name: str, step: dict[str, Any]) -> dict[str, Any]:
    items: list[Any] = []
    if chance.random() < 0.3:
        items.append({"flag": f"{name}_late"})
    if chance.random() < 0.25:
        items.append({"do": "lab.make_natural", "with": {"name": f"{name}-instead"}, "retry": {"attempts": 2}})
    if chance.random() < 0.7 or step.get("do") == "lab.make_none" or not items:
        items.append(TASK)
    if any(item is TASK for item in items):
        done = chance.choices(("continue", "rollback", "stop"), (6, 1, 1))[0]
        return {
            "do": items,
            "then": {"done": done, "not_done": chance.choice(("continue", "rollback", "stop", "rollback"))},
        }
    return {"do": items, "then": chance.choice(("rollback", "stop"))}
