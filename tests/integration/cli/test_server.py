"""Backing up and restoring as an operator does it: what is copied, what is refused, what is verified."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from support.commands import Ran, called
from topstitch.store import Store

MODE = 0o777


def run(folder: Path, *words: str, **more: str) -> Ran:
    return called(*words, "--data", str(folder), "--json", **more)


def instances(folder: Path) -> list[str]:
    return [one["id"] for one in run(folder, "instances").json()["items"]]


def test_a_backup_is_one_file_with_keys_and_settings_that_only_its_owner_reads(copied: Path, tmp_path: Path) -> None:
    with Store.open(str(copied / "topstitch.db")):  # as a server has it open
        made = run(copied, "server", "backup", str(tmp_path / "b"))
    assert made.code == 0, made.err
    names = {file.name for file in (tmp_path / "b").iterdir()}
    assert {"topstitch.db", "installation.key", "checkpoint.key", "checkpoint.pub", "connections.toml"} <= names
    assert not {name for name in names if name.endswith(("-wal", "-shm", ".part"))}
    assert {file.stat().st_mode & MODE for file in (tmp_path / "b").iterdir()} == {0o600}
    assert made.json()["bytes"] == (tmp_path / "b" / "topstitch.db").stat().st_size


def test_what_is_in_the_log_and_not_in_the_file_is_backed_up(copied: Path, tmp_path: Path) -> None:
    writer = sqlite3.connect(copied / "topstitch.db", isolation_level=None)
    writer.execute("PRAGMA wal_autocheckpoint=0")
    writer.execute("INSERT INTO meta (key, value) VALUES ('only in the log', 'x')")
    writer.execute("BEGIN IMMEDIATE")  # somebody writes, and keeps nobody waiting
    writer.execute("INSERT INTO meta (key, value) VALUES ('not committed', 'x')")
    assert run(copied, "server", "backup", str(tmp_path / "b")).code == 0
    writer.execute("ROLLBACK")
    writer.close()
    found = sqlite3.connect(tmp_path / "b" / "topstitch.db").execute("SELECT key FROM meta").fetchall()
    assert ("only in the log",) in found
    assert ("not committed",) not in found


def test_a_restore_brings_all_of_it_into_a_new_folder_and_verifies_it(copied: Path, tmp_path: Path) -> None:
    run(copied, "server", "backup", str(tmp_path / "b"))
    put = run(tmp_path / "new", "server", "restore", str(tmp_path / "b"))
    assert put.code == 0, put.err
    assert put.json()["chains"]["broken"] == []
    assert put.json()["chains"]["records"] > 100
    assert instances(tmp_path / "new") == instances(copied)
    assert (tmp_path / "new" / "connections.toml").read_bytes() == (copied / "connections.toml").read_bytes()
    again = run(tmp_path / "new", "server", "restore", str(tmp_path / "b"))
    assert (again.code, "database-there" in again.err) == (6, True)


def test_a_log_that_was_left_behind_is_a_database_too(copied: Path, tmp_path: Path) -> None:
    run(copied, "server", "backup", str(tmp_path / "b"))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "topstitch.db-wal").write_bytes(b"of another database")
    refused = run(tmp_path / "new", "server", "restore", str(tmp_path / "b"))
    assert (refused.code, "database-there" in refused.err) == (6, True)


def test_settings_that_name_another_database_never_lead_a_restore_over_it(copied: Path, tmp_path: Path) -> None:
    (copied / "topstitch.toml").write_text(f'database = "{copied / "topstitch.db"}"\n')
    run(copied, "server", "backup", str(tmp_path / "b"))
    refused = run(tmp_path / "new", "server", "restore", str(tmp_path / "b"))
    assert (refused.code, "database-there" in refused.err) == (6, True)


def test_keys_kept_in_another_place_are_asked_for(copied: Path, tmp_path: Path) -> None:
    run(copied, "server", "backup", str(tmp_path / "b"), "--keys", str(tmp_path / "k"))
    assert not (tmp_path / "b" / "installation.key").exists()
    alone = run(tmp_path / "new", "server", "restore", str(tmp_path / "b"))
    assert (alone.code, "--keys" in alone.err) == (1, True)
    assert not (tmp_path / "new" / "topstitch.db").exists()
    with_keys = run(tmp_path / "new", "server", "restore", str(tmp_path / "b"), "--keys", str(tmp_path / "k"))
    assert with_keys.code == 0, with_keys.err


def test_the_key_of_another_database_puts_nothing_back(copied: Path, tmp_path: Path) -> None:
    run(copied, "server", "backup", str(tmp_path / "b"))
    other = tmp_path / "other"
    Store.open(str(other / "topstitch.db")).close()
    (tmp_path / "b" / "installation.key").write_bytes((other / "installation.key").read_bytes())
    refused = run(tmp_path / "new", "server", "restore", str(tmp_path / "b"))
    assert (refused.code, "key-mismatch" in refused.err) == (1, True)
    assert not list((tmp_path / "new").glob("topstitch.db*"))
    assert not (tmp_path / "new" / "installation.key").exists()


def test_a_backup_that_was_changed_is_restored_and_called_broken(copied: Path, tmp_path: Path) -> None:
    run(copied, "server", "backup", str(tmp_path / "b"))
    with sqlite3.connect(tmp_path / "b" / "topstitch.db") as backup:
        changed = "UPDATE journal SET body = replace(body, 'human:', 'human:x') WHERE kind = 'approval.answered'"
        assert backup.execute(changed).rowcount > 0
    backup.close()
    put = run(tmp_path / "new", "server", "restore", str(tmp_path / "b"))
    assert put.code == 20
    assert put.json()["chains"]["broken"]


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [(None, 5, "no-backup"), (b"no database, and long enough to be read as one " * 40, 1, "database-foreign")],
)
def test_what_is_no_backup_is_said(tmp_path: Path, content: bytes | None, code: int, said: str) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    if content is not None:
        (folder / "topstitch.db").write_bytes(content)
        (folder / "installation.key").write_text("x")
    refused = run(tmp_path / "new", "server", "restore", str(folder))
    assert (refused.code, said in refused.err) == (code, True), refused.err


def test_a_backup_is_never_written_over_another(copied: Path, tmp_path: Path) -> None:
    run(copied, "server", "backup", str(tmp_path / "b"))
    again = run(copied, "server", "backup", str(tmp_path / "b"))
    assert (again.code, "backup-there" in again.err) == (6, True)
    assert run(tmp_path / "nowhere", "server", "backup", str(tmp_path / "c")).code == 5


def test_of_a_postgresql_server_its_own_programs_are_named(tmp_path: Path) -> None:
    url = {"TOPSTITCH_DATABASE": "postgresql://somebody@127.0.0.1/topstitch"}
    for words in (("backup",), ("restore",)):
        refused = run(tmp_path, "server", *words, str(tmp_path / "b"), **url)
        assert (refused.code, "pg_dump" in refused.err) == (1, True)
