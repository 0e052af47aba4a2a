"""Erasure: values are gone from every table and file, chains still verify, holds forbid it."""

from __future__ import annotations

import base64
import gc
from pathlib import Path

import pytest

from support.canary import database_sightings, sightings
from support.trail import HR, NAME, SUBJECT, Trail
from topstitch.audit.erase import erase, lift_hold, place_hold
from topstitch.audit.prove import discloses_fields, prove
from topstitch.foundation.canonical import commitment
from topstitch.foundation.errors import ConflictError, NotFoundError, RequestError
from topstitch.store import erasing
from topstitch.store.ledger_reader import open_ledger

OTHER = "Zebedee Quux-Halloran"


async def two_people(trail: Trail) -> None:
    """One ended instance of the subject, with a person's name in every kind of projection; one of somebody else."""
    await trail.start("ins_1")
    await trail.start("ins_2", subject="somebody@else.example", data={"name": OTHER, "employee_id": "W-2"})
    people = [{"id": "dana", "name": NAME, "email": f"{NAME}@x", "for": "dana"}]
    personal = (("title",), ("people",))
    body = {"approval": "apr_1", "title": f"Approve {NAME}", "people": people, "quorum": 1}
    task = {"task": "tsk_1", "title": f"Laptop for {NAME}", "to": "owner", "purpose": "step", "people": people}
    case = {"case": "cas_1", "cause": "step", "owner": "o", "summary": f"{NAME} has no account", "remedy": "r"}
    told = {
        "about": "x",
        "who": ["p"],
        "notice": {"kind": "done", "title": f"{NAME} is done", "text": NAME},
        "ok": True,
    }
    answered = {"approval": "apr_1", "answer": "approve", "comment": f"fine for {NAME}", "via": "test"}
    drafts = [
        trail.draft("approval.asked", body, step="identity", personal=personal),
        trail.draft("approval.answered", answered, step="identity", personal=(("comment",),)),
        trail.draft("task.opened", task, step="identity", personal=personal),
        trail.draft("case.opened", case, step="identity", personal=(("summary",),)),
        trail.draft("told", told, personal=(("notice",),)),
        # rows that are written again, and long ones: what a database leaves behind of them must go as well
        *(trail.draft("approval.reminded", {"approval": "apr_1", "times": n}, step="identity") for n in range(5)),
        trail.draft(
            "approval.closed", {"approval": "apr_1", "ending": "approved", "by": ["human:dana"]}, step="identity"
        ),
        trail.draft("task.reopened", {"task": "tsk_1", "because": f"{NAME} " * 900}, personal=(("because",),)),
        trail.draft("task.reopened", {"task": "tsk_1", "because": "short"}),
        trail.draft("case.closed", {"case": "cas_1", "how": "by hand"}),
    ]
    await trail.store.append_outside("ins_1", drafts, trail.clock.now())
    await trail.end("ins_1")
    await trail.seal()


def seen(trail: Trail, tmp_path: Path, canary: str) -> list[str]:
    """Look for a value in all that the installation has left behind."""
    dsn = trail.store.url if trail.store.url.startswith("postgres") else None
    return sightings(canary, tmp_path) + (database_sightings(canary, dsn) if dsn else [])


async def test_an_erased_person_is_nowhere_any_more_and_everything_still_verifies(trail: Trail, tmp_path: Path) -> None:
    await two_people(trail)
    assert seen(trail, tmp_path, NAME), "the search must be able to see what is there"
    before = (await trail.verify()).checkpoint
    receipt = await erase(trail.store, SUBJECT, ground="GDPR Art. 17(1)(a)", actor=HR, now=trail.clock.now())
    assert receipt.instances == ("ins_1",)
    assert (receipt.values, receipt.events) == (7, 1)
    assert receipt.scrubbed
    await trail.seal()
    gc.collect()
    assert erasing.scrub(trail.store.url)
    assert seen(trail, tmp_path, NAME) == []
    assert seen(trail, tmp_path, SUBJECT) == []
    verdict = await trail.verify()
    assert verdict.whole, verdict.lines()
    assert before is not None
    assert verdict.checkpoint is not None
    assert verdict.checkpoint.size == before.size + 1
    assert seen(trail, tmp_path, OTHER), "somebody else was not erased"


async def test_erased_values_cannot_be_opened_and_the_record_of_it_names_the_person_to_whoever_has_the_receipt(
    trail: Trail,
) -> None:
    await two_people(trail)
    receipt = await erase(trail.store, SUBJECT, ground="GDPR Art. 17", actor=HR, now=trail.clock.now())
    await trail.seal()
    with open_ledger(trail.store) as reader:
        everything = discloses_fields(["*"])
        bundle = prove(reader, "ins_1", [trail.key.key], opener=trail.store.installation_key, discloses=everything)
        last = reader.records("ins_1")[-1]
    assert bundle["disclosed"] == []
    own = base64.b64encode(commitment(base64.b64decode(receipt.salt), SUBJECT)).decode()
    assert last.kind == "erased"
    assert f'"subject":{{"c":"{own}"}}' in last.text
    assert '"ground":"GDPR Art. 17"' in last.text


async def test_projections_say_that_they_were_erased(trail: Trail) -> None:
    await two_people(trail)
    await erase(trail.store, SUBJECT, ground="asked", actor=HR, now=trail.clock.now())
    read = lambda sql: trail.store.work(lambda backend: backend.execute(sql))  # noqa: E731 -- said three times below
    assert await read("SELECT title FROM instances WHERE id = 'ins_1'") == [("(erased)",)]
    assert await read("SELECT title, status FROM approvals WHERE instance = 'ins_1'") == [("(erased)", "approved")]
    assert await read("SELECT word FROM instance_words WHERE instance = 'ins_1'") == []
    assert await read("SELECT count(*) FROM instance_words WHERE instance = 'ins_2'") != [(0,)], "that is somebody else"
    assert await read("SELECT data, raw, headers FROM events WHERE id = 'evt_ins_1'") == [(None, None, None)]
    assert await read("SELECT wake_at FROM instances WHERE id = 'ins_1'") == [(None,)], "an ended instance is not woken"


async def test_a_legal_hold_forbids_erasure_until_it_is_lifted(trail: Trail) -> None:
    await two_people(trail)
    hold = await place_hold(trail.store, SUBJECT, ground="litigation 12/26", actor=HR, now=trail.clock.now())
    with pytest.raises(ConflictError, match="litigation 12/26"):
        await erase(trail.store, SUBJECT, ground="asked", actor=HR, now=trail.clock.now())
    assert [one.ground for one in await erasing.holds(trail.store, SUBJECT)] == ["litigation 12/26"]
    await lift_hold(trail.store, hold.id, because="settled", actor=HR, now=trail.clock.now())
    with pytest.raises(ConflictError, match="was lifted before"):
        await lift_hold(trail.store, hold.id, because="again", actor=HR, now=trail.clock.now())
    await erase(trail.store, SUBJECT, ground="asked", actor=HR, now=trail.clock.now())
    await trail.seal()
    with open_ledger(trail.store) as reader:
        assert [record.kind for record in reader.records("installation")] == ["hold.placed", "hold.lifted"]
    assert await erasing.holds(trail.store, SUBJECT) == []
    assert [one.subject for one in await erasing.holds(trail.store)] == ["(erased)"]
    assert (await trail.verify()).whole


async def test_an_instance_that_still_needs_the_values_refuses(trail: Trail) -> None:
    await trail.start("ins_1")
    with pytest.raises(ConflictError, match="still needs"):
        await erase(trail.store, SUBJECT, ground="asked", actor=HR, now=trail.clock.now())
    assert (await trail.store.claim("test", trail.clock.now(), 30, 10)).due[0].records[0].body["data"]["name"] == NAME


async def test_a_stranger_and_a_missing_ground_are_said(trail: Trail) -> None:
    with pytest.raises(NotFoundError, match="no instance holds"):
        await erase(trail.store, "nobody", ground="asked", actor=HR, now=trail.clock.now())
    with pytest.raises(RequestError, match="legal ground"):
        await erase(trail.store, SUBJECT, ground=" ", actor=HR, now=trail.clock.now())
    with pytest.raises(RequestError, match="needs its ground"):
        await place_hold(trail.store, SUBJECT, ground="", actor=HR, now=trail.clock.now())
    with pytest.raises(NotFoundError, match="no legal hold"):
        await lift_hold(trail.store, "hld_x", because="", actor=HR, now=trail.clock.now())
