"""Exports: exact JSON lines, OCSF of one version, CSV that no spreadsheet executes; and no secret in any of them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import pytest

from support.canary import database_sightings, forms, sightings
from support.onboarding import HIRE
from support.trail import HR, NAME, Trail
from topstitch.audit.export import OCSF_VERSION, Format, export
from topstitch.audit.prove import evidence_pack, prove
from topstitch.foundation.errors import NotFoundError, RequestError, TamperError
from topstitch.model.record import Actor, ActorKind
from topstitch.store.ledger_reader import open_ledger
from topstitch.store.vault import Vault

CANARY = 's3cr3t/Canary+9f1c~<&>"-Ωmega'
ALL_TIME = (0, 1 << 60)


def exported(trail: Trail, form: Format) -> str:
    with open_ledger(trail.store) as reader:
        return "".join(export(reader.in_order(*ALL_TIME), form))


async def journey(trail: Trail) -> None:
    await trail.start("ins_1", data={"name": NAME, **HIRE})
    sly = Actor(ActorKind.HUMAN, "=cmd|' /C calc'!A0")
    drafts = [
        trail.draft(
            "context.read", {"name": "profile", "system": "hris", "action": "get_job_profile", "duration_ms": 5}
        ),
        trail.draft(
            "act.result",
            {"act": "identity", "attempt": 1, "result": "ok", "system": "directory", "record": "u1"},
            step="identity",
        ),
        trail.draft("act.result", {"act": "identity/undo", "attempt": 1, "result": "refused"}, step="identity"),
        trail.draft("approval.asked", {"approval": "apr_1"}, step="identity"),
        trail.draft(
            "approval.answered",
            {"approval": "apr_1", "answer": "approve", "comment": "fine"},
            step="identity",
            actor=sly,
        ),
    ]
    await trail.store.append_outside("ins_1", drafts, trail.clock.now())
    await trail.seal()


async def test_json_lines_hold_the_exact_bytes(trail: Trail) -> None:
    await journey(trail)
    previous = bytes(32)
    lines = exported(trail, Format.JSONL).splitlines()
    assert len(lines) == 6
    for number, line in enumerate(lines):
        value = json.loads(line)
        text = line[line.index('"record":') + 9 : -1]
        previous = hashlib.sha256(b"\0" + previous + text.encode()).digest()
        assert (value["hash"], value["leaf"]) == (previous.hex(), number)


async def test_ocsf_events_have_what_their_classes_require(trail: Trail) -> None:
    await journey(trail)
    events = [json.loads(line) for line in exported(trail, Format.OCSF).splitlines()]
    assert [one["class_uid"] for one in events] == [6003, 6003, 6003, 3004, 3004]
    for one in events:
        assert one["type_uid"] == one["class_uid"] * 100 + one["activity_id"]
        assert one["category_uid"] == one["class_uid"] // 1000
        assert one["metadata"]["version"] == OCSF_VERSION
        assert one["metadata"]["product"]["vendor_name"]
        assert isinstance(one["time"], int)
        assert isinstance(one["severity_id"], int)
        assert one["actor"]["user"]["uid"]
        if one["class_uid"] == 6003:
            assert one["api"]["operation"]
            assert one["src_endpoint"]
        else:
            assert one["entity"]["uid"] == "apr_1"
    assert [one["status"] for one in events[:3]] == ["Success", "Success", "Failure"]
    assert [one["activity_name"] for one in events[:3]] == ["Read", "Update", "Delete"]


async def test_ocsf_says_of_a_write_which_system_and_operation_it_was(trail: Trail) -> None:
    await trail.start("ins_1")
    intent = {"act": "identity", "action": "create_user", "attempt": 1, "system": "directory"}
    for kind, body in (
        ("act.result", {"act": "identity", "attempt": 0, "result": "ok"}),  # its intent is before the export
        ("act.intent", intent),
        ("act.result", {"act": "identity", "attempt": 1, "result": "unknown"}),
        ("act.intent", {**intent, "attempt": 2}),
        ("act.result", {"act": "identity", "attempt": 2, "result": "ok"}),
    ):
        await trail.store.append_outside("ins_1", [trail.draft(kind, body, step="identity")], trail.clock.now())
    events = [json.loads(line) for line in exported(trail, Format.OCSF).splitlines()]
    said = [(one["api"]["service"]["name"], one["api"]["operation"], one["status"]) for one in events]
    known = ("directory", "create_user")
    assert said == [("", "identity", "Success"), (*known, "Unknown"), (*known, "Success")]


async def test_csv_can_be_read_back_and_holds_no_formula(trail: Trail) -> None:
    await journey(trail)
    rows = list(csv.DictReader(io.StringIO(exported(trail, Format.CSV))))
    assert [row["seq"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert rows[5]["actor"].startswith("'=cmd")
    assert not [value for row in rows for value in row.values() if value.startswith(("=", "+", "-", "@"))]


async def test_G04_secrets_and_personal_values_are_in_no_export_and_secrets_in_no_file(
    trail: Trail, tmp_path: Path
) -> None:
    await journey(trail)
    vault = Vault(trail.store)
    await vault.put("workday/client_secret", CANARY, HR, trail.clock.now())
    await trail.seal()
    seed = trail.key.private_text().split("+", 4)[4]
    with open_ledger(trail.store) as reader:
        pack = evidence_pack(prove(reader, "ins_1", [trail.key.key]))
    outputs = {**{str(form): exported(trail, form) for form in Format}, **pack}
    for secret in (CANARY, seed, NAME):
        assert sightings(secret, names=outputs) == []
    dsn = trail.store.url if trail.store.url.startswith("postgres") else None
    for secret in (CANARY, seed):
        assert sightings(secret, tmp_path) == []
        assert dsn is None or database_sightings(secret, dsn) == []
    assert await vault.reveal("workday/client_secret") == CANARY


async def test_stored_credentials_are_bound_to_their_names_and_can_be_renewed_and_forgotten(trail: Trail) -> None:
    vault, now = Vault(trail.store), trail.clock.now()
    await vault.put("a", "first-value", HR, now)
    await vault.put("a", "second-value", HR, now)
    await vault.put("b", "other-value", HR, now)
    assert await vault.reveal("a") == "second-value"
    assert [one.name for one in await vault.names()] == ["a", "b"]
    swap = "UPDATE stored_credentials SET {0} = (SELECT {0} FROM stored_credentials WHERE name = 'b') WHERE name = 'a'"
    for column in ("wrapped_key", "ciphertext"):
        await trail.store.work(lambda b, column=column: b.execute(swap.format(column)))
    with pytest.raises(TamperError):
        await vault.reveal("a")
    await vault.forget("a")
    with pytest.raises(NotFoundError, match="no credential 'a'"):
        await vault.reveal("a")
    with pytest.raises(RequestError, match="name and a value"):
        await vault.put("c", "", HR, now)


async def test_a_key_management_service_can_wrap_the_keys_of_credentials(trail: Trail) -> None:
    from topstitch.store.keys import InstallationKey

    service = InstallationKey(b"k" * 32)  # it has the same two methods
    await Vault(trail.store, service).put("a", "value-1", HR, trail.clock.now())
    assert await Vault(trail.store, service).reveal("a") == "value-1"
    with pytest.raises(TamperError):
        await Vault(trail.store).reveal("a")


@pytest.mark.parametrize("form", list(forms(CANARY)))
def test_the_search_sees_every_form_it_claims_to_see(form: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before " + forms(CANARY)[form] + b" after")
    assert sightings(CANARY, path)


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:"])
@pytest.mark.parametrize("after", ["", "x", "xy"])
def test_the_search_sees_base64_at_any_offset_and_into_packed_files(before: str, after: str, tmp_path: Path) -> None:
    import base64
    import gzip
    import zipfile

    text = base64.b64encode(f"{before}{CANARY}{after}".encode())
    assert sightings(CANARY, b"Basic " + text)
    (tmp_path / "x.gz").write_bytes(gzip.compress(CANARY.encode()))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("inside", CANARY)
    assert len(sightings(CANARY, tmp_path)) >= 2
    assert not sightings("another-value", tmp_path)
