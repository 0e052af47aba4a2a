"""One timer for all: never early, soon afterwards, and with the rules of cancelling that ``asyncio.timeout`` has."""

from __future__ import annotations

import asyncio

import pytest

from topstitch.foundation.deadlines import deadlines, within


async def test_what_takes_too_long_is_ended_and_says_so() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError), within(0.01):
        await asyncio.Event().wait()
    assert loop.time() - began >= 0.01
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_what_ends_in_time_leaves_nothing_behind() -> None:
    with within(60):
        await asyncio.sleep(0)
    assert not deadlines()._rings


async def test_the_inner_of_two_is_the_one_that_ends() -> None:
    ended = []
    with within(60):
        try:
            with within(0):
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append("inner")
    assert ended == ["inner"]


async def test_somebody_elses_cancelling_is_no_timeout() -> None:
    began = asyncio.Event()

    async def wait() -> None:
        with within(60):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelling_that_comes_with_the_timeout_is_not_lost() -> None:
    """Both at once: the outer one must win, or a server that stops would go on."""
    began = asyncio.Event()

    async def wait() -> None:
        with within(0):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await began.wait()
    deadlines().set(0, lambda: None)
    deadlines()._tick()  # the bound rings, and before the task runs again it is cancelled from outside
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="of the block"), within(60):
        raise ValueError("of the block")


async def test_many_wait_on_one_timer_and_it_rests_when_none_is_left() -> None:
    rung: list[int] = []
    here, last = deadlines(), asyncio.Event()
    keys = [here.set(0, lambda n=n: rung.append(n)) for n in range(50)]  # type: ignore[misc]
    here.drop(keys[7])
    here.set(0, last.set)
    await last.wait()
    assert not here._ticking
    assert rung == [n for n in range(50) if n != 7]


async def test_without_a_task_there_is_nothing_to_end() -> None:
    answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def outside() -> None:
        try:
            within(1).__enter__()
        except RuntimeError as error:
            answered.set_result(str(error))

    asyncio.get_running_loop().call_soon(outside)
    assert "task" in await answered


def test_each_loop_has_its_own() -> None:
    async def mine() -> object:
        return deadlines()

    assert asyncio.run(mine()) is not asyncio.run(mine())
