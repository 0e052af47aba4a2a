"""Policy bundles in a whole installation: the shipped one, a stricter one, a freeze, and what is under way then."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.commands import Ran, called
from support.world import ONBOARDING, World
from topstitch.foundation.errors import TamperError
from topstitch.governance.policy import explain
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind
from topstitch.office.lawmaking import check_bundle, opened, publish
from topstitch.store import Store, deciding, items, policies

STANDARD = Path(__file__).parents[2] / "src/topstitch/examples/policies/standard"
FILES = {path.name: path.read_text(encoding="utf-8") for path in STANDARD.glob("*.yaml")}
CAROL = Actor(ActorKind.HUMAN, "carol@corp.example")


def with_limit(limit: str, version: str) -> dict[str, str]:
    """Return the shipped bundle with another limit for equipment, tests and all."""
    cents = f"{int(limit) - 1}.99 USD"
    changed = {name: text.replace("2500 USD", f"{limit} USD") for name, text in FILES.items()}
    changed["bundle.yaml"] = changed["bundle.yaml"].replace("version: 1.0.0", f"version: {version}")
    tests = changed["tests.yaml"].replace("2499.99 USD", cents)
    changed["tests.yaml"] = tests.replace("2000.00 EUR", "900.00 EUR")
    return changed


FROZEN = {
    "bundle.yaml": FILES["bundle.yaml"].replace("version: 1.0.0", "version: 1.2.0"),
    "hard.yaml": "hard: [{id: no-accounts, when: step.action == 'entra-id.create_user', deny: not this week}]\n",
    "tests.yaml": "tests: [{given: {step: {action: entra-id.create_user, risk: 2}}, then: deny(no-accounts)}]\n",
}


async def put(world: World, files: Mapping[str, str] = FILES, store: Store | None = None) -> str:
    """Publish a bundle; return its digest."""
    used, where = store or world.store, world.settings.environment
    checked = check_bundle(files)
    assert checked.bundle is not None
    before = await policies.in_force(used, where)
    parent = before.digest if before else None
    await publish(used, checked, environment=where, by=CAROL, at=world.clock.now(), parent=parent)
    return checked.bundle.digest


async def decision(world: World, instance: str, step: str) -> Mapping[str, Any]:
    """Return the last decision on a step."""
    return [r.body for r in await world.records(instance, Kind.DECISION) if r.step == step][-1]


async def asked(world: World, instance: str) -> list[str]:
    """Return for which steps people were asked, a while after the hire."""
    await world.run_for(minutes=2)
    return [str(a["step"]) for a in await items.list_approvals(world.store, status=None, instance=instance)]


async def test_without_a_bundle_the_definition_alone_decides(world: World):
    name = await world.hire(jobProfile="ENG-SWE")
    await world.run_for(minutes=2)
    made = await world.records(name, Kind.DECISION)
    assert {str(r.actor) for r in made} == {"policy:definition"}
    assert not any("policy" in r.body for r in made)
    assert "policy" not in (await world.records(name, Kind.STARTED))[0].body


async def test_O07_the_standard_path_needs_no_person_under_the_shipped_bundle(world: World):
    digest = await put(world)
    name = await world.hire(jobProfile="ENG-SWE")
    await world.run_to_end(name)
    assert (await world.row(name))["status"] == "completed"
    assert await items.list_approvals(world.store, status=None, instance=name) == []
    assert await items.list_tasks(world.store, status=None, instance=name) == []
    made = await world.records(name, Kind.DECISION)
    assert {str(r.actor) for r in made} == {"policy:standard@1.0.0"}
    assert {r.body["policy"]["hard"]["digest"] for r in made} == {digest}
    assert (await world.records(name, Kind.STARTED))[0].body["policy"] == digest


async def test_H07_a_limit_of_1000_asks_from_the_next_hire_on_and_the_one_in_flight_keeps_its_policy(world: World):
    first = await put(world)
    world.fault("entra-id", "503", match={"method": "POST", "path": "/users"})
    early = await world.hire(jobProfile="ENG-SWE")
    await world.run_for(seconds=1)
    second = await put(world, with_limit("1000", "1.1.0"))
    late = await world.hire(jobProfile="ENG-SWE")
    world.sims["entra-id"].faults.clear()
    await world.run_for(minutes=10)
    assert await asked(world, early) == []
    assert await asked(world, late) == ["equipment"]
    kept = await decision(world, early, "equipment")
    assert (kept["policy"]["soft"]["digest"], kept["outcome"]) == (first, "auto")
    assert kept["policy"]["hard"]["digest"] == second  # it was decided afterwards: only hard rules are those of now
    made = await decision(world, late, "equipment")
    assert made["policy"]["soft"]["digest"] == second
    assert {one["rule"] for one in made["because"] if one.get("demands")} == {"equipment-2500"}


async def test_H07_the_definition_stays_as_it_is_while_the_limit_changes(world: World):
    await put(world, with_limit("1000", "1.1.0"))
    name = await world.hire(jobProfile="ENG-SWE")
    approval = await world.run_until_asked(name)
    await world.answer(name, approval["people"][0]["id"])
    await world.run_to_end(name)
    row = await world.row(name)
    assert (row["status"], row["version"]) == ("completed", "1.0.0")
    assert "version: 1.0.0" in ONBOARDING.read_text()


async def test_a_hard_rule_published_by_another_process_bites_what_is_under_way(world: World):
    await put(world)
    name = await world.hire(jobProfile="SEC-ADMIN")
    approval = await world.run_until_asked(name)
    with Store.open(world.settings.database, threads=False) as elsewhere:
        await put(world, FROZEN, elsewhere)
    await world.answer(name, approval["people"][0]["id"])
    await world.run_for(minutes=1)
    assert (await decision(world, name, "identity"))["outcome"] == "deny"
    assert (await world.statuses(name))["identity"] == "declined"
    assert not [call for call in world.calls("entra-id", method="POST", path="/users") if call["status"] < 300]


async def test_A10_every_recorded_decision_is_explained_and_comes_to_the_same_answer(world: World):
    await put(world)
    names = [await world.hire(jobProfile=profile) for profile in ("ENG-SWE", "SEC-ADMIN", "SAL-AE", "DES-PROD")]
    await world.run_for(minutes=5)
    await put(world, with_limit("1000", "1.1.0"))
    names.append(await world.hire(jobProfile="ENG-SWE"))
    await world.run_for(minutes=5)
    stored = await policies.others(world.store, ())
    bundles = {one.digest: opened(one) for one in stored}
    made = [r for name in names for r in await world.records(name, Kind.DECISION)]
    assert len(made) == 15
    assert [explain(r.body, bundles).why_not for r in made] == [None] * len(made)
    assert {r.body["risk"] for r in made} >= {1, 2}


async def test_what_an_activation_asks_of_the_law_is_one_look_and_shared(world: World, monkeypatch: Any):
    looks: list[str] = []
    real = deciding.revisions

    async def counted(store: Store, environment: str) -> tuple[int, int]:
        looks.append(environment)
        return await real(store, environment)

    monkeypatch.setattr(deciding, "revisions", counted)
    laws = world.house.laws
    await asyncio.gather(*(laws.refresh() for _ in range(100)))
    assert looks == ["test"]
    digest = await put(world)
    assert laws.digest is None
    assert (await laws.refresh()).in_force is not None
    assert (laws.digest, looks) == (digest, ["test", "test"])


async def command(world: World, *words: str) -> Ran:
    """Run a command beside the engine, as another process would."""
    where = {"TOPSTITCH_ENVIRONMENT": world.settings.environment}
    return await asyncio.to_thread(lambda: called(*words, "--data", str(world.folder), **where))


async def test_H07_the_command_line_publishes_and_explains_by_rule_inputs_and_digest(world: World):
    published = await command(world, "policy", "publish", str(STANDARD), "--as", "carol@corp.example")
    assert published.code == 0, published.err
    name = await world.hire(jobProfile="DES-PROD")
    approval = await world.run_until_asked(name)
    shown = await command(world, "policy", "explain", name, "equipment", "--json")
    assert shown.code == 0, shown.err
    (made,) = shown.json()["decisions"]
    digest = made["policy"]["hard"]["digest"]
    reason = next(one for one in made["because"] if one["rule"] == "equipment-2500")
    assert reason["digest"] == digest
    assert reason["read"] == {"context.quote.total": "2500.00 USD", "step.action": "servicenow.create_catalog_request"}
    assert (made["outcome"], made["risk"], made["same"], made["by"]) == ("approve", 2, True, "policy:standard@1.0.0")
    assert made["payload_digest"] == approval["payload_digest"]
    told = (await command(world, "policy", "explain", name, "equipment")).out
    for part in ("people are asked; risk tier 2", "equipment-2500 of standard@1.0.0", digest, "the same answer"):
        assert part in told


async def test_A10_explain_ends_with_20_when_the_bundle_is_not_what_it_was(world: World):
    digest = await put(world)
    name = await world.hire(jobProfile="ENG-SWE")
    await world.run_for(minutes=2)
    await world.close()
    with sqlite3.connect(world.settings.database) as base:
        base.execute("UPDATE policy_bundles SET normal = replace(normal, '2500 USD', '9900 USD')")
    changed = await command(world, "policy", "explain", name, "equipment")
    assert (changed.code, "bundle-changed" in changed.err) == (20, True)
    with sqlite3.connect(world.settings.database) as base:
        base.execute("DELETE FROM policy_bundles")
    gone = await command(world, "policy", "explain", name, "equipment")
    base.close()
    await world.open()
    assert gone.code == 20
    assert f"the bundle {digest} is not here" in gone.out
    with pytest.raises(TamperError, match="restore it from a backup"):
        await world.house.laws.refresh()


async def test_H07_replay_lists_which_recorded_decisions_a_lower_limit_would_change(world: World, tmp_path: Path):
    folder = tmp_path / "policy"
    folder.mkdir()
    for file, text in with_limit("1000", "1.1.0").items():
        (folder / file).write_text(text, encoding="utf-8")
    before = await world.hire(jobProfile="ENG-SWE")  # decided by its definition alone
    await world.run_for(minutes=2)
    await put(world)
    names = [await world.hire(jobProfile=profile) for profile in ("ENG-SWE", "DES-PROD", "SAL-AE")]
    await world.run_for(minutes=5)
    same = await command(world, "policy", "replay", str(STANDARD), "--json")
    assert (same.code, same.json()["changes"]) == (0, []), same.err
    assert same.json()["decisions"] > 8
    other = (await command(world, "policy", "replay", str(folder), "--last", "500", "--json")).json()["changes"]
    assert {(one["instance"], one["step"]) for one in other} == {
        (name, "equipment") for name in (before, names[0], names[2])
    }
    assert {one["after"] for one in other} == {"approve(manager_of(subject))"}
    assert {rule for one in other for rule in one["rules"]} == {"equipment-2500"}
    assert len((await command(world, "policy", "replay", str(folder), "--last", "1", "--json")).json()["changes"]) <= 1
