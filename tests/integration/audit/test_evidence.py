"""Evidence packs: what is in them, that a stranger's machine can check them, and that they notice every change."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine, transient
from support.trail import HR, NAME, Trail
from topstitch import lifecycle
from topstitch.audit.check_bundle import check
from topstitch.audit.prove import discloses_fields, evidence_pack, prove, write_pack
from topstitch.foundation.canonical import canonical_bytes
from topstitch.foundation.errors import ConflictError, NotFoundError, OperatorError
from topstitch.model.event import TriggerEvent
from topstitch.model.record import Draft
from topstitch.store import NewInstance
from topstitch.store.ledger_reader import open_ledger
from topstitch.store.sealing import milliseconds

Bundle = dict[str, Any]


def paper_records(**overrides: Any) -> PaperEngine:
    """Carry the shipped onboarding through the pure core, with one failing try on the way."""
    company = Company(elevated=True)
    tries = [transient(), company._create]
    world = company.world(
        directory__create_user=lambda call: tries.pop(0)(call) if callable(tries[0]) else tries.pop(0)
    )
    engine = PaperEngine(onboarding_plan(), {**world, **overrides}).begin(HIRE)
    engine.run_for(minutes=5)
    return engine.decide("identity", "approve").run()


async def keep(trail: Trail, drafts: list[Draft], name: str = "ins_1") -> None:
    """Put a journal made on paper into the store."""
    first, *rest = drafts
    event = first.body["event"]
    received = TriggerEvent(id=event["id"], source=event["source"], type=event["type"], data=HIRE, received_at=first.at)
    new = NewInstance(
        id=name, workflow="onboarding", version="1", digest="sha256:test", first=first, subject="W-104233"
    )
    await trail.store.accept(received, [new], raw=json.dumps(HIRE).encode())
    await trail.store.append_outside(name, rest, drafts[-1].at)
    await trail.seal()


def bundle_of(trail: Trail, name: str = "ins_1", fields: tuple[str, ...] = ()) -> Bundle:
    with open_ledger(trail.store) as reader:
        discloses = discloses_fields(fields) if fields else None
        opener = trail.store.installation_key
        return prove(reader, name, [trail.key.key], signer=trail.key, opener=opener, discloses=discloses)


async def pack(trail: Trail, folder: Path, fields: tuple[str, ...] = ("*",)) -> dict[str, Any]:
    """Write an evidence pack of the onboarding and return its readable files."""
    await keep(trail, paper_records().records)
    write_pack(folder, evidence_pack(bundle_of(trail, fields=fields)))
    return read_files(folder)


def read_files(folder: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def check_elsewhere(folder: Path, *arguments: str, isolated: str = "-I") -> subprocess.CompletedProcess[str]:
    """Run the checker of a pack as a stranger would: alone, in its own folder."""
    command = [sys.executable, isolated, *(["-S"] if isolated == "-I" else []), "check_bundle.py", ".", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60, env={})


async def test_U01_the_pack_says_what_triggered_it(trail: Trail, tmp_path: Path) -> None:
    trigger = (await pack(trail, tmp_path / "pack"))["trigger"]
    assert trigger["event"]["id"] == "evt_1"
    assert trigger["event"]["source"] == "workday"
    assert trigger["event"]["received_at"]
    assert trigger["event"]["signature"] == "none"
    assert trigger["data"]["employee_id"] == "W-104233"
    assert trigger["workflow"]
    assert trigger["digest"] == "sha256:test"


async def test_U02_the_pack_says_which_context_was_assembled(trail: Trail, tmp_path: Path) -> None:
    context = (await pack(trail, tmp_path / "pack"))["context"]
    assert {one["name"] for one in context} >= {"profile", "manager", "existing", "quote"}
    for one in context:
        assert one["system"], one
        assert one["at"], one
        if one["kind"] == "context.read":
            assert one["digest"].startswith("sha256:"), one
            assert one["params"] is not None, one


async def test_U03_the_pack_says_what_was_executed_in_each_system(trail: Trail, tmp_path: Path) -> None:
    attempts = (await pack(trail, tmp_path / "pack"))["attempts"]
    mine = [one for one in attempts if one["act"] == "identity"]
    assert [one["attempt"] for one in mine] == [1, 2]
    assert mine[0]["answer"]["result"] == "transient"
    assert mine[1]["answer"]["record"] == "u1"
    for one in attempts:
        assert one["request"], one
        assert one["key"] == f"ins_1:{one['act']}"
        assert one["answer"]["duration_ms"] is not None
        assert one["sent_at"] <= one["answer"]["at"]


async def test_U04_the_pack_says_what_the_outcome_was(trail: Trail, tmp_path: Path) -> None:
    outcome = (await pack(trail, tmp_path / "pack"))["outcome"]
    assert outcome["ended"]["end"] == "completed"
    assert outcome["ended"]["residue"] == []
    assert outcome["steps"]["identity"]["kind"] == "step.done"
    assert {one["verdict"] for one in outcome["reconciliation"]} <= {
        "match",
        "nothing_expected",
        "pending",
        "suspected",
        "differs",
        "unverified",
    }
    assert outcome["reconciliation"]


async def test_U05_every_decision_has_an_actor(trail: Trail, tmp_path: Path) -> None:
    decisions = (await pack(trail, tmp_path / "pack"))["decisions"]
    assert {one["actor"]["kind"] for one in decisions} <= {"human", "agent", "policy", "system"}
    assert all(one["actor"]["id"] for one in decisions)
    answer = next(one for one in decisions if one["kind"] == "approval.answered")
    assert answer["actor"] == {"kind": "human", "id": "dana"}
    assert any(one["kind"] == "decision" and one["actor"]["kind"] == "policy" for one in decisions)


async def test_H14_b_a_proposal_by_an_agent_and_its_approval_by_a_human_are_both_recorded(trail: Trail) -> None:
    from topstitch.audit.check_bundle import decisions_of, opened
    from topstitch.audit.explain import explain
    from topstitch.model.record import Actor, ActorKind

    await trail.start("ins_1")
    agent, human = Actor(ActorKind.AGENT, "repair-bot"), Actor(ActorKind.HUMAN, "dana")
    asked = {"approval": "apr_1", "people": [], "excluded": [{"person": "ada", "why": "owner of the agent"}]}
    because = [{"rule": "agents-never-grant-privilege", "digest": "sha256:b", "read": {"actor.kind": "agent"}}]
    decided = {
        "outcome": "approve",
        "because": because,
        "gates": [{"from": "owner", "quorum": 1}],
        "payload_digest": "sha256:p",
    }
    answered = {"approval": "apr_1", "answer": "approve", "payload_digest": "sha256:p", "via": "console"}
    proposal = {"act": "identity", "model": "m-1", "prompt_digest": "sha256:q", "reason": "it lacks a group"}
    drafts = [
        trail.draft(
            "operator.commanded",
            {"command": "edit", "arguments": proposal, "reason": "r"},
            step="identity",
            actor=agent,
        ),
        trail.draft("decision", decided, step="identity", actor=Actor(ActorKind.POLICY, "people@4.1.0")),
        trail.draft("approval.asked", asked, step="identity"),
        trail.draft("approval.answered", answered, step="identity", actor=human),
        trail.draft(
            "approval.closed", {"approval": "apr_1", "ending": "approved", "by": ["human:dana"]}, step="identity"
        ),
    ]
    records = list(await trail.store.append_outside("ins_1", drafts, trail.clock.now()))
    await trail.seal()
    said = [(str(one["kind"]), "{kind}:{id}".format(**one["actor"])) for one in decisions_of(opened(bundle_of(trail)))]
    assert said[:2] == [("operator.commanded", "agent:repair-bot"), ("decision", "policy:people@4.1.0")]
    assert ("approval.answered", "human:dana") in said
    explanation = explain(records, "identity")[0]
    assert explanation.reasons[0].read == {"actor.kind": "agent"}
    assert [str(one.actor) for one in explanation.answers] == ["human:dana"]
    assert explanation.ending == "approved"
    assert explanation.excluded[0]["why"] == "owner of the agent"


async def test_U06_the_state_folded_from_the_stored_trail_is_the_engines(trail: Trail) -> None:
    engine = paper_records()
    await keep(trail, engine.records)
    claims = await trail.store.claim("test", trail.clock.now().replace(year=2027), 30, 10)
    state = lifecycle.initial(engine.plan, "ins_1")
    for record in claims.due[0].records:
        state = lifecycle.fold(engine.plan, state, record)
    assert state == engine.state


async def test_U07_nothing_is_ever_removed_whatever_is_done_to_an_instance(trail: Trail) -> None:
    names = await trail.write(instances=3, rounds=1)
    with open_ledger(trail.store) as reader:
        before = {name: reader.records(name) for name in names}
    for command in ("retry", "pause", "resume", "cancel"):
        await trail.store.append_outside(
            names[0], [trail.draft("operator.commanded", {"command": command})], trail.clock.now()
        )
    await trail.store.append_outside(names[0], [trail.draft("plan.moved", {"from": "1", "to": "2"})], trail.clock.now())
    await trail.end(names[0])
    await trail.seal()
    with open_ledger(trail.store) as reader:
        for name in names:
            assert reader.records(name)[: len(before[name])] == before[name]
        assert len(reader.records(names[0])) == len(before[names[0]]) + 6


@pytest.mark.parametrize("isolated", ["-I", "-E"])
async def test_H06_c_a_stranger_checks_the_pack_with_the_standard_library_alone(
    trail: Trail, tmp_path: Path, isolated: str
) -> None:
    folder = tmp_path / "pack"
    await pack(trail, folder)
    done = check_elsewhere(folder, "--key", str(trail.key.key), isolated=isolated)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("HOLDS\nins_1: ")
    assert "the key that you gave" in done.stdout
    assert "attempts.json, " in done.stdout


async def test_H06_c_without_a_key_it_says_that_the_key_came_with_the_pack(trail: Trail, tmp_path: Path) -> None:
    await pack(trail, tmp_path / "pack")
    done = check_elsewhere(tmp_path / "pack")
    assert done.returncode == 0
    assert "THE KEY THAT CAME WITH THE PACK" in done.stdout


def change_text(bundle: Bundle) -> None:
    bundle["records"][3]["text"] = bundle["records"][3]["text"].replace('"at":"2026', '"at":"2025', 1)


def change_text_and_hashes(bundle: Bundle) -> None:
    import hashlib

    change_text(bundle)
    previous = bytes(32)
    for record in bundle["records"]:
        previous = hashlib.sha256(b"\0" + previous + record["text"].encode()).digest()
        record["hash"] = previous.hex()


def drop_a_record(bundle: Bundle) -> None:
    del bundle["records"][5]


def swap_records(bundle: Bundle) -> None:
    bundle["records"][5], bundle["records"][6] = bundle["records"][6], bundle["records"][5]


def change_a_disclosed_value(bundle: Bundle) -> None:
    bundle["disclosed"][0]["value"] = "somebody else"


def change_the_size(bundle: Bundle) -> None:
    bundle["checkpoint"] = bundle["checkpoint"].replace("\n", "\n9", 1)


def change_a_proof(bundle: Bundle) -> None:
    bundle["records"][2]["proof"][0] = "A" * 43 + "="


def shorten_a_proof(bundle: Bundle) -> None:
    bundle["records"][2]["proof"].pop()


def change_the_instance(bundle: Bundle) -> None:
    bundle["instance"] = "ins_2"


@pytest.mark.parametrize(
    "change",
    [
        change_text, change_text_and_hashes, drop_a_record, swap_records, change_a_disclosed_value, change_the_size,
        change_a_proof, shorten_a_proof, change_the_instance,
    ],
)  # fmt: skip
async def test_H06_c_the_standalone_checker_finds_every_change(
    trail: Trail, tmp_path: Path, change: Callable[[Bundle], None]
) -> None:
    folder = tmp_path / "pack"
    await pack(trail, folder)
    bundle = json.loads((folder / "bundle.json").read_text())
    change(bundle)
    (folder / "bundle.json").write_text(json.dumps(bundle))
    done = check_elsewhere(folder, "--key", str(trail.key.key))
    assert done.returncode == 20, done.stdout
    assert done.stdout.startswith("DOES NOT HOLD: ")


def renumbered(bundle: Bundle) -> None:
    """Number the records from one, and chain them anew, as whoever wants to hide it would."""
    import hashlib

    previous = bytes(32)
    for number, record in enumerate(bundle["records"], 1):
        text = json.loads(record["text"])
        record["seq"] = text["seq"] = number
        record["text"] = canonical_bytes(text).decode()
        previous = hashlib.sha256(b"\0" + previous + record["text"].encode()).digest()
        record["hash"] = previous.hex()


def insert_a_record(bundle: Bundle) -> None:
    bundle["records"].insert(4, dict(bundle["records"][3]))


def swap_bodies(bundle: Bundle) -> None:
    one, two = bundle["records"][3], bundle["records"][4]
    texts = [json.loads(one["text"]), json.loads(two["text"])]
    for record, mine, other in ((one, *texts), (two, *texts[::-1])):
        record["text"] = canonical_bytes({**mine, "body": other["body"]}).decode()


def and_hide_it(change: Callable[[Bundle], None]) -> Callable[[Bundle], None]:
    def both(bundle: Bundle) -> None:
        change(bundle)
        renumbered(bundle)

    return both


NAMED: dict[str, tuple[Callable[[Bundle], None], str]] = {
    "edit": (change_text, "record 4 is not what was written"),
    "edit, hidden": (and_hide_it(change_text), "record 4 is not in the signed tree"),
    "delete": (drop_a_record, "record 6 is missing or out of place"),
    "delete, hidden": (and_hide_it(drop_a_record), "record 6 is not in the signed tree"),
    "insert": (insert_a_record, "record 5 is missing or out of place"),
    "insert, hidden": (and_hide_it(insert_a_record), "record 5 is not in the signed tree"),
    "reorder": (swap_records, "record 6 is missing or out of place"),
    "reorder, hidden": (and_hide_it(swap_records), "record 6 is not in the signed tree"),
    "swap bodies": (swap_bodies, "record 4 is not what was written"),
    "swap bodies, hidden": (and_hide_it(swap_bodies), "record 4 is not in the signed tree"),
    "another instance": (change_the_instance, "record 1 belongs to ins_1"),
    "forked tree": (change_a_proof, "record 3 is not in the signed tree"),
}


async def test_U08_the_standalone_checker_names_each_tampering(trail: Trail, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    await pack(trail, folder)
    whole = (folder / "bundle.json").read_text()
    for attack, (change, named) in NAMED.items():
        bundle = json.loads(whole)
        change(bundle)
        (folder / "bundle.json").write_text(json.dumps(bundle))
        done = check_elsewhere(folder, "--key", str(trail.key.key))
        assert (done.returncode, named in done.stdout) == (20, True), (attack, done.stdout)


async def test_U08_an_old_checkpoint_does_not_reach_the_records_of_a_pack(trail: Trail, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    await trail.write()  # what stood in the tree before, and its own checkpoint
    with open_ledger(trail.store) as reader:
        old = reader.checkpoints()[0].note
    await pack(trail, folder)
    bundle = json.loads((folder / "bundle.json").read_text())
    bundle["checkpoint"] = old
    (folder / "bundle.json").write_text(json.dumps(bundle))
    done = check_elsewhere(folder, "--key", str(trail.key.key))
    assert done.returncode == 20
    assert re.search(r"a tree of \d+ leaves has no leaf \d+|is not in the signed tree", done.stdout), done.stdout


def cut_tail(bundle: Bundle) -> None:
    del bundle["records"][-3:]
    bundle["disclosed"] = [one for one in bundle["disclosed"] if one["seq"] <= len(bundle["records"])]


def say_that_it_is_older(bundle: Bundle) -> None:
    bundle["format"] = "topstitch-bundle/1"
    bundle.pop("last")


async def test_U08_a_pack_whose_end_was_cut_is_found_without_its_reading_aids(trail: Trail, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    await pack(trail, folder)
    whole = check_elsewhere(folder, "--key", str(trail.key.key), "--last")
    assert whole.returncode == 0
    assert "it has ended" in whole.stdout
    assert "which the installation signed: none was cut from its end" in whole.stdout
    text = (folder / "bundle.json").read_text()
    for path in folder.glob("*.json"):
        path.unlink()
    count = len(json.loads(text)["records"])
    lines = json.loads(text)["last"].split("\n")

    def restate(line: int, value: str) -> Callable[[Bundle], None]:
        def change(bundle: Bundle) -> None:
            cut_tail(bundle)
            bundle["last"] = "\n".join([*lines[:line], value, *lines[line + 1 :]])

        return change

    def keep_no_statement(bundle: Bundle) -> None:
        cut_tail(bundle)
        del bundle["last"]

    for change, named in (
        (cut_tail, f"the tail was cut: ins_1 had {count} records when this was made, and here are {count - 3}"),
        (restate(3, str(count - 3)), "the note was changed, or another key made it"),
        (restate(0, "topstitch key rotation"), "the note was changed, or another key made it"),
        (keep_no_statement, "the statement which record was the last is missing"),
    ):
        bundle = json.loads(text)
        change(bundle)
        (folder / "bundle.json").write_text(json.dumps(bundle))
        done = check_elsewhere(folder, "--key", str(trail.key.key))
        assert (done.returncode, named in done.stdout) == (20, True), done.stdout


async def test_U08_a_cut_pack_cannot_pass_for_one_of_the_form_before(trail: Trail, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    await pack(trail, folder)
    text = (folder / "bundle.json").read_text()
    for path in folder.glob("*.json"):
        path.unlink()
    bundle = json.loads(text)
    cut_tail(bundle)
    say_that_it_is_older(bundle)
    (folder / "bundle.json").write_text(json.dumps(bundle))
    done = check_elsewhere(folder, "--key", str(trail.key.key))
    assert (done.returncode, "NOTHING SAYS WHICH RECORD WAS THE LAST" in done.stdout) == (0, True), done.stdout
    done = check_elsewhere(folder, "--key", str(trail.key.key), "--last")
    assert (done.returncode, "ask for a new pack" in done.stdout) == (20, True), done.stdout


async def test_U08_the_statement_of_another_pack_or_key_is_refused(trail: Trail) -> None:
    from topstitch.audit.check_bundle import Problem
    from topstitch.audit.checkpoint import last_note, new_signing_key

    await trail.start("ins_1")
    await trail.start("ins_2")
    await trail.seal()
    mine, other = bundle_of(trail), bundle_of(trail, "ins_2")
    assert check(mine, trail.key.key).last
    stranger = new_signing_key(trail.key.key.name)
    own = mine["records"][-1]["hash"]
    for last, named in (
        (other["last"], "belongs to another pack"),
        (last_note(trail.key, "ins_1", 1, own, 1), "belongs to another pack"),
        (last_note(trail.key, "ins_1", 1, "0" * 64, 2), "do not end with record 1"),
        (last_note(stranger, "ins_1", 1, own, 2), "signed by no known key"),
        (mine["checkpoint"], "is damaged"),
    ):
        with pytest.raises(Problem, match=named):
            check({**mine, "last": last}, trail.key.key)


async def test_a_pack_of_the_form_before_and_one_after_a_rotation_are_read(trail: Trail) -> None:
    from topstitch.audit.checkpoint import new_signing_key

    await trail.start("ins_1")
    await trail.seal()
    older = bundle_of(trail)
    say_that_it_is_older(older)
    assert not check(older, trail.key.key).last
    new = new_signing_key(trail.key.key.name)
    await trail.sequencer.rotate(new, HR)
    first, trail.key = trail.key.key, new
    report = check(bundle_of(trail), first)
    assert (report.last, report.key) == (True, new.key)


async def test_H06_c_a_changed_reading_aid_is_found(trail: Trail, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    await pack(trail, folder)
    path = folder / "decisions.json"
    path.write_text(path.read_text().replace("dana", "omar"))
    done = check_elsewhere(folder)
    assert done.returncode == 20
    assert "decisions.json" in done.stdout


async def test_H06_c_a_pack_signed_by_another_key_is_refused(trail: Trail, tmp_path: Path) -> None:
    from topstitch.audit.checkpoint import new_signing_key

    await pack(trail, tmp_path / "pack")
    done = check_elsewhere(tmp_path / "pack", "--key", str(new_signing_key(trail.key.key.name).key))
    assert done.returncode == 20
    assert "no known key" in done.stdout


async def test_what_is_no_pack_is_a_usage_error(tmp_path: Path) -> None:
    from topstitch.audit.check_bundle import main

    assert main([str(tmp_path)]) == 2


async def test_H06_d_a_withheld_value_stays_a_commitment_and_a_disclosed_one_opens_it(
    trail: Trail, tmp_path: Path
) -> None:
    await trail.start("ins_1")
    await trail.seal()
    closed, some = bundle_of(trail), bundle_of(trail, fields=("title",))
    for bundle in (closed, some):
        check(bundle, trail.key.key)
    assert NAME not in json.dumps(evidence_pack(closed))
    text = evidence_pack(some)
    assert f'"title": "Onboard {NAME}"' in text["trigger.json"]
    assert '"name": {' in text["trigger.json"]  # withheld


async def test_a_pack_waits_for_its_checkpoint_and_for_an_empty_folder(trail: Trail, tmp_path: Path) -> None:
    await trail.start("ins_1")
    with pytest.raises(ConflictError, match="in no signed checkpoint yet"):
        bundle_of(trail)
    await trail.seal()
    with pytest.raises(NotFoundError, match="no instance"):
        bundle_of(trail, "ins_2")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(OperatorError, match="not empty"):
        write_pack(tmp_path, evidence_pack(bundle_of(trail)))


async def test_the_times_of_columns_are_those_of_the_texts(trail: Trail) -> None:
    await trail.write(instances=2, rounds=1)
    with open_ledger(trail.store) as reader:
        for record, leaf in reader.in_order(0, milliseconds(trail.clock.now()) + 1):
            assert json.loads(record.text)["seq"] == record.seq
            assert leaf is not None
