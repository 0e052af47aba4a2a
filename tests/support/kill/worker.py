"""An engine process for the kill tests, and the fork server that makes them.

``python -m support.kill.worker '<json>'`` imports everything once and then forks an engine
for each line on its standard input; it says when it is ready (``!``), who was born (``+pid``) and who has
died (``-pid status``). An engine is the product's, on a real database, with real sockets; it runs
until it is killed or its database fails, as under any supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import select
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from topstitch import lifecycle
from topstitch.bootstrap.calls import Calls
from topstitch.bootstrap.core import Core
from topstitch.connectors.connections import load_connections
from topstitch.connectors.registry import Registry
from topstitch.engine.embedded import Embedded
from topstitch.foundation.clock import PacedClock
from topstitch.foundation.errors import OperatorError
from topstitch.language.load import load
from topstitch.language.schema import Workflow
from topstitch.model.event import TriggerEvent
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import ActPlan, Plan
from topstitch.store import NewInstance, Store
from topstitch.trigger.match import instance_id, new_instance

HERE: Final = Path(__file__).parent
DIGEST: Final = "sha256:kill"
FAILED: Final = 3
"""Exit status of an engine whose database has failed."""


class Setting(msgspec.Struct, frozen=True):
    """Where an engine works."""

    database: str
    folder: str
    stub: str
    monotonic: float
    """When the paced clock started, on the machine's own: the same for all processes."""
    speed: float
    lease_seconds: float = 120.0
    at_once: int = 25
    mutant: bool = False
    """Whether what is unknown is sent again without a look-up: what the tests must catch."""


class OnePlan:
    """The one definition of these tests, in place of what is published."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    async def load(self, _digest: str) -> Plan:
        """Return it."""
        return self._plan


def clock_of(setting: Setting) -> PacedClock:
    """Return the clock that all processes share."""
    clock = PacedClock(datetime.fromisoformat("2026-01-05T09:00:00+00:00"), setting.speed)
    clock._since = setting.monotonic
    return clock


def registry_of(setting: Setting, clock: PacedClock) -> Registry:
    """Return the connectors of the folder: the tormentor has written it, before any engine was born."""
    return Registry(load_connections(Path(setting.folder) / "connections.toml"), clock)


def write_connections(setting: Setting) -> None:
    """Write the one connection, to the counting stub. Once: an engine that met half a file would pause it."""
    (Path(setting.folder) / "connections.toml").write_text(
        f'[connections.stub]\nconnector = "http:{HERE / "system.yaml"}"\n'
        f'base_url = "{setting.stub}"\nconcurrency = 100\n'
    )


def plan_of(registry: Registry) -> Plan:
    """Return the definition that is carried out."""
    text = (HERE / "workflow.yaml").read_text()
    return compile_plan(Workflow.model_validate(load(text, "workflow.yaml").data), registry.contracts(), DIGEST)


def open_store(setting: Setting) -> Store:
    """Open the database; the installation key lies in the folder."""
    return Store.open(setting.database, key_file=Path(setting.folder) / "installation.key")


def start_of(plan: Plan, number: int, now: datetime) -> tuple[TriggerEvent, NewInstance]:
    """Return the event and the instance that bear a number."""
    name = f"W-{number:05d}"
    event = TriggerEvent(id=name, source="kill", type=plan.trigger.event_type, data={"number": name}, received_at=now)
    first = lifecycle.begin(plan, event, name, now)
    assert first is not None
    return event, new_instance(plan, instance_id(event, plan.workflow), first)


async def carry_on(setting: Setting, ready: Plan) -> None:
    """Be an engine."""
    clock = clock_of(setting)
    registry = registry_of(setting, clock)
    plan: Any = OnePlan(ready)
    store = open_store(setting)
    core = Core(plan, Calls(store, registry, plan, clock, "prod"))
    try:
        engine = Embedded(store, core, clock, lease_seconds=setting.lease_seconds, activations_max=setting.at_once)
        await engine.run()
    finally:
        await registry.close()
        store.close()


def mutate() -> None:
    """Take the look-up away: what is unknown is sent again, and nobody looks before the first try."""
    no, yes = property(lambda _: False), property(lambda _: True)
    ActPlan.can_look_up, ActPlan.looks_first, ActPlan.repeatable = no, no, yes  # type: ignore[method-assign,assignment]


def main(setting: Setting) -> None:
    """Fork an engine for each line of standard input; tell of births and deaths."""
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    plan = plan_of(registry_of(setting, clock_of(setting)))
    open_store(setting).close()  # what is imported late is imported now; no thread outlives it
    gc.collect()
    gc.freeze()
    print("!", flush=True)
    while True:
        ready, _, _ = select.select([0], [], [], 0.01)
        if ready:
            if not os.read(0, 1):
                return
            if (pid := os.fork()) == 0:
                _child(setting, plan)
            print(f"+{pid}", flush=True)
        _reap()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            print(f"-{dead[0]} {os.waitstatus_to_exitcode(dead[1])}", flush=True)


def _child(setting: Setting, plan: Plan) -> None:
    """Live and die; never return to the fork server's own code."""
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        log = os.open(Path(setting.folder) / f"engine-{os.getpid()}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if setting.mutant:
            mutate()
        asyncio.run(carry_on(setting, plan))
        status = 0
    except OperatorError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        status = FAILED
    except BaseException:  # noqa: BLE001 -- into the log, whatever it is
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Setting))
