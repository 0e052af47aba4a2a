"""The console's reads say the same on both databases, and a list with its counts is of one moment."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from browser.seeded import NOW, plan_of, publish, story, workflow, write
from topstitch.model.query import parse_query
from topstitch.store import Store, instances, items
from topstitch.store.searches import (
    by_version,
    changed_since,
    crossings,
    head_position,
    newest_records,
    open_counts,
    seam_failures,
    search,
    step_failures,
)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_every_read_holds_on_both_databases(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/topstitch.db" if database == "sqlite" else request.getfixturevalue("postgres_dsn")
    with Store.open(url, key_file=tmp_path / "installation.key") as store:
        definition = workflow()
        await publish(store, definition, NOW)
        hires = story(NOW, plan_of(definition))[:6]
        for hire in hires:
            await write(store, hire)
        page = await search(store, parse_query(""), NOW)
        assert page.total == len(page.rows) == len(hires)
        assert [row["started_at"] for row in page.rows] == sorted((h.records[0].at for h in hires), reverse=True)
        assert page.counts == await instances.counts(store)
        for query, names in (
            ("has:approval", {"Priya Raman"}),
            ("has:task", {"Lukas Vogel"}),
            ("priya", {"Priya Raman"}),
            ("has:discrepancy", {"Priya Raman", "Yuki Mori"}),
            ("state:ended", {"Ana Costa"}),
            ("older:10h", {"Ana Costa"}),
            ("PRI", {"Priya Raman"}),
            ("'Priya Ram'", {"Priya Raman"}),
            ("'Raman Priya'", set()),
            (hires[0].state.id, {hires[0].state.title}),
            ("state:open workflow:employee-onboarding", {h.state.title for h in hires} - {"Ana Costa"}),
            ("state:completed workflow:other", set()),
            ("100%_", set()),
            ("%_", set()),
        ):
            found = await search(store, parse_query(query), NOW)
            assert {row["title"] for row in found.rows} == names, query
            assert found.counts == Counter(row["status"] for row in found.rows)
        found = await search(store, parse_query(""), NOW, part=["employee-*"])
        assert found.counts == page.counts, "counted one by one, and by difference"
        counts = await open_counts(store)
        assert counts.approvals == len(await items.list_approvals(store))
        assert (counts.tasks, counts.discrepancies) == (1, 2)
        head = await head_position(store)
        assert [position for position, _ in await changed_since(store, head - 3)] == [head - 2, head - 1, head]
        since = NOW - timedelta(hours=24)
        crossed = await crossings(store, since)
        assert [one.at for one in crossed] == sorted(one.at for one in crossed)
        only = await crossings(store, since, source="entra-id", target="servicenow")
        assert only == [one for one in crossed if (one.source, one.target) == ("entra-id", "servicenow")]
        assert await seam_failures(store, since) == {("entra-id", "servicenow"): 1, ("entra-id", "slack"): 1}
        assert await step_failures(store, since) == {"itsm": 1, "chat": 1}
        assert (await by_version(store))["employee-onboarding", "1.0.0"] == {"all": 6, "open": 5}
        newest = await newest_records(store, kind="started")
        assert {row["instance"] for row in newest} == {h.id for h in hires}


async def test_counts_and_list_agree_while_instances_come_in(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "topstitch.db")) as store:
        definition = workflow()
        await publish(store, definition, NOW)
        for hire in story(NOW, plan_of(definition))[:8]:
            before = await search(store, parse_query("state:open"), NOW)
            await write(store, hire)
            after = await search(store, parse_query("state:open"), NOW)
            for page in (before, after):
                assert page.total == len(page.rows)
