"""What fails: kills, full disks, forbidden folders, servers that go away. Each is named, and nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import topstitch
from integration.store.kit import claim_one, draft, event, new, query, start
from support.postgres import PostgresServer
from topstitch.foundation.canonical import GENESIS, chain_hash
from topstitch.foundation.errors import OperatorError
from topstitch.store import Lease, Store, instances
from topstitch.store.database import sqlite_error

LINES_BEFORE_KILL = (3, 40, 200)
TESTS = Path(__file__).parents[2]
SOURCES = Path(topstitch.__file__).parents[1]


def kill_appender(url: str, key_file: Path, lines: int) -> dict[str, int]:
    """Let another process append, kill it after so many answers, and return what it was told is durable."""
    Store.open(url, key_file=key_file).close()
    acknowledged: dict[str, int] = {}
    appender = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("appender.py")), url, str(key_file), str(lines)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{SOURCES}:{TESTS}"},
    )
    assert appender.stdout is not None
    with appender:
        for _ in range(lines):
            name, seq = appender.stdout.readline().split()
            acknowledged[name] = int(seq)
        appender.kill()
        for line in appender.stdout:
            if line.endswith("\n"):
                name, seq = line.split()
                acknowledged[name] = int(seq)
    return acknowledged


@pytest.mark.parametrize("lines", LINES_BEFORE_KILL)
async def test_X04_T06_after_kill_9_everything_acknowledged_is_there_and_chains_verify(
    url: str, key_file: Path, lines: int
) -> None:
    acknowledged = kill_appender(url, key_file, lines)
    with Store.open(url, key_file=key_file) as store:
        for head in await instances.heads(store):
            prev, rows = GENESIS, await instances.stored_records(store, instance=head.instance)
            for row in rows:
                prev = chain_hash(prev, row.body)
                assert row.hash == prev
            assert (rows[-1].seq, prev) == (head.seq, head.hash)
            assert head.seq >= acknowledged.get(head.instance, 1)
        assert set(acknowledged) <= {head.instance for head in await instances.heads(store)}


async def fill(store: Store, lease: Lease) -> None:
    """Append until there is no room."""
    for _ in range(100):
        await store.append(lease, [draft("x", body={"pad": "p" * 5000})])


async def test_a_full_disk_is_named_and_what_was_confirmed_stays(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "full.db")) as store:
        await start(store, "ins_1")
        lease = await claim_one(store)
        ((pages,),) = await query(store, "PRAGMA page_count")
        await query(store, f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OperatorError, match="free some space") as full:
            await fill(store, lease)
        assert full.value.code == "disk-full"
        with pytest.raises(OperatorError):
            await store.accept(event("hire-2"), [new("ins_2")], raw=b"r" * 100_000)
        written = lease.written_seq
        await query(store, "PRAGMA max_page_count = 1073741823")
        await store.append(lease, [draft("y")])  # once there is space again, it goes on where it was
        assert [record.kind for record in await instances.records(store, "ins_1")][written:] == ["y"]
        assert (await store.accept(event("hire-2"), [new("ins_2")])).first


WRITE_UNPRIVILEGED = """
import os, pwd, sys
from pathlib import Path
from topstitch.foundation.errors import OperatorError
from topstitch.store.database import Sqlite
if os.geteuid() == 0:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
try:
    backend = Sqlite(Path(sys.argv[1]))
    backend.begin()
    backend.execute("DELETE FROM meta")
    backend.commit()
except OperatorError as error:
    print(error.code, error.message)
"""


def test_a_read_only_database_is_refused_with_the_remedy() -> None:
    with tempfile.TemporaryDirectory(prefix="ts-ro-") as name:
        folder = Path(name)
        path = folder / "topstitch.db"
        Store.open(str(path)).close()
        path.chmod(0o444)
        folder.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", WRITE_UNPRIVILEGED, str(path)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
        )
        folder.chmod(0o755)
    assert done.stdout.startswith(("database-read-only", "database-unopened")), done
    assert "choose another" in done.stdout


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SQLITE_FULL", "disk-full"),
        ("SQLITE_READONLY_DBMOVED", "database-read-only"),
        ("SQLITE_IOERR_FSYNC", "database-io"),
        ("SQLITE_BUSY_SNAPSHOT", "database-busy"),
        ("SQLITE_CORRUPT", "database-damaged"),
        ("SQLITE_NOTADB", "database-foreign"),
        ("SQLITE_ERROR", "database-failed"),
    ],
)
def test_each_failure_of_sqlite_has_a_code_and_ends_with_the_remedy(name: str, code: str) -> None:
    error = sqlite3.OperationalError("it said so")
    error.sqlite_errorname = name
    told = sqlite_error(error, "/data/topstitch.db")
    assert told.code == code
    assert "/data/topstitch.db" in told.message
    assert "; " in told.message


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "topstitch.db"
    path.write_text("Dear diary, " * 100)
    with pytest.raises(OperatorError, match="not a Topstitch database") as refused:
        Store.open(str(path))
    assert refused.value.code == "database-foreign"
    assert path.read_text().startswith("Dear diary")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="choose another") as refused:
        Store.open(str(tmp_path / "file" / "topstitch.db"))
    assert refused.value.code == "database-unopened"


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="see that the server is up") as refused:
        Store.open(f"postgresql://topstitch:secret@/x?host={tmp_path}", key_file=tmp_path / "key")
    assert refused.value.code == "database-unreachable"
    assert "secret" not in refused.value.message


def test_a_database_that_does_not_exist_is_named(postgres: PostgresServer, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="create it") as refused:
        Store.open(postgres.dsn("nowhere"), key_file=tmp_path / "key")
    assert refused.value.code == "database-missing"


async def test_a_server_that_crashes_loses_nothing_and_is_found_again(tmp_path: Path) -> None:
    with PostgresServer() as server, server.database() as dsn, Store.open(dsn, key_file=tmp_path / "key") as store:
        await start(store, "ins_1")
        lease = await claim_one(store)
        await store.append(lease, [draft("x")])
        server.stop("immediate")
        with pytest.raises(OperatorError) as gone:
            await store.append(lease, [draft("y")])
        assert gone.value.code == "database-unreachable"
        with pytest.raises(OperatorError):
            await store.accept(event("hire-2"), [new("ins_2")])
        server.start()
        assert (await store.accept(event("hire-2"), [new("ins_2")])).first
        await store.append(lease, [draft("z")])
        assert [record.kind for record in await instances.records(store, "ins_1")] == ["started", "x", "z"]


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "x.db"))
    store.close()
    store.close()
    with pytest.raises(OperatorError, match="closed"):
        store._writer.submit_and_wait(None)  # type: ignore[arg-type]


async def test_a_claim_need_not_be_synced_and_what_follows_from_it_is(tmp_path: Path) -> None:
    """A lease dies with the machine that all engines on one file share; an intent must not."""
    with Store.open(str(tmp_path / "one.db")) as store:
        await start(store, "ins_1")
        said: list[str] = []
        await store.work(lambda backend: backend.connection.set_trace_callback(said.append))  # type: ignore[attr-defined]
        lease = await claim_one(store)
        await store.append(lease, [draft("x")])
        levels = [line for line in said if line.startswith(("PRAGMA synchronous", "COMMIT"))]
    assert levels == ["COMMIT", "PRAGMA synchronous=NORMAL", "COMMIT", "PRAGMA synchronous=FULL", "COMMIT"]
