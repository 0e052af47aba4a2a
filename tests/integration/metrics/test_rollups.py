"""Roll-ups are exact sums of what was there, stay when raw rows age out, and the file stays small."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from integration.metrics.kit import NOW, Paper, after, case, finished
from support.onboarding import onboarding_plan
from topstitch.metrics import watch
from topstitch.metrics.limits import DAY_MS, HOUR_MS, Limits
from topstitch.metrics.rollups import sketch_of, together
from topstitch.metrics.sketch import Sketch
from topstitch.metrics.watch import Watcher
from topstitch.store import Store, measures, rebuild, rollups, traces
from topstitch.store.database import Backend
from topstitch.store.seeding import Seed, SeededEdge, fill

PLAN = onboarding_plan()
SHORT = Limits(raw_days=2, hourly_days=10)
END_MS = round(NOW.timestamp() * 1000)


async def counted(store: Store, table: str) -> int:
    def count(backend: Backend) -> int:
        return int(backend.execute(f"SELECT count(*) FROM {table}")[0][0])

    return await store.work(count)


async def test_an_hour_is_rolled_up_once_it_is_over_and_again_without_harm(store: Store) -> None:
    watcher = Watcher(store=store, plans=Paper(PLAN))
    for n in range(6):
        await finished(
            store, f"ins_{n}", after(1200 * n), PLAN, seconds={"equipment": 5 + n}, fails="equipment" if n == 5 else ""
        )
    assert await watch.keep(watcher, after(3600)) == (0, 0)  # its last rows may still be on their way
    assert (await watch.keep(watcher, after(3600 + 301)))[0] == 1
    assert (await watch.keep(watcher, after(2 * 3600 + 301)))[0] == 1
    assert (await watch.keep(watcher, after(2 * 3600 + 301)))[0] == 0
    rows = await rollups.read(store, 0, END_MS * 2)
    steps = [row for row in rows if (row.measure, row.name) == ("step", "equipment")]
    assert [(row.executions, row.total_ms, row.least_ms, row.most_ms) for row in steps] == [
        (3, 18_000, 5000, 7000), (2, 17_000, 8000, 9000)
    ]  # fmt: skip
    nets = [row for row in rows if (row.measure, row.name) == ("net", "identity>equipment")]
    assert [row.executions for row in nets] == [3, 3]
    seams = [row for row in rows if (row.measure, row.name) == ("seam", "entra-id>servicenow")]
    assert [(row.executions, row.exceptions) for row in seams] == [(3, 0), (3, 1)]
    whole = sketch_of(steps)
    assert (whole.count, whole.bins) == (5, Sketch([5000, 6000, 7000, 8000, 9000]).bins)


async def test_raw_rows_age_out_behind_the_roll_ups_and_open_instances_keep_theirs(store: Store) -> None:
    watcher = Watcher(store=store, plans=Paper(PLAN), limits=SHORT)
    for n in range(5):
        await finished(store, f"ins_{n}", after(60 * n), PLAN)
    one = await case(store, "ins_open", NOW, PLAN)
    await one.intent("identity", after(0.4), after(1), "context")
    await finished(store, "ins_new", NOW + timedelta(days=2), PLAN)
    assert await rollups.age_out(store, END_MS + 90 * DAY_MS) == 0  # nothing is rolled up yet
    for day in range(4):
        await watch.keep(watcher, NOW + timedelta(days=day, hours=1))
    assert await traces.list_steps(store, "ins_1") == []
    assert await traces.list_handoffs(store, "ins_1") == []
    assert len(await traces.list_steps(store, "ins_open")) == 1
    assert len(await traces.list_steps(store, "ins_new")) == 2
    kept = [row for row in await rollups.read(store, 0, END_MS * 2) if (row.measure, row.name) == ("step", "identity")]
    assert [row.executions for row in kept] == [5, 1]


async def test_rows_that_are_derived_again_are_not_counted_twice(store: Store) -> None:
    watcher = Watcher(store=store, plans=Paper(PLAN), limits=SHORT)
    await finished(store, "ins_1", NOW, PLAN)
    for day in range(4):
        await watch.keep(watcher, NOW + timedelta(days=day, hours=1))
    before = await rollups.read(store, 0, END_MS * 2)
    await rebuild.rebuild(store)
    assert len(await traces.list_steps(store, "ins_1")) == 2
    await watch.keep(watcher, NOW + timedelta(days=5))
    assert await rollups.read(store, 0, END_MS * 2) == before


async def test_hours_become_days_and_quantiles_stay(store: Store) -> None:
    watcher = Watcher(store=store, plans=Paper(PLAN), limits=SHORT)
    for n in range(48):
        await finished(store, f"ins_{n:02}", after(3600 * n), PLAN, seconds={"identity": 1.0 + n})
    for day in (2, 3):
        await watch.keep(watcher, NOW + timedelta(days=day))
    hours = await rollups.read(store, 0, END_MS * 2, measure="step")
    assert {row.spans_ms for row in hours} == {HOUR_MS}
    await watch.keep(watcher, NOW + timedelta(days=30))
    days = await rollups.read(store, 0, END_MS * 2, measure="step")
    assert {row.spans_ms for row in days} == {DAY_MS}
    assert sum(row.executions for row in days) == sum(row.executions for row in hours) == 96
    identity = [row for row in days if row.name == "identity"]
    assert len(identity) == 3
    exact = sketch_of([row for row in hours if row.name == "identity"])
    assert sketch_of(identity).bins == exact.bins
    assert sketch_of(together(identity, 30 * DAY_MS)).quantile(0.95) == exact.quantile(0.95)


async def test_the_file_does_not_grow_without_bound(tmp_path: Path) -> None:
    edges = [
        SeededEdge("context", "identity", "workday", "entra-id"),
        SeededEdge("identity", "equipment", "entra-id", "servicenow"),
    ]

    def month(store: Store, number: int) -> Seed:
        return Seed(
            workflow=f"w{number}", version="1.0.0", digest="d", edges=edges, instances=1500,
            until_ms=END_MS + number * 10 * DAY_MS, days=10,
        )  # fmt: skip

    sizes = []
    with Store.open(f"sqlite:///{tmp_path}/t.db") as store:
        watcher = Watcher(store=store, plans=Paper(PLAN), limits=Limits(raw_days=2, hourly_days=5, message_days=2))
        for number in range(4):
            await fill(store, month(store, number))
            await watch.keep(watcher, NOW + timedelta(days=number * 10 + 4))
            sizes.append(await counted(store, "steps") + await counted(store, "handoffs"))
    assert max(sizes[1:]) <= sizes[0] * 1.1  # raw rows of finished instances never pile up


async def test_what_was_read_before_is_read_again_from_the_roll_ups(store: Store) -> None:
    watcher = Watcher(store=store, plans=Paper(PLAN))
    for n in range(10):
        await finished(store, f"ins_{n}", after(60 * n), PLAN, seconds={"equipment": 1.0 + n})
    await watch.keep(watcher, after(2 * 3600))
    raw = await measures.durations(store, END_MS, END_MS + HOUR_MS, slot_ms=HOUR_MS)
    rolled = await rollups.read(store, END_MS, END_MS + HOUR_MS, measure="step")
    exact = {one.step: sorted(one.duration_ms) for one in raw}
    for row in rolled:
        assert row.sketch is not None
        found = Sketch.parse(row.sketch).quantile(0.5)
        middle = exact[row.name][4]
        assert found is not None
        assert abs(found - middle) <= 0.01 * middle
