"""A process that carries instances on until it is killed: for ``test_kills``.

Started as a program with a URL, a key file and a world: a file to which each thing done
appends its key, before it is answered. Prints a line for every call it makes.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from integration.engine.kit import Rules
from topstitch.engine.embedded import Embedded
from topstitch.foundation.clock import SystemClock
from topstitch.model.orders import Call
from topstitch.store import Store, instances


class Outside(Rules):
    """Rules whose world outlives the process."""

    def __init__(self, world: str) -> None:
        super().__init__(steps=4)
        self._path = Path(world)
        self._file = os.open(world, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.before = self.say

    async def say(self, call: Call) -> None:
        """Tell the parent, and take a moment."""
        print(call.key, flush=True)  # noqa: T201 -- the parent reads it
        await asyncio.sleep(0.002)

    def put(self, key: str) -> None:
        """Do the thing once more."""
        os.write(self._file, f"{key}\n".encode())

    def look(self, key: str) -> bool:
        """Whether the thing was done."""
        return key in self._path.read_text().split()


async def main(url: str, key_file: str, world: str) -> None:
    """Carry on until every instance has ended."""
    with Store.open(url, key_file=Path(key_file)) as store:
        engine = Embedded(store, Outside(world), SystemClock())
        task = asyncio.create_task(engine.run())
        while set(await instances.counts(store)) != {"completed"}:  # noqa: ASYNC110 -- another process's rows
            await asyncio.sleep(0.02)
        engine.stop()
        await task


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
