"""What the API keeps for itself, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from browser.seeded import seed
from topstitch.audit.checkpoint import new_signing_key
from topstitch.audit.sequencer import Sequencer
from topstitch.foundation.clock import SimulatedClock
from topstitch.model.kinds import Kind
from topstitch.model.query import parse_query
from topstitch.model.record import Actor, ActorKind, Draft, Stage
from topstitch.office.told import word
from topstitch.store import Store, batches, drafts, idempotency, instances, items, pages, searches, streams, webhooks
from topstitch.store.drafts import DefinitionDraft
from topstitch.store.webhooks import Delivery, Endpoint, Secret

NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = str(tmp_path / "t.db") if request.param == "sqlite" else request.getfixturevalue("postgres_dsn")
    with Store.open(url, key_file=tmp_path / "installation.key") as opened:
        yield opened


async def test_a_key_is_taken_once_answered_once_and_swept(store: Store):
    assert await idempotency.begin(store, "human:a", "k", "f", NOW) is None
    running = await idempotency.begin(store, "human:a", "k", "f", NOW)
    assert running is not None
    assert running.status is None
    assert await idempotency.begin(store, "human:b", "k", "f", NOW) is None
    await idempotency.finish(store, "human:a", "k", status=202, headers={"location": "/x"}, body='{"ä":1}'.encode())
    kept = await idempotency.begin(store, "human:a", "k", "other", NOW)
    assert kept is not None
    assert (kept.status, kept.headers, kept.body.decode(), kept.fingerprint) == (
        202,
        {"location": "/x"},
        '{"ä":1}',
        "f",
    )
    await idempotency.release(store, "human:a", "k")
    assert await idempotency.begin(store, "human:a", "k", "f", NOW) is not None, "what was answered stays answered"
    assert await idempotency.begin(store, "human:a", "k", "f", NOW + idempotency.KEPT) is None
    await idempotency.release(store, "human:b", "k")
    assert await idempotency.begin(store, "human:b", "k", "f", NOW) is None


async def test_a_draft_is_replaced_until_it_is_forgotten(store: Store):
    for text in ("one", "two"):
        await drafts.keep(
            store, DefinitionDraft(workflow="w", version="1.0.0", digest="d", text=text, made_at=NOW, made_by="human:a")
        )
    assert [one.text for one in await drafts.of(store, "w")] == ["two"]
    await drafts.forget(store, "w", "1.0.0")
    assert await drafts.of(store, "w") == []


async def test_a_batch_is_shown_item_by_item(store: Store):
    chosen = [{"instance": f"ins_{n}", "title": "t", "ok": n != 1, "says": ["x"], "code": "c"} for n in range(3)]
    await batches.freeze(store, "bat_1", {"name": "pause", "reason": "r"}, chosen, NOW, "human:a")
    await batches.start(store, "bat_1", NOW)
    await batches.told(store, "bat_1", "ins_0", {"ok": True, "seq": 4})
    await batches.told(store, "bat_1", "ins_1", {"ok": False, "code": "no", "message": "m"})
    ana = Actor(kind=ActorKind.HUMAN, id="a")
    note = Draft(kind=Kind.OPERATOR_COMMANDED, at=NOW, actor=ana, stage=Stage.AUDIT, body={"batch": "bat_1"})
    await batches.end(store, "bat_1", NOW + timedelta(seconds=1), note)
    one = await batches.get(store, "bat_1")
    assert (one.status, one.counts) == ("ended", {"done": 1, "failed": 1, "left": 1})
    assert [row["possible"] for row in await batches.items(store, "bat_1", after=0)] == [False, True]


async def test_the_feed_the_claims_and_the_streams_go_by_the_ledger(store: Store):
    await seed(store)
    endpoint = Endpoint(
        id="whe_1", url="https://x.example", types=("topstitch.instance.*",), description=None, owner="dana",
        status=webhooks.ENABLED, because=None, failing_since=None, secrets=(Secret("s", NOW),), made_at=NOW,
        changed_at=NOW,
    )  # fmt: skip
    await webhooks.add(store, endpoint)
    assert await webhooks.get(store, "whe_1") == endpoint
    await Sequencer(store, new_signing_key("test"), SimulatedClock(NOW)).place()
    while await webhooks.feed(store, word, NOW):
        pass
    told = await webhooks.deliveries(store, "whe_1", limit=200)
    started = [one for one in told if one.type == "topstitch.instance.started"]
    assert len(started) == len(await instances.listing(store))
    claimed = await webhooks.claim(store, NOW, NOW + timedelta(minutes=1), 5)
    others = await webhooks.claim(store, NOW, NOW + timedelta(minutes=1), 200)
    assert len(claimed) == 5
    assert not {one.id for one in claimed} & {one.id for one in others}
    assert await webhooks.claim(store, NOW, NOW + timedelta(minutes=1), 5) == []
    assert len(await webhooks.claim(store, NOW + timedelta(minutes=1), NOW, 200)) == len(told)
    await webhooks.note(store, sent(claimed[0]), NOW)
    assert (await webhooks.get_delivery(store, "whe_1", claimed[0].id)).status == "sent"
    head = await streams.head(store)
    changes = await streams.since(store, 0, limit=10_000)
    assert [change.place for change in changes][-1] == head
    assert await streams.since(store, changes[-3].place) == changes[-2:]


def sent(one: Delivery) -> Delivery:
    from msgspec.structs import replace

    return replace(one, status=webhooks.SENT, next_at=None, sent_at=NOW, tries=1, answered=200)


async def test_lists_are_paged_searched_and_cut_to_what_may_be_seen(store: Store):
    await seed(store)
    query = parse_query("workflow:employee-onboarding")
    first = await pages.items(store, pages.APPROVALS, query, NOW, limit=1, counted=True)
    assert first.count == len(await items.list_approvals(store, status=None, limit=1_000))
    at, _, name = str(first.next).partition(".")
    second = await pages.items(store, pages.APPROVALS, query, NOW, limit=1, after=(int(at), name))
    assert first.rows[0]["id"] != second.rows[0]["id"]
    assert (await pages.items(store, pages.TASKS, query, NOW, part=("other", "x-*"))).rows == []
    assert (await pages.items(store, pages.TASKS, query, NOW, part=("employee-*",))).rows
    found, wanted = await streams.matching(
        store, parse_query("state:waiting"), NOW, await searches.names(store, query, NOW, limit=500), ("employee-*",)
    )
    assert 0 < len(wanted) < len(found)
    assert (await searches.search(store, query, NOW, part=("nothing",))).total == 0
