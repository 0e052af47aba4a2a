"""The sequencer: every record one place, none behind another, one checkpoint after the other, keys rotated."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from support.trail import HR, Trail
from topstitch.audit.anchors import GitAnchor, MailAnchor
from topstitch.audit.chain import Tampering
from topstitch.audit.checkpoint import new_signing_key, read_checkpoint, ring_of
from topstitch.audit.consistency import consistency
from topstitch.audit.sequencer import Sequencer
from topstitch.audit.verify import Trust
from topstitch.foundation.errors import OperatorError, TamperError
from topstitch.store import Store, ledger
from topstitch.store.ledger_reader import open_ledger


async def test_two_sequencers_at_once_give_every_record_one_place(trail: Trail, tmp_path: Path) -> None:
    with Store.open(trail.store.url, key_file=tmp_path / "keys" / "installation.key") as second:
        other = Sequencer(second, trail.key, trail.clock)

        async def write() -> None:
            for number in range(20):
                await trail.start(f"ins_{number}")

        await asyncio.gather(write(), *(one.place() for one in (trail.sequencer, other) * 10))
        await trail.seal()
    with open_ledger(trail.store) as reader:
        assert reader.counts(20) == (20, 20, 20)
    assert (await trail.verify()).whole


async def test_a_checkpoint_follows_after_ten_seconds_or_a_thousand_leaves(trail: Trail) -> None:
    await trail.start("ins_1")
    assert (await trail.sequencer.turn()).signed is not None
    await trail.store.append_outside("ins_1", [trail.draft("flag.set", {"flag": "a"})], trail.clock.now())
    assert (await trail.sequencer.turn()).signed is None
    trail.clock.advance(9)
    signed = (await trail.sequencer.turn()).signed
    assert signed is not None
    assert (signed.number, signed.size) == (2, 2)
    trail.clock.advance(60)
    assert (await trail.sequencer.turn()).signed is None  # nothing is new
    now = trail.clock.now()
    many = [trail.draft("flag.set", {"flag": "a"}) for _ in range(1_000)]
    trail.clock._now = now  # the drafts above moved it on
    await trail.store.append_outside("ins_1", many, now)
    signed = (await trail.sequencer.turn()).signed
    assert signed is not None
    assert signed.size == 1_002


async def test_it_runs_until_it_is_stopped_and_signs_what_is_there(trail: Trail) -> None:
    stop = asyncio.Event()
    going = asyncio.create_task(trail.sequencer.run(stop))
    await trail.start("ins_1")
    stop.set()
    await asyncio.wait_for(going, 10)
    newest = await ledger.newest_checkpoint(trail.store)
    assert newest is not None
    assert newest.size == 1
    assert (await trail.verify()).trust is Trust.ANCHORED


async def test_a_late_commit_never_appears_behind_a_place_already_given(postgres_schema: str, tmp_path: Path) -> None:
    with Store.open(postgres_schema, key_file=tmp_path / "key") as store:
        trail = Trail(store, tmp_path)
        await trail.start("ins_1")
        await trail.seal()
        with psycopg.connect(postgres_schema) as slow:  # a transaction that began before, and commits after, others
            slow.execute("SELECT pg_current_xact_id()")
            await trail.store.append_outside("ins_1", [trail.draft("flag.set", {"flag": "b"})], trail.clock.now())
            assert await trail.sequencer.place() == (0, 1), "records of younger transactions wait for the older one"
            slow.commit()
        assert await trail.sequencer.place() == (1, 2)


async def test_places_follow_the_number_of_the_transaction_and_not_its_digits(
    postgres_schema: str, tmp_path: Path
) -> None:
    with Store.open(postgres_schema, key_file=tmp_path / "key") as store:
        trail = Trail(store, tmp_path)
        await trail.start("ins_1")
        _burn_to_power_of_ten(postgres_schema, left=5)
        for number in range(10):  # one transaction each, from 999... to 1000...
            await trail.store.append_outside(
                "ins_1", [trail.draft("flag.set", {"flag": f"{number}"})], trail.clock.now()
            )
        assert await trail.sequencer.place() == (11, 11)
        await trail.start("ins_2")
        assert await trail.sequencer.place() == (1, 12)


def _burn_to_power_of_ten(dsn: str, *, left: int) -> None:
    """Use transactions up until so many are left before their number gets another digit."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute("SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint)").fetchone()
        assert row is not None
        burn = 10 ** len(str(row[0])) - row[0] - left
        connection.execute(
            f"DO $$ BEGIN FOR i IN 1..{burn} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )


async def test_a_database_restored_into_another_cluster_goes_on(postgres_schema: str, tmp_path: Path) -> None:
    with Store.open(postgres_schema, key_file=tmp_path / "key") as store:
        trail = Trail(store, tmp_path)
        await trail.write(instances=2, rounds=1)
        await trail.start("ins_late")  # not placed when the dump was made
        far = "UPDATE meta SET value = replace(value, '\"xid\":\"', '\"xid\":\"99999') WHERE key = 'sequencer'"
        await store.work(lambda b: b.execute("UPDATE journal SET xid = '999999999999'"))
        await store.work(lambda b: b.execute(far))
        await trail.start("ins_after")
        assert (await trail.sequencer.place())[0] == 2
        await trail.start("ins_later")
        assert (await trail.sequencer.place())[0] == 1
        await trail.seal()
        verdict = await trail.verify()
        assert verdict.whole, verdict.lines()
        assert verdict.unsigned == 0


async def test_keys_rotate_and_old_and_new_checkpoints_verify_from_either_key(trail: Trail) -> None:
    await trail.write(instances=2, rounds=2)
    old = trail.key
    new = new_signing_key(old.key.name)
    signed = await trail.sequencer.rotate(new, HR)
    assert signed is not None
    trail.clock.advance(1)
    await trail.start("ins_new")
    await trail.seal()
    for key in (old.key, new.key):
        verdict = await trail.verify(keys=[key])
        assert verdict.whole, verdict.lines()
        assert verdict.key == new.key
    with open_ledger(trail.store) as reader:
        assert [record.kind for record in reader.records(ledger.INSTALLATION)] == ["key.rotated"]
    verdict = await trail.verify(keys=[new_signing_key(old.key.name).key])
    assert verdict.first is not None
    assert verdict.first.fits is Tampering.KEY_WRONG


async def test_the_old_key_signs_nothing_any_more_after_a_rotation(trail: Trail) -> None:
    await trail.write(instances=2, rounds=1)
    await trail.sequencer.rotate(new_signing_key(trail.key.key.name), HR)
    thief = Sequencer(trail.store, trail.key, trail.clock)
    await trail.start("ins_x")
    await thief.turn(now_too=True)
    verdict = await trail.verify(anchored=False)
    assert verdict.first is not None
    assert verdict.first.fits is Tampering.KEY_WRONG
    assert "not in force" in verdict.first.message


async def test_a_key_of_another_origin_is_refused(trail: Trail) -> None:
    with pytest.raises(OperatorError, match="same origin"):
        await trail.sequencer.rotate(new_signing_key(), HR)


async def test_git_keeps_what_was_committed_even_when_files_are_changed_later(trail: Trail, tmp_path: Path) -> None:
    anchor = GitAnchor(tmp_path / "elsewhere")
    sequencer = Sequencer(trail.store, trail.key, trail.clock, [anchor])
    await trail.start("ins_1")
    first = (await sequencer.turn(now_too=True)).anchored[0]
    assert first.problem is None
    assert first.receipt is not None
    assert len(first.receipt) == 40
    await trail.start("ins_2")
    await sequencer.turn(now_too=True)
    notes = await anchor.notes()
    assert [read_checkpoint(note, ring_of([trail.key.key], []))[0].size for note in notes] == [1, 2]
    for path in (tmp_path / "elsewhere").glob("*.checkpoint"):
        path.write_text("nothing")
    await anchor._git("commit", "--quiet", "--all", "--message", "x")
    assert await anchor.notes() == notes
    assert (await anchor.publish(notes[-1])) == (await anchor.publish(notes[-1]))


async def test_anchors_that_fail_are_noted_and_stop_nothing(trail: Trail, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    sent: list[tuple[str, str]] = []

    async def send(subject: str, text: str) -> None:
        sent.append((subject, text))

    broken, mail = GitAnchor(tmp_path / "file" / "x", name="broken"), MailAnchor(send)
    sequencer = Sequencer(trail.store, trail.key, trail.clock, [trail.anchor, mail])
    await trail.start("ins_1")
    done = await sequencer.turn(now_too=True)
    assert [one.problem for one in done.anchored] == [None, None]
    assert trail.key.key.name in sent[0][1]
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / ".git").write_text("damaged")
    broken = GitAnchor(tmp_path / "repository", name="broken")
    sequencer = Sequencer(trail.store, trail.key, trail.clock, [broken])
    trail.clock.advance(601)
    done = await sequencer.turn()
    assert done.anchored[0].problem is not None
    assert "mend the repository" in done.anchored[0].problem
    with open_ledger(trail.store) as reader:
        kept = {one.anchor: one.problem is None for one in reader.anchorings()}
    assert kept == {"folder": True, "mail": True, "broken": False}


async def test_without_an_anchor_the_verdict_says_self_attested(trail: Trail) -> None:
    await trail.start("ins_1")
    assert (await trail.verify(anchored=False)).trust is Trust.UNSIGNED
    await trail.seal()
    verdict = await trail.verify(anchored=False)
    assert verdict.trust is Trust.SELF_ATTESTED
    assert "self-attested" in verdict.lines()[1]


async def test_an_auditor_with_an_old_checkpoint_gets_a_proof_that_the_new_one_continues_it(trail: Trail) -> None:
    await trail.write(instances=3, rounds=1)
    with open_ledger(trail.store) as reader:
        kept = reader.newest_checkpoint()
    assert kept is not None
    await trail.write(instances=0)
    await trail.start("ins_more")
    await trail.seal()
    ring = ring_of([trail.key.key], [])
    with open_ledger(trail.store) as reader:
        proved = consistency(reader, kept.note, None, ring)
        assert (proved.old.size, proved.new.size) == (9, 10)
        assert proved.document()["proof"]
    await trail.store.work(lambda b: b.execute("UPDATE tiles SET data = ? WHERE level = 0", ("A" * 43 + "=" * 1,)))
    with open_ledger(trail.store) as reader, pytest.raises(TamperError, match="audit verify"):
        consistency(reader, kept.note, None, ring)


async def test_of_many_checkpoints_the_newest_and_an_even_choice_of_the_older_are_read(trail: Trail) -> None:
    await trail.start("ins_1")
    for _ in range(12):
        await trail.sequencer.place()
        await trail.sequencer.sign(anew=True)
    with open_ledger(trail.store) as reader:
        assert [one.number for one in reader.checkpoints(newest=3, older=3)] == [3, 6, 9, 10, 11, 12]
        assert [one.number for one in reader.checkpoints(newest=3)] == [10, 11, 12]
        assert len(reader.checkpoints()) == 12
    assert (await trail.verify(anchored=False)).whole


async def test_an_auditor_is_mailed_once_a_day_and_a_mail_that_failed_is_tried_again(trail: Trail) -> None:
    sent: list[str] = []
    answers: list[Exception | None] = [None, OperatorError("anchor-mail", "no"), None]

    async def send(subject: str, _text: str) -> None:
        failure = answers.pop(0)
        if failure is not None:
            raise failure
        sent.append(subject)

    sequencer = Sequencer(trail.store, trail.key, trail.clock, [MailAnchor(send)])
    for name, seconds, mails in (("a", 0, 1), ("b", 3600, 1), ("c", 86_400, 1), ("d", 60, 2), ("e", 60, 2)):
        trail.clock.advance(seconds)
        await trail.start(f"ins_{name}")
        await sequencer.turn(now_too=True)
        assert len(sent) == mails
