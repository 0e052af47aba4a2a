"""The audit commands: sealed while serving, verified, proved to outsiders, exported, and a person forgotten."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from support.commands import Ran, called, command, environment
from topstitch.audit.verify import Trust
from topstitch.bootstrap.auditing import sealing, self_attested, signing, trusted_keys, verdict_of
from topstitch.bootstrap.database import open_store
from topstitch.foundation.clock import SystemClock
from topstitch.foundation.errors import OperatorError
from topstitch.settings import Settings, load

SUBJECT = "W-200004"


def audit(folder: Path, *words: str, **more: str) -> Ran:
    return called("audit", *words, "--data", str(folder), **more)


def settings_of(folder: Path, **more: object) -> Settings:
    return replace(load({"data": str(folder)}, {}), **more)  # type: ignore[arg-type]


def anchored(folder: Path, *anchors: str) -> None:
    with (folder / "topstitch.toml").open("a") as file:
        file.write(f"anchors = {json.dumps(list(anchors))}\n")


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "topstitch.db")) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def read(folder: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "topstitch.db")) as database:
        return database.execute(statement).fetchall()


def first_instance(folder: Path) -> str:
    return str(read(folder, "SELECT id FROM instances ORDER BY id")[0][0])


@pytest.fixture
def never_sealed(copied: Path) -> Path:
    """A folder whose sequencer never ran."""
    change(copied, *(f"DELETE FROM {table}" for table in ("leaves", "tiles", "checkpoints", "anchorings")))
    change(copied, "DELETE FROM meta WHERE key = 'sequencer'")
    for path in copied.glob("checkpoint.*"):
        path.unlink()
    return copied


# --- Sealing -----------------------------------------------------------------------------------


def test_serve_signs_and_anchors_what_is_there(never_sealed: Path):
    anchored(never_sealed, "folder:outside", f"git:{never_sealed / 'repository'}")
    process = subprocess.Popen(
        command("serve", "--port", "0", "--data", str(never_sealed), "--json"),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["address"]
    with urllib.request.urlopen(f"{address}/healthz", timeout=10) as answer:  # noqa: S310
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert "self-attested" not in err
    assert list((never_sealed / "outside").glob("*.checkpoint"))
    assert list((never_sealed / "repository").glob("*.checkpoint"))
    found = audit(never_sealed, "verify", "--json").json()
    assert (found["intact"], found["trust"], found["unsigned"]) == (True, "anchored", 0)
    assert found["anchored_size"] == found["records"]
    assert "Anchored: a checkpoint outside agrees" in audit(never_sealed, "verify").out
    assert (never_sealed / "checkpoint.key").stat().st_mode & 0o777 == 0o600


def test_production_without_an_anchor_is_warned_of(copied: Path):
    assert self_attested(settings_of(copied, environment="test")) is None
    assert self_attested(settings_of(copied, anchors=("folder:x",))) is None
    assert "self-attested" in str(self_attested(settings_of(copied)))
    said = called("doctor", "--data", str(copied), "--json").json()["findings"]
    assert next(f for f in said if f["what"] == "anchors")["state"] == "warn"
    assert "intact, self-attested" in next(f for f in said if f["what"] == "chains")["found"]


def test_doctor_says_which_anchor_did_not_take_the_newest_checkpoint(copied: Path):
    (copied / "file").write_text("in the way")
    anchored(copied, "folder:outside", "folder:file/under")
    said = {f["what"]: f for f in called("doctor", "--data", str(copied), "--json").json()["findings"]}
    assert said["folder:outside"]["state"] == "warn"
    audit(copied, "checkpoint")
    said = {f["what"]: f for f in called("doctor", "--data", str(copied), "--json").json()["findings"]}
    assert said["folder:outside"]["state"] == "ok"
    assert (said["folder:file/under"]["state"], "cannot be written to" in said["folder:file/under"]["found"]) == (
        "bad",
        True,
    )


async def test_production_without_an_anchor_is_warned_of_in_the_log(copied: Path, caplog: pytest.LogCaptureFixture):
    settings = settings_of(copied)
    with open_store(settings) as store:
        async with sealing(settings, store, SystemClock()):
            pass
    assert [r.levelname for r in caplog.records if "self-attested" in r.message] == ["WARNING"]


async def test_an_anchor_that_fails_is_said_and_stops_nothing(copied: Path, caplog: pytest.LogCaptureFixture):
    (copied / "file").write_text("in the way")
    settings = settings_of(copied, anchors=("folder:file/under",))
    with open_store(settings) as store:
        async with sealing(settings, store, SystemClock()) as sequencer:
            await sequencer.turn(now_too=True)
        verdict, silent = await verdict_of(settings, store)
    assert [r.message for r in caplog.records if "cannot be written to" in r.message]
    assert (verdict.findings, verdict.trust, silent) == ((), Trust.SELF_ATTESTED, [])


@pytest.mark.parametrize("bad", ["ftp:x", "folder:", "folder"])
def test_an_anchor_of_no_known_kind_is_refused(copied: Path, bad: str):
    anchored(copied, bad)
    done = audit(copied, "verify")
    assert (done.code, "a list of folder:PATH, git:PATH or mail:ADDRESS" in done.err) == (1, True)


def test_anchors_can_be_a_list_or_a_variable(tmp_path: Path):
    anchored(tmp_path, "folder:a,b", "git:c")
    assert load({"data": str(tmp_path)}, {}).anchors == ("folder:a,b", "git:c")
    assert load({"data": str(tmp_path)}, {"TOPSTITCH_ANCHORS": "folder:a, git:c"}).anchors == ("folder:a", "git:c")


def test_a_missing_key_is_not_made_anew_silently(copied: Path):
    (copied / "checkpoint.key").unlink()
    done = audit(copied, "checkpoint")
    assert (done.code, "--lost" in done.err) == (1, True)
    assert not (copied / "checkpoint.key").exists()


# --- Verifying ---------------------------------------------------------------------------------


def test_the_demo_is_signed_and_says_that_it_vouches_for_itself(finished: tuple[Path, Ran]):
    done = audit(finished[0], "verify")
    assert done.code == 0
    assert "Chain intact:" in done.out
    assert "Self-attested: no checkpoint outside yet" in done.out


def test_a_folder_whose_sequencer_never_ran_is_verified_and_says_so(never_sealed: Path):
    done = audit(never_sealed, "verify")
    assert (done.code, "nothing has been signed yet" in done.out) == (0, True)
    change(never_sealed, "DELETE FROM journal WHERE kind = 'ended'")
    broken = audit(never_sealed, "verify", "--json")
    assert (broken.code, broken.json()["findings"][0]["fits"]) == (20, "cut-tail")


def test_U08_a_changed_record_is_named_with_what_fits(copied: Path):
    bad = read(copied, "SELECT instance FROM journal WHERE kind = 'started' AND instr(body, 'W-200004')")[0][0]
    change(copied, "UPDATE journal SET body = replace(body, 'W-200004', 'W-299999') WHERE kind = 'started'")
    done = audit(copied, "verify", "--json")
    first = done.json()["findings"][0]
    assert (done.code, first["fits"], first["instance"], first["seq"]) == (20, "edit", bad, 1)
    assert f"TAMPERED, edit: record 1 of {bad}" in audit(copied, "verify").out
    assert audit(copied, "verify", str(bad)).code == 20
    other = next(str(name) for (name,) in read(copied, "SELECT id FROM instances") if name != bad)
    assert audit(copied, "verify", other, "--json").json()["instances"] == 1


def test_a_chain_rewritten_by_an_administrator_is_found_by_the_tree(copied: Path):
    change(copied, "DELETE FROM journal WHERE instance = (SELECT min(id) FROM instances)")
    change(copied, "DELETE FROM instances WHERE id = (SELECT min(id) FROM instances)")
    done = audit(copied, "verify", "--json")
    assert (done.code, done.json()["findings"][0]["fits"]) == (20, "remove-instance")


def test_H06_b_the_last_ten_records_deleted_with_all_that_names_them_fail_against_the_signed_checkpoint(copied: Path):
    change(
        copied,
        "DELETE FROM journal WHERE position > (SELECT max(position) - 10 FROM journal)",
        "DELETE FROM leaves WHERE NOT EXISTS"
        " (SELECT 1 FROM journal j WHERE j.instance = leaves.instance AND j.seq = leaves.seq)",
        "UPDATE instances SET (head_seq, head_hash) ="
        " (SELECT seq, hash FROM journal WHERE instance = id ORDER BY seq DESC LIMIT 1)",
    )
    done = audit(copied, "verify", "--json")
    assert (done.code, done.json()["findings"][0]["fits"]) == (20, "remove-instance")
    assert "cut-tail" in done.json()["findings"][0]["also"]


def test_a_database_put_back_is_found_by_whoever_kept_a_checkpoint(copied: Path, tmp_path: Path):
    before = (copied / "topstitch.db").read_bytes()
    audit(copied, "hold", "place", SUBJECT, "--ground", "matter 7")
    kept = tmp_path / "kept"
    assert audit(copied, "checkpoint", "-o", str(kept)).code == 0
    assert audit(copied, "verify", "--checkpoint", str(kept), "--json").json()["trust"] == "anchored"
    for path in copied.glob("topstitch.db*"):
        path.unlink()
    (copied / "topstitch.db").write_bytes(before)
    done = audit(copied, "verify", "--checkpoint", str(kept), "--json")
    assert (done.code, done.json()["findings"][0]["fits"]) == (20, "old-checkpoint")


def test_signatures_of_somebody_else_are_found_with_the_auditors_own_key(copied: Path, tmp_path: Path):
    key = (copied / "checkpoint.pub").read_text()
    assert audit(copied, "verify", "--key", key.strip()).code == 0
    (tmp_path / "other").mkdir()
    origin = key.split("+")[0]
    from topstitch.audit.checkpoint import new_signing_key

    done = audit(copied, "verify", "--json", "--key", str(new_signing_key(origin).key))
    assert (done.code, done.json()["findings"][0]["fits"]) == (20, "wrong-key")
    assert audit(copied, "verify", "--key", "no+key").code == 2


def test_without_any_public_key_it_says_what_is_missing(copied: Path):
    for path in copied.glob("checkpoint.*"):
        path.unlink()
    done = audit(copied, "verify")
    assert (done.code, "--key" in done.err) == (1, True)


# --- Evidence ----------------------------------------------------------------------------------


def test_H06_an_evidence_pack_is_checked_by_a_stranger_without_topstitch(copied: Path, tmp_path: Path):
    folder = tmp_path / "pack"
    done = audit(copied, "evidence", first_instance(copied), "-o", str(folder), "--json")
    assert (done.code, done.json()["disclosed"]) == (0, 0)
    key = (copied / "checkpoint.pub").read_text().strip()
    assert stranger(folder, key).returncode == 0
    path = folder / "bundle.json"
    path.write_text(path.read_text().replace("onboard", "offboard", 1))
    assert stranger(folder, key).returncode == 20
    assert audit(copied, "evidence", first_instance(copied), "-o", str(folder)).code == 1


def stranger(folder: Path, key: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-I", "-S", "check_bundle.py", ".", "--key", key]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=120, env={})


def test_a_bundle_discloses_only_what_is_named(copied: Path, tmp_path: Path):
    everything, some = tmp_path / "all.json", tmp_path / "some.json"
    assert audit(copied, "prove", first_instance(copied), "-o", str(everything), "--disclose", "*").code == 0
    assert audit(copied, "prove", first_instance(copied), "-o", str(some), "--disclose", "last_name").code == 0
    opened = json.loads(everything.read_text())["disclosed"]
    chosen = json.loads(some.read_text())["disclosed"]
    assert 0 < len(chosen) < len(opened)
    assert {one["path"][-1] for one in chosen} == {"last_name"}


def test_what_is_not_signed_yet_is_said_with_the_remedy(never_sealed: Path, tmp_path: Path):
    name = first_instance(never_sealed)
    done = audit(never_sealed, "prove", name, "-o", str(tmp_path / "x"))
    assert (done.code, "topstitch audit checkpoint" in done.err) == (6, True)
    made = audit(never_sealed, "checkpoint", "--json").json()
    assert made["note"].splitlines()[1] == str(made["size"])
    assert audit(never_sealed, "prove", name, "-o", str(tmp_path / "x")).code == 0


def test_consistency_and_verify_take_the_checkpoint_out_of_an_evidence_pack(copied: Path, tmp_path: Path):
    name, pack, proof = first_instance(copied), tmp_path / "pack", tmp_path / "proof.json"
    assert audit(copied, "evidence", name, "-o", str(pack)).code == 0
    assert audit(copied, "prove", name, "-o", str(proof)).code == 0
    for kept in (pack, pack / "bundle.json", pack / "checkpoint.txt", proof):
        assert "continues the one" in audit(copied, "consistency", str(kept)).out
        assert "Chain intact" in audit(copied, "verify", "--checkpoint", str(kept)).out
    proof.write_text('{"checkpoint": 1')
    for kept in (pack / "trigger.json", pack / "README.txt", proof):
        for words in (("consistency", str(kept)), ("verify", "--checkpoint", str(kept))):
            said = audit(copied, *words)
            assert (said.code, "name a file that `topstitch audit checkpoint -o FILE` wrote" in said.err) == (2, True)
            assert "ask the operator for the key" not in said.err


def test_a_pack_made_without_the_signing_key_says_that_its_end_is_not_shown(copied: Path, tmp_path: Path):
    name = first_instance(copied)
    assert audit(copied, "evidence", name, "-o", str(tmp_path / "whole")).code == 0
    assert checked(tmp_path / "whole", "--last").returncode == 0
    (copied / "checkpoint.key").rename(copied / "elsewhere")
    said = audit(copied, "evidence", name, "-o", str(tmp_path / "open"))
    assert (said.code, "nothing in it shows that its end is whole" in said.err) == (0, True)
    assert checked(tmp_path / "open").returncode == 0
    assert checked(tmp_path / "open", "--last").returncode == 20
    assert not (copied / "checkpoint.key").exists()


def checked(pack: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "check_bundle.py", ".", *words]
    return subprocess.run(line, cwd=pack, capture_output=True, text=True, check=False, timeout=60)


def test_consistency_with_a_checkpoint_that_somebody_kept(copied: Path, tmp_path: Path):
    old, new = tmp_path / "old", tmp_path / "new"
    audit(copied, "checkpoint", "-o", str(old))
    audit(copied, "hold", "place", SUBJECT, "--ground", "matter 7")
    audit(copied, "checkpoint", "-o", str(new))
    assert audit(copied, "consistency", str(old)).code == 0
    proof = audit(copied, "consistency", str(old), str(new), "--json").json()
    assert proof["new_size"] == proof["old_size"] + 1
    assert audit(copied, "consistency", str(new), str(old)).code == 20
    assert audit(copied, "consistency", str(tmp_path / "none")).code == 2


@pytest.mark.parametrize(("form", "begins"), [("jsonl", '{"leaf":'), ("ocsf", "{"), ("csv", "leaf,instance,seq")])
def test_export(copied: Path, tmp_path: Path, form: str, begins: str):
    done = audit(copied, "export", "--format", form)
    assert done.code == 0
    assert done.out.startswith(begins)
    assert "Mori" not in done.out
    file = tmp_path / "out"
    assert audit(copied, "export", "--format", form, "-o", str(file)).code == 0
    assert file.read_text().splitlines() == done.out.splitlines()
    later = audit(copied, "export", "--format", form, "--since", "2999-01-01").out.splitlines()
    assert len(later) == (1 if form == "csv" else 0)
    assert audit(copied, "export", "--until", "soon").code == 2


# --- The key -----------------------------------------------------------------------------------


def test_a_key_is_rotated_and_either_key_verifies(copied: Path, tmp_path: Path):
    old = (copied / "checkpoint.pub").read_text().strip()
    kept = tmp_path / "kept"
    audit(copied, "checkpoint", "-o", str(kept))
    made = audit(copied, "rotate-key", "--as", "ada@acme.example", "--json").json()
    assert made["old"] == old
    assert (copied / "checkpoint.pub").read_text().strip() == made["new"]
    for key in (old, made["new"]):
        assert audit(copied, "verify", "--key", key, "--json").json()["intact"]
    assert audit(copied, "consistency", str(kept)).code == 0
    assert not (copied / "checkpoint.next").exists()
    assert ("key.rotated", "human:ada@acme.example") in read(
        copied, "SELECT kind, json_extract(body, '$.actor') FROM journal WHERE instance = 'installation'"
    )


def test_a_key_is_not_rotated_while_somebody_signs(copied: Path):
    with signing(settings_of(copied)):
        done = audit(copied, "rotate-key")
    assert (done.code, "topstitch serve" in done.err) == (6, True)
    with signing(settings_of(copied), alone=True):
        assert audit(copied, "checkpoint").code == 6


def test_a_rotation_that_was_interrupted_is_finished_and_an_old_key_never_signs(copied: Path):
    old = (copied / "checkpoint.key").read_bytes()
    audit(copied, "rotate-key")
    (copied / "checkpoint.key").replace(copied / "checkpoint.next")
    (copied / "checkpoint.key").write_bytes(old)
    assert audit(copied, "checkpoint").code == 0
    assert audit(copied, "verify").code == 0
    (copied / "checkpoint.key").write_bytes(old)
    done = audit(copied, "checkpoint")
    assert (done.code, "was rotated" in done.err) == (1, True)


def test_a_lost_key_begins_anew_and_the_trail_says_so(copied: Path):
    assert audit(copied, "rotate-key", "--lost").code == 6
    lost = (copied / "checkpoint.key").read_bytes()
    (copied / "checkpoint.key").unlink()
    made = audit(copied, "rotate-key", "--lost", "--json").json()
    assert made["old"] is None
    assert audit(copied, "verify", "--json").json()["key"] == made["new"]
    assert len(trusted_keys(settings_of(copied))) == 2
    assert audit(copied, "rotate-key").code == 0
    assert audit(copied, "verify").code == 0
    kinds = [kind for (kind,) in read(copied, "SELECT kind FROM journal WHERE instance = 'installation' ORDER BY seq")]
    assert kinds == ["key.lost", "key.rotated"]
    assert lost != (copied / "checkpoint.key").read_bytes()


# --- Forgetting --------------------------------------------------------------------------------


@pytest.fixture
def subject(copied: Path) -> str:
    """Somebody the demo hired."""
    return str(read(copied, "SELECT subject FROM subject_keys ORDER BY instance")[0][0])


def test_a_person_is_erased_and_everything_still_verifies(copied: Path, subject: str, tmp_path: Path):
    done = audit(copied, "erase", subject, "--ground", "GDPR Art. 17(1)(a)", "--as", "ada@acme.example", "--json")
    assert done.code == 0, done.err
    receipt = done.json()
    assert receipt["records"] > 0
    assert receipt["scrubbed"]
    assert audit(copied, "checkpoint").code == 0
    assert audit(copied, "verify").code == 0
    bundle = tmp_path / "bundle"
    assert audit(copied, "prove", receipt["instances"][0], "-o", str(bundle), "--disclose", "*").code == 0
    assert json.loads(bundle.read_text())["disclosed"] == []
    assert audit(copied, "erase", subject, "--ground", "again").code == 5
    assert audit(copied, "erase", subject).code == 2


def test_a_hold_forbids_erasure_until_it_is_lifted(copied: Path, subject: str):
    placed = audit(copied, "hold", "place", subject, "--ground", "matter 7", "--json").json()
    refused = audit(copied, "erase", subject, "--ground", "asked")
    assert (refused.code, "matter 7" in refused.err) == (6, True)
    assert placed["id"] in audit(copied, "hold", "list").out
    assert audit(copied, "hold", "lift", placed["id"], "--because", "settled").code == 0
    assert audit(copied, "hold", "list", "--json").json() == {"items": []}
    assert len(audit(copied, "hold", "list", "--all", "--json").json()["items"]) == 1
    assert audit(copied, "hold", "lift", "hld_nobody", "--because", "x").code == 5
    assert audit(copied, "erase", subject, "--ground", "asked").code == 0
    assert audit(copied, "verify").code == 0


def test_a_folder_without_a_database_is_said(tmp_path: Path):
    for words in (("verify",), ("checkpoint",), ("export",), ("hold", "list")):
        done = audit(tmp_path / "nothing", *words)
        assert (done.code, "topstitch init" in done.err) == (1, True)


def test_a_damaged_public_key_is_said(copied: Path):
    (copied / "checkpoint.pub").write_text("nonsense\n")
    with pytest.raises(OperatorError, match="restore it"):
        trusted_keys(settings_of(copied))
