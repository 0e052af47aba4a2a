"""The schema: a fresh database equals a migrated one, a newer one is refused, and the hot reads have indexes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from integration.store.kit import query, start
from topstitch.foundation.errors import OperatorError
from topstitch.store import Store, instances, schema
from topstitch.store.database import Backend, open_backend
from topstitch.store.statements import for_dialect

VERSIONS = Path(schema.__file__).parent / "migrations" / "versions"


def test_every_migration_is_known_and_the_newest_is_last() -> None:
    assert tuple(sorted(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*.py"))) == schema.KNOWN
    assert schema.KNOWN[-1] == schema.NEWEST


def test_a_fresh_schema_equals_a_migrated_one(url: str, key_file: Path) -> None:
    backend = open_backend(url)
    backend.begin()
    backend.execute(schema.MARK_TABLE)
    backend.commit()
    schema.migrate(backend)
    migrated = described(backend)
    for name in migrated:
        backend.execute(f"DROP TABLE {name}")
    Store.open(url, key_file=key_file).close()
    fresh = described(backend)
    backend.close()
    assert fresh == migrated
    assert len(migrated) > 20


async def test_an_older_database_is_given_the_words_of_the_instances_it_has(url: str, key_file: Path) -> None:
    with Store.open(url, key_file=key_file) as store:
        await start(store, "ins_1")
        words = await query(store, "SELECT instance, word FROM instance_words ORDER BY word")
    backend = open_backend(url)
    for made_since in ("instance_words", "seasons", "calendar_proposals"):
        backend.execute(f"DROP TABLE {made_since}")
    backend.execute("UPDATE instances SET correlation = NULL")
    backend.execute("UPDATE alembic_version SET version_num = '0010'")
    backend.close()
    with Store.open(url, key_file=key_file) as store:
        assert await query(store, "SELECT instance, word FROM instance_words ORDER BY word") == words
    assert [word for _, word in words] == ["of", "onboarding", "priya", "raman"]


def described(backend: Backend) -> dict[str, list[Any]]:
    """Return what the database itself says of its tables."""
    if backend.dialect == "sqlite":
        names = [name for (name,) in backend.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [squeezed(row) for sql in SQLITE for row in backend.execute(sql, (name,))] for name in names}
    names = [name for (name,) in backend.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    return {name: [squeezed(row) for sql in POSTGRES for row in backend.execute(sql, (name,))] for name in names}


SQLITE = (
    'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)',
    "SELECT strict, wr FROM pragma_table_list WHERE name = ?",
    "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? ORDER BY name",
    'SELECT name, "unique", partial FROM pragma_index_list(?) ORDER BY name',
)
POSTGRES_COLUMNS = (
    "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,"
    " pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a LEFT JOIN pg_attrdef d"
    " ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = ?::regclass AND a.attnum > 0"
    " ORDER BY a.attnum"
)
POSTGRES = (
    POSTGRES_COLUMNS,
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = ?::regclass ORDER BY conname",
    "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ? ORDER BY indexname",
)


def squeezed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with white space made even."""
    return tuple(" ".join(value.split()) if isinstance(value, str) else value for value in row)


def test_a_database_of_a_newer_schema_is_refused_with_the_remedy(url: str, key_file: Path) -> None:
    Store.open(url, key_file=key_file).close()
    backend = open_backend(url)
    backend.execute("UPDATE alembic_version SET version_num = '0999'")
    backend.close()
    with pytest.raises(OperatorError, match="install the newer version") as refused:
        Store.open(url, key_file=key_file)
    assert refused.value.code == "database-newer"


async def test_lists_and_claims_are_answered_from_indexes(store: Store) -> None:
    await start(store, "ins_1")
    if store.url.startswith("postgresql"):
        await query(store, "SET enable_seqscan = off")
        await query(store, "SET enable_sort = off")
    newest = "SELECT id FROM instances {} ORDER BY started_at DESC, id DESC LIMIT 50"
    for sql, index in (
        (newest.format(""), "ix_instances_started"),
        (newest.format("WHERE workflow = 'x'"), "ix_instances_workflow"),
        (newest.format("WHERE status = 'x'"), "ix_instances_status"),
        ("SELECT id FROM instances WHERE wake_at <= 5 ORDER BY wake_at LIMIT 10", "ix_instances_due"),
        ("SELECT status, count(*) FROM instances GROUP BY status", "ix_instances_"),
    ):
        explain = "EXPLAIN " if store.url.startswith("postgresql") else "EXPLAIN QUERY PLAN "
        plan = " ".join(str(row) for row in await query(store, explain + sql))
        assert index in plan, plan
        assert "TEMP B-TREE" not in plan, plan
    assert [row["id"] for row in await instances.listing(store)] == ["ins_1"]


def test_locks_are_written_for_postgresql_alone() -> None:
    assert for_dialect("SELECT ? {skip_locked}", "sqlite") == "SELECT ? "
    assert for_dialect("SELECT ? {skip_locked}", "postgresql") == "SELECT %s FOR UPDATE SKIP LOCKED"
