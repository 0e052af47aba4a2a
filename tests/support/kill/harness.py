"""Kills engines for real, at random instants, until all instances have ended; then counts what is missing or double.

``torment`` starts a counting stub, a fork server, a few engines that compete for one
database, and delivers events meanwhile. Whatever dies is started again, as a supervisor
would. With a server of its own it also stops PostgreSQL the hard way every few seconds. The
verdict compares three books: the events that were acknowledged, the journal, and what the
stub has counted. ``python -m support.kill.harness --help`` runs it by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

import topstitch
from support.kill.counting import counting
from support.kill.worker import Setting, clock_of, open_store, plan_of, registry_of, start_of, write_connections
from support.postgres import PostgresServer
from topstitch import lifecycle
from topstitch.foundation.errors import OperatorError, TamperError
from topstitch.model.instance import SUCCEEDED
from topstitch.plan.plan import Plan
from topstitch.store import Store, instances, pauses

ENGINES: Final = 3
SPEED: Final = 60.0
BATCH: Final = 20
"""Events that are delivered at a time."""
DELIVERIES_MAX: Final = 5000
"""How often one event is delivered until it is acknowledged; a server is never away for so long."""
OPEN_MAX: Final = 120
"""Instances under way at a time."""
STALL_SECONDS: Final = 45.0
"""Without any progress for this long, instances have stalled."""
_ROWS: Final = "SELECT id, ended_at, status, wake_at, lease_owner, lease_until, epoch, head_seq FROM instances"
SECONDS_MAX: Final = 240.0
"""One torment is over after this long, whatever has happened."""
KILLS_FIRST: Final = 5
RECORDS_EACH: Final = 30
"""Records for each further kill, about one for each instance: on a slow machine, too, somebody lives long enough."""
KILLS_EACH: Final = 0.5
"""Kills for each instance, and no more: taking over writes records as well, so on a machine slow enough the kills would
feed themselves for ever."""
ROOTS: Final = (Path(topstitch.__file__).parents[1], Path(__file__).parents[2])


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of one torment."""

    seed: int
    instances: int
    kills: int = 0
    restarts: int = 0
    failed: int = 0
    """Engines that ended because their database did."""
    odd: list[str] = field(default_factory=list)
    """Engines that ended in any other way than killed or by their database, and connections that one has paused."""
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    """Acknowledged, and not in the database."""
    duplicated: list[str] = field(default_factory=list)
    """Keys that took effect more than once."""
    orphaned: list[str] = field(default_factory=list)
    """Effects without a step that says so, steps that say so without an effect, instances nothing will wake."""
    stalled: list[str] = field(default_factory=list)
    """Not ended."""
    broken: list[str] = field(default_factory=list)
    """Chains that do not verify."""
    ends: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    """Writes that reached the stub more than once and were harmless."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.duplicated or self.orphaned or self.stalled or self.broken or self.odd)

    def __str__(self) -> str:
        wrong = {
            name: (len(found), found[:5])
            for name in ("lost", "duplicated", "orphaned", "stalled", "broken", "odd")
            if (found := getattr(self, name))
        }
        return (
            f"seed {self.seed}: {self.instances} instances, {self.kills} engines killed, "
            f"{self.restarts} server restarts, "
            f"{self.failed} engines ended by their database, {self.repeated} writes repeated harmlessly, "
            f"{self.seconds:.0f} s, {dict(self.ends)}: {wrong or 'nothing is wrong'}"
        )


def torment(
    database: str | PostgresServer,
    *,
    seed: int,
    count: int,
    kill_seconds: tuple[float, float] | None = (0.02, 0.3),
    restart_seconds: tuple[float, float] | None = None,
    mutant: bool = False,
    drop_rate: float = 0.03,
    seconds_max: float = SECONDS_MAX,
    open_max: int = OPEN_MAX,
) -> Report:
    """Carry ``count`` instances out while engines are killed every ``kill_seconds``; return what came of it.

    ``database`` is a URL, or a server that is stopped hard and started again every ``restart_seconds``.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ts-kill-", ignore_cleanup_errors=True))
        url = database if isinstance(database, str) else stack.enter_context(database.database())
        stub = stack.enter_context(counting(seed, drop_rate))
        setting = Setting(
            database=url.replace("FOLDER", folder),
            folder=folder,
            stub=stub,
            monotonic=time.monotonic(),
            speed=SPEED,
            mutant=mutant,
        )
        server = database if isinstance(database, PostgresServer) else None
        tormentor = Tormentor(setting, seed, count, kill_seconds, restart_seconds, server)
        tormentor.seconds_max, tormentor.open_max = seconds_max, open_max
        return asyncio.run(tormentor.run())


class Tormentor:
    """One torment."""

    def __init__(
        self,
        setting: Setting,
        seed: int,
        count: int,
        kill_seconds: tuple[float, float] | None,
        restart_seconds: tuple[float, float] | None,
        server: PostgresServer | None,
    ) -> None:
        self.setting, self.count, self.server = setting, count, server
        self.kill_seconds, self.restart_seconds = kill_seconds, restart_seconds
        self.seconds_max, self.open_max = SECONDS_MAX, OPEN_MAX
        self.rng = random.Random(f"kill {seed}")
        self.report = Report(seed=seed, instances=count)
        self.clock = clock_of(setting)
        self.alive: list[int] = []
        self.acknowledged: list[str] = []
        self.ended = self.records = 0
        self.over = False
        self.heard = asyncio.Event()
        self.restarting: asyncio.Task[None] | None = None
        self.plan: Plan
        self.store: Store
        self.mother: asyncio.subprocess.Process

    async def run(self) -> Report:
        """Go through it all."""
        began = time.monotonic()
        write_connections(self.setting)
        registry = registry_of(self.setting, self.clock)
        self.plan = plan_of(registry)
        await registry.close()
        self.store = open_store(self.setting)
        if self.server is not None:  # what is lost is not the schema
            await asyncio.to_thread(_checkpoint, self.setting.database)
        self.mother = await _fork_server(self.setting)
        others = [asyncio.create_task(work) for work in (self._keep_alive(), self._kill(), self._restart())]
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._deliver_and_wait(), self.seconds_max)
        finally:
            self.over = True
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._end_all()
            if self.restarting is not None:
                await self.restarting
        self.report.seconds = time.monotonic() - began
        await self._audit()
        self.store.close()
        return self.report

    # --- what goes on meanwhile ---------------------------------------------------------------

    async def _deliver_and_wait(self) -> None:
        delivering = asyncio.create_task(self._deliver())
        try:
            await self._wait_for_all()
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    async def _deliver(self) -> None:
        """Deliver events, a few at a time; each is delivered until it is acknowledged."""
        for first in range(0, self.count, BATCH):
            while len(self.acknowledged) - self.ended > self.open_max:
                await asyncio.sleep(0.05)
            await asyncio.gather(*(self._deliver_one(n) for n in range(first, min(first + BATCH, self.count))))

    async def _deliver_one(self, number: int) -> None:
        event, new = start_of(self.plan, number, self.clock.now())
        for _ in range(DELIVERIES_MAX):
            try:
                await self.store.accept(event, [new])
                break
            except OperatorError:
                await asyncio.sleep(0.1)
        self.acknowledged.append(new.id)
        self.heard.set()
        if self.rng.random() < 0.02:
            with contextlib.suppress(OperatorError):
                await self.store.accept(event, [new])

    async def _wait_for_all(self) -> None:
        """Return when every instance has ended, or when nothing has moved for too long."""
        moved, seen = time.monotonic(), (-1, -1)
        while self.ended < self.count and time.monotonic() - moved < STALL_SECONDS:
            await asyncio.sleep(0.2)
            with contextlib.suppress(OperatorError):
                self.ended, self.records = await self.store.work(_progress)
                if (self.ended, self.records) != seen:
                    moved, seen = time.monotonic(), (self.ended, self.records)

    async def _kill(self) -> None:
        """Kill an engine, whichever, whenever."""
        while self.kill_seconds is not None:
            await asyncio.sleep(self.rng.uniform(*self.kill_seconds))
            if self.alive and self.report.kills < min(
                KILLS_FIRST + self.records / RECORDS_EACH, self.count * KILLS_EACH
            ):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.rng.choice(self.alive), signal.SIGKILL)
                    self.report.kills += 1

    async def _restart(self) -> None:
        """Stop the server the hard way and start it again: just after it has acknowledged something, if it does."""
        while self.restart_seconds is not None and self.server is not None:
            await asyncio.sleep(self.rng.uniform(*self.restart_seconds))
            self.heard.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.heard.wait(), 1.0)
            self.restarting = asyncio.create_task(asyncio.to_thread(self.server.restart, "immediate"))
            await asyncio.shield(self.restarting)
            self.report.restarts += 1

    async def _keep_alive(self) -> None:
        """Have engines made, note who dies, and replace them."""
        assert self.mother.stdout is not None
        for _ in range(ENGINES):
            self._fork()
        async for line in self.mother.stdout:
            pid, _, status = line.decode()[1:].strip().partition(" ")
            if line.startswith(b"+"):
                self.alive.append(int(pid))
                continue
            self.alive.remove(int(pid))
            if status == "3":
                self.report.failed += 1
                await asyncio.sleep(0.1)
            elif status != str(-signal.SIGKILL):
                self.report.odd.append(f"status {status}: {self._log(pid)}")
            self._fork()

    def _fork(self) -> None:
        assert self.mother.stdin is not None
        if not self.over:
            self.mother.stdin.write(b"\n")

    def _log(self, pid: str) -> str:
        path = Path(self.setting.folder) / f"engine-{pid}.log"
        return path.read_text(errors="replace")[-600:] if path.exists() else ""

    async def _end_all(self) -> None:
        """Kill what is left, then the fork server."""
        for pid in self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.mother.kill()
        with contextlib.suppress(ValueError):  # what it still wrote
            await self.mother.communicate()

    # --- the three books ----------------------------------------------------------------------

    async def _audit(self) -> None:
        books = await asyncio.to_thread(_counted, self.setting.stub)
        effects, report = Counter(books["effects"]), self.report
        report.repeated = sum(count - 1 for count in books["arrivals"].values() if count > 1)
        report.duplicated = [f"{key} x{count}" for key, count in sorted(effects.items()) if count > 1]
        rows = {row[0]: row[1:] for row in await self.store.work(lambda backend: backend.execute(_ROWS))}
        report.lost = [name for name in self.acknowledged if name not in rows]
        now = self.clock.now().timestamp() * 1000
        report.stalled = [
            f"{name}: {status}, wakes {_seconds(wake, now)}, leased by {owner} until {_seconds(until, now)}, "
            f"epoch {epoch}, head {head}"
            for name, (ended_at, status, wake, owner, until, epoch, head) in rows.items()
            if ended_at is None
        ]
        told: set[str] = set()
        for name in rows:
            told |= await self._audit_one(name, effects)
        report.orphaned += [f"{key} took effect and nobody knows" for key in effects if key not in told]
        report.odd += [f"{one.name} is paused: {one.reason}" for one in await pauses.open_pauses(self.store)]
        report.orphaned += [f"{row['id']} will never wake" for row in await instances.orphans(self.store)]

    async def _audit_one(self, name: str, effects: Counter[str]) -> set[str]:
        """Compare one journal with the stub; return the keys whose effect it tells of, or must find out about."""
        try:
            records = await instances.records(self.store, name)
        except TamperError as error:
            self.report.broken.append(f"{name}: {error}")
            return set()
        state = lifecycle.initial(self.plan, name)
        for record in records:
            state = lifecycle.fold(self.plan, state, record)
        self.report.ends[str(state.ended)] += 1
        told = set()
        for act in state.acts.values():
            step = state.steps.get(act.step or "")
            if step is not None and step.status in SUCCEEDED and not effects[act.key]:
                self.report.orphaned.append(f"{act.key} is {step.status} and never took effect")
            if step is None or step.status in SUCCEEDED or step.effect != "none" or state.ended is None:
                told.add(act.key)
        return told


def _seconds(at: int | None, now: float) -> str:
    return "never" if at is None else f"{(at - now) / 1000:+.1f} s"


def _progress(backend: Any) -> tuple[int, int]:
    ended, records = backend.execute("SELECT count(ended_at), coalesce(sum(head_seq), 0) FROM instances")[0]
    return int(ended), int(records)


def _counted(stub: str) -> Any:
    with urllib.request.urlopen(f"{stub}/_effects", timeout=30) as answer:  # noqa: S310 -- our own stub
        return json.load(answer)


def _checkpoint(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


async def _fork_server(setting: Setting) -> asyncio.subprocess.Process:
    paths = os.pathsep.join([*map(str, ROOTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    mother = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "support.kill.worker",
        msgspec.json.encode(setting).decode(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert mother.stdout is not None
    assert await mother.stdout.readline() == b"!\n", "the fork server did not come up; see its error output"
    return mother


@contextlib.contextmanager
def _server(which: str) -> Iterator[str | PostgresServer]:
    if which == "sqlite":
        yield "sqlite:///FOLDER/topstitch.db"
        return
    with PostgresServer() as server:
        yield server


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kill engines until all instances have ended.")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--restarts", action="store_true", help="stop the server hard every few seconds")
    parser.add_argument("--mutant", action="store_true", help="take the look-up away")
    options = parser.parse_args()
    with _server(options.database) as chosen:
        print(
            torment(
                chosen,
                seed=options.seed,
                count=options.instances,
                restart_seconds=(2.0, 4.0) if options.restarts else None,
                mutant=options.mutant,
            )
        )
