"""Checkpoints leave by mail: once a day, by the connection that tells people, over a real socket."""

from __future__ import annotations

from dataclasses import replace

from support.world import World
from topstitch.audit.check_bundle import parse_checkpoint, split_note
from topstitch.bootstrap.auditing import seal_now

AUDITOR = "auditor@corp.example"


async def test_a_checkpoint_is_mailed_to_the_auditor_once_a_day(world: World):
    settings = replace(world.settings, anchors=(f"mail:{AUDITOR}", f"folder:{world.folder / 'kept'}"))
    await world.hire(jobProfile="ENG-SWE")
    await world.run_for(minutes=2)
    done = await seal_now(settings, world.store, world.clock)
    assert [(one.anchor.partition(":")[0], one.problem) for one in done.anchored] == [("mail", None), ("folder", None)]
    (mail,) = world.mails(AUDITOR)
    assert "Topstitch checkpoint" in mail["subject"]
    await world.run_for(hours=3)
    again = await seal_now(settings, world.store, world.clock)
    assert [one.anchor.partition(":")[0] for one in again.anchored] == ["folder"]
    assert len(world.mails(AUDITOR)) == 1
    (note,) = [path.read_text() for path in sorted((world.folder / "kept").iterdir())[:1]]
    assert str(parse_checkpoint(split_note(note)[0]).size) in mail["subject"]


async def test_a_mail_that_cannot_be_sent_is_said_and_stops_nothing(world: World):
    settings = replace(world.settings, anchors=(f"mail:{AUDITOR}",))
    await world.hire(jobProfile="ENG-SWE")
    await world.run_for(minutes=2)
    world.fault("email", "503", match={"method": "RCPT", "path": "auditor"})
    done = await seal_now(settings, world.store, world.clock)
    assert "was not mailed" in str(done.anchored[0].problem)
