"""Personal values: never in a record, openable as long as the subject's key is there, gone when it is."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from integration.store.kit import NOW, claim_one, draft, event, new, query, start
from topstitch.foundation.canonical import commitment, parse
from topstitch.foundation.errors import OperatorError
from topstitch.store import Store, instances, rebuild
from topstitch.store.tables import metadata


async def test_no_personal_value_stands_in_a_record(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    await store.append(lease, [draft("x", body={"mail": "priya@acme.example"}, personal=[("mail",)])])
    (first, second) = await instances.stored_records(store)
    assert b"Priya" not in first.body
    assert b"SE-2" in first.body
    mark = parse(second.body)["body"]["mail"]
    assert set(mark) == {"c"}
    assert (await instances.records(store, "ins_1"))[1].body == {"mail": "priya@acme.example"}


async def test_a_commitment_is_salted_so_that_equal_values_look_different(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    await store.append(lease, [draft("x", body={"a": "Priya", "b": "Priya"}, personal=[("a",), ("b",)])])
    body = parse((await instances.stored_records(store))[1].body)["body"]
    assert body["a"] != body["b"]
    assert body["a"]["c"] != base64.b64encode(commitment(b"", "Priya")).decode()


async def test_without_its_key_a_value_reads_as_erased_and_the_chain_still_verifies(store: Store) -> None:
    await store.accept(event("hire-1"), [new("ins_1", subject="W-104233")], raw=b"{}")
    assert await query(store, "SELECT subject FROM subject_keys") == [("W-104233",)]
    await query(store, "DELETE FROM subject_keys WHERE subject = ?", "W-104233")
    await query(store, "DELETE FROM personal WHERE instance = ?", "ins_1")
    (record,) = await instances.records(store, "ins_1")
    assert set(record.body["data"]["name"]) == {"erased"}
    assert record.body["data"]["profile"] == "SE-2"
    await rebuild.rebuild(store)
    assert (await instances.get(store, "ins_1"))["title"] == "(erased)"
    assert len((await store.claim("one", NOW, 30, 10)).due) == 1


async def test_after_an_erasure_new_personal_values_get_a_new_key(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    await store.append(lease, park=True, wake_at=NOW)
    await query(store, "DELETE FROM subject_keys")
    await query(store, "DELETE FROM personal")
    lease = await claim_one(store)
    await store.append_outside("ins_1", [draft("x", body={"a": "Dana"}, personal=[("a",)])], NOW)
    await store.catch_up(lease)
    await store.append(lease, [draft("y", body={"a": "Kim"}, personal=[("a",)])])
    bodies = [record.body for record in await instances.records(store, "ins_1")]
    assert bodies[1:] == [{"a": "Dana"}, {"a": "Kim"}]


def test_the_key_file_is_made_once_and_is_its_owners_alone(store: Store, key_file: Path) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("spoil", "code", "remedy"),
    [
        (lambda path: path.unlink(), "key-missing", "backup"),
        (lambda path: path.write_text(base64.b64encode(bytes(32)).decode()), "key-mismatch", "put back the key"),
        (lambda path: path.write_text("not a key"), "key-damaged", "backup"),
        (lambda path: path.write_text("AAAA"), "key-damaged", "backup"),
    ],
)
def test_a_lost_or_wrong_key_is_noticed_at_the_door(url: str, key_file: Path, spoil, code: str, remedy: str) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    Store.open(url, key_file=key_file).close()
    spoil(key_file)
    with pytest.raises(OperatorError, match=remedy) as refused:
        Store.open(url, key_file=key_file)
    assert refused.value.code == code


async def test_no_table_but_the_declared_ones_holds_a_personal_value(store: Store) -> None:
    """The columns that do are known: an erasure rebuilds or empties exactly these."""
    await start(store, "ins_1")
    found = set()
    for table in metadata.tables.values():
        for row in await query(store, f"SELECT * FROM {table.name}"):
            for column, value in zip(table.columns, row, strict=True):
                if "Priya" in str(value):
                    found.add(f"{table.name}.{column.name}")
    assert found == {"events.data", "events.raw", "instances.title"}
