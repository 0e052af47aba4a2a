"""Definitions: published once, never changed, and what is in flight stays on its own."""

from __future__ import annotations

import pytest

from support.world import ONBOARDING, World
from topstitch.foundation.errors import AuthorError, ConflictError
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.store import definitions

TEXT = ONBOARDING.read_text()
SECOND = TEXT.replace("version: 1.0.0", "version: 2.0.0").replace(
    'when: trigger.department == "Sales"', 'when: trigger.department == "Design"'
)


async def test_V01_a_published_version_never_changes(world: World):
    await world.publish(SECOND)
    assert {d.version for d in await definitions.versions(world.store, "employee-onboarding")} == {"1.0.0", "2.0.0"}
    with pytest.raises(ConflictError) as refused:
        await world.publish(SECOND.replace("Slack invitation", "Slack"))
    assert refused.value.code == "version-published"


async def test_V01_publishing_the_same_again_changes_nothing(world: World):
    one = await world.publish()
    assert await world.publish("# a comment\n" + TEXT) == one
    assert len(await definitions.versions(world.store, "employee-onboarding")) == 1


async def test_V02_the_next_hire_starts_the_new_version(world: World):
    await world.publish(SECOND)
    name = await world.hire()
    assert (await world.row(name))["version"] == "2.0.0"


async def test_V03_what_is_in_flight_finishes_on_its_own_version_also_after_a_restart(world: World):
    name = await world.hire(jobProfile="DES-PROD")
    await world.run_until_asked(name)
    await world.publish(SECOND)
    await world.restart()
    await world.answer(name, "mei.tanaka@corp.example")
    await world.run_to_end(name)
    assert (await world.row(name))["version"] == "1.0.0"
    assert (await world.statuses(name))["crm_assignment"] == "skipped"


async def test_V04_of_two_publishers_one_hears_of_the_other(world: World):
    before = await definitions.in_force_of(world.store, "employee-onboarding")
    assert before is not None
    await world.publish(SECOND, parent=before.digest)
    third = SECOND.replace("version: 2.0.0", "version: 3.0.0").replace("remind: 2h", "remind: 3h")
    with pytest.raises(ConflictError) as refused:
        await world.publish(third, parent=before.digest)
    assert refused.value.code == "stale-parent"


async def test_V04_a_version_that_promises_less_than_changed_is_refused(world: World):
    with pytest.raises(AuthorError) as refused:
        await world.publish(SECOND.replace("version: 2.0.0", "version: 1.0.1"))
    assert refused.value.code == "version-too-small"


async def test_V05_a_field_that_the_contract_lacks_does_not_publish(world: World):
    wrong = TEXT.replace("context.profile.team_channel", "context.profile.team_chanel")
    findings = check(load(wrong, "x.yaml"), world.registry.contracts()).errors
    assert any("team_chanel" in f.message for f in findings)
