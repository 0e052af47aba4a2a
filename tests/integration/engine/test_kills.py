"""X-04, X-01: an engine killed at any moment, again and again, does everything once and leaves nothing lying."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import topstitch
from integration.engine.kit import Rules, once
from integration.store.kit import later, start
from topstitch.foundation.clock import SimulatedClock
from topstitch.store import Store, instances

INSTANCES = [f"ins_{number:02}" for number in range(30)]
KILLS = 6
SEED = 7
TESTS = Path(__file__).parents[2]
SOURCES = Path(topstitch.__file__).parents[1]


def carry_until_killed(url: str, key_file: Path, world: Path, calls: int | None) -> int:
    """Let a process carry on and kill it after so many calls (never, when nothing); return how it ended."""
    carrier = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("carrier.py")), url, str(key_file), str(world)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{SOURCES}:{TESTS}"},
    )
    assert carrier.stdout is not None
    with carrier:
        for made, _ in enumerate(carrier.stdout, 1):
            if made == calls:
                carrier.kill()
                break
        carrier.stdout.read()
    return carrier.returncode


async def test_X04_X01_killed_again_and_again_everything_is_done_once(url: str, key_file: Path, tmp_path: Path) -> None:
    world, chance = tmp_path / "world", random.Random(SEED)
    with Store.open(url, key_file=key_file) as store:
        await asyncio.gather(*(start(store, name) for name in INSTANCES))
    for _ in range(KILLS):
        await asyncio.to_thread(carry_until_killed, url, key_file, world, chance.randrange(1, 25))
    # a lease of 30 seconds is not waited for: the dead are known to be dead
    code = await asyncio.wait_for(asyncio.to_thread(carry_until_killed, url, key_file, world, None), 25)
    assert code == 0, f"seed {SEED}"
    assert Counter(world.read_text().split()) == once(Rules(steps=4), INSTANCES), f"seed {SEED}"
    with Store.open(url, key_file=key_file) as store:
        assert await instances.orphans(store) == []
        assert await instances.counts(store) == {"completed": len(INSTANCES)}
        for name in INSTANCES:
            await instances.records(store, name)  # raises unless the chain verifies


async def test_the_leases_of_a_living_engine_are_left_alone(url: str, key_file: Path, clock: SimulatedClock) -> None:
    with Store.open(url, key_file=key_file) as alive, Store.open(url, key_file=key_file) as other:
        await alive.attend("one", clock.now())
        await start(alive, "ins_1")
        assert len((await alive.claim("one", later(0), 30, 10)).due) == 1
        assert await other.attend("two", clock.now()) == 0
        assert (await other.claim("two", later(0), 30, 10)).due == []
        alive.close()
        assert await other.attend("two", clock.now()) == 1
        assert len((await other.claim("two", later(0), 30, 10)).due) == 1
