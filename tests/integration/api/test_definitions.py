"""Definitions by API: drafts, what publishing would change, and publishing exactly what was looked at."""

from __future__ import annotations

from typing import Any

import msgspec

from integration.api.programs import DANA, Programs
from integration.store.kit import query
from support.onboarding import FILE
from topstitch.governance.access import Identity
from topstitch.model.record import parse_actor
from topstitch.office import calendars as office_calendars
from topstitch.store import definitions, people
from topstitch.store.people import PersonRow

NAME = "employee-onboarding"
PATH = f"/workflows/{NAME}"


def text(version: str = "9.0.0") -> str:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return "\n".join(f"version: {version}" if line.startswith("version:") else line for line in lines) + "\n"


def signed_in(programs: Programs, name: str) -> Identity:
    return Identity(id=name, roles=DANA.roles, via="session", signed_in_at=programs.clock.now())


async def draft(programs: Programs, version: str = "9.0.0") -> Any:
    answer = await programs.post(f"{PATH}/versions", {"text": text(version)})
    assert answer.status == 201, answer.body
    return answer


async def test_a_draft_is_planned_and_published_as_it_was_looked_at(programs: Programs):
    programs.caller = signed_in(programs, "ana")
    await draft(programs)
    plan = (await programs.post(f"{PATH}/plan", {"version": "9.0.0"})).json
    assert (plan["version"], plan["changed"], plan["dry_run"]) == ("9.0.0", False, True)
    programs.caller = signed_in(programs, "bob")
    seen = await programs.get(f"{PATH}/versions/9.0.0")
    publish, match = {"plan_digest": plan["plan_digest"]}, {"if-match": seen.headers["etag"]}
    path = f"{PATH}/versions/9.0.0/publish"
    assert (await programs.post(path, publish)).json["code"] == "precondition-required"
    stale = await programs.post(path, {"plan_digest": "sha256:other"}, **match)
    assert (stale.status, stale.json["code"]) == (409, "stale-plan")
    done = await programs.post(path, publish, **match)
    assert done.json["changed"] is True
    in_force = await definitions.in_force_of(programs.store, NAME)
    assert in_force is not None
    assert (in_force.version, in_force.published_by) == ("9.0.0", "human:ana")  # who wrote it
    versions = (await programs.get(f"{PATH}/versions")).json["items"]
    assert versions[0]["status"] == "in_force"
    assert len([one for one in versions if one["version"] == "9.0.0"]) == 1


def of_two(programs: Programs, environment: str = "test") -> Programs:
    """The same story where a change of high risk needs two people."""
    more = {"four_eyes": "high-risk", "environment": environment}
    return Programs(programs.store, programs.hires, more=more)


async def planned(programs: Programs, name: str = "ana") -> tuple[dict[str, Any], dict[str, str]]:
    """Hand a draft in as somebody and plan it; return the plan, and what publishing it takes."""
    programs.caller = signed_in(programs, name)
    await draft(programs)
    plan = (await programs.post(f"{PATH}/plan", {"version": "9.0.0"})).json
    return plan, {"if-match": (await programs.get(f"{PATH}/versions/9.0.0")).headers["etag"]}


async def published(programs: Programs, plan: dict[str, Any], match: dict[str, str]) -> Any:
    return await programs.post(f"{PATH}/versions/9.0.0/publish", {"plan_digest": plan["plan_digest"]}, **match)


async def test_G05_who_wrote_a_change_of_high_risk_does_not_publish_it(programs: Programs):
    programs = of_two(programs)
    await query(programs.store, "DELETE FROM channels")  # a first version: every write of it counts
    plan, match = await planned(programs)
    assert any("writes with risk 3" in reason for reason in plan["waits"])
    answer = await published(programs, plan, match)
    assert (answer.status, answer.json["code"]) == (403, "author-publishes")
    assert "ask another publisher" in answer.json["detail"]
    assert [one["detail"] for one in answer.json["errors"]] == plan["waits"]
    programs.caller = signed_in(programs, "bob")
    answer = await published(programs, plan, match)
    assert (answer.status, answer.json["waits"]) == (200, [])
    in_force = await definitions.in_force_of(programs.store, NAME)
    assert in_force is not None
    assert (in_force.version, in_force.published_by) == ("9.0.0", "human:ana")


async def test_who_wrote_a_change_without_high_risk_publishes_it(programs: Programs):
    programs = of_two(programs)
    plan, match = await planned(programs)
    assert (plan["waits"], (await published(programs, plan, match)).json["changed"]) == ([], True)


async def test_G05_in_production_who_wrote_a_change_never_publishes_it(programs: Programs):
    programs = of_two(programs, "prod")
    plan, match = await planned(programs)
    assert plan["waits"] == ["putting a definition in force in prod is an act of risk 3 itself"]
    assert (await published(programs, plan, match)).json["code"] == "author-publishes"
    programs.caller = signed_in(programs, "bob")
    assert (await published(programs, plan, match)).json["changed"]


async def test_one_person_publishes_what_they_wrote_while_there_are_no_users(programs: Programs):
    await query(programs.store, "DELETE FROM channels")
    plan, match = await planned(programs)
    assert (plan["waits"], (await published(programs, plan, match)).json["changed"]) == ([], True)


async def test_publishing_needs_a_fresh_sign_in(programs: Programs):
    programs.caller = signed_in(programs, "bob")
    programs.clock.advance(301)
    answer = await programs.post(f"{PATH}/versions/9.0.0/publish", {"plan_digest": "x"})
    assert (answer.status, answer.json["code"]) == (403, "sign-in-again")


async def test_a_text_with_findings_is_no_draft_and_each_is_named(programs: Programs):
    broken = text().replace("one_per:", "one_pre:")
    answer = await programs.post(f"{PATH}/versions", {"text": broken})
    assert (answer.status, answer.json["code"]) == (422, "definition-invalid")
    assert answer.json["errors"][0]["detail"].startswith("line ")
    other = await programs.post("/workflows/other/versions", {"text": text()})
    assert other.json["code"] == "workflow-other"


async def test_a_published_version_never_changes(programs: Programs):
    published = (await definitions.versions(programs.store, NAME))[0]
    answer = await programs.post(f"{PATH}/versions", {"text": text(published.version)})
    assert (answer.status, answer.json["code"]) == (409, "version-published")


async def test_a_policy_is_tried_out(programs: Programs):
    answer = await programs.post("/policies/in-force/evaluate", {"given": {}})
    assert (answer.status, answer.json["code"]) == (404, "no-bundle")


def bundle(version: str, tier_3: str) -> dict[str, str]:
    return {
        "policy.yaml": f"policy: people\nversion: {version}\nowner: {{team: controls}}\n"
        f"defaults: {{tier_1: auto, tier_2: auto, tier_3: {tier_3}, tier_4: approve(owner)}}\n"
        "tests: [{given: {step: {risk: 4}}, then: approve(owner)}]\n"
    }


async def test_G05_a_policy_that_loosens_waits_for_another_publisher(programs: Programs):
    await people.add(programs.store, PersonRow(id="ana", made_at=programs.clock.now(), made_by="x"), parse_actor("x"))
    programs.caller = signed_in(programs, "ana")
    first = await programs.post("/policies", {"files": bundle("1.0.0", "approve(owner)")})
    assert (first.json["changed"], first.json["waits"]) == (True, [])
    second = await programs.post("/policies", {"files": bundle("1.1.0", "auto"), "parent": first.json["digest"]})
    assert second.json["changed"] is False
    assert second.json["waits"] == ["tier 3 asked for approve(owner) and would ask for auto"]
    (waiting,) = (await programs.get("/policies/proposals")).json["items"]
    path = f"/policies/proposals/{waiting['id']}"
    alone = await programs.post(f"{path}/agree")
    assert (alone.status, alone.json["code"]) == (403, "author-agrees")
    programs.caller = msgspec.structs.replace(signed_in(programs, "vic"), roles=("viewer", "admin"))
    assert (await programs.post(f"{path}/agree")).status == 403
    programs.caller = signed_in(programs, "bob")
    assert (await programs.get("/policies/in-force")).json["id"] == "people@1.0.0"
    assert (await programs.post(f"{path}/agree")).status == 200
    assert (await programs.get("/policies/in-force")).json["id"] == "people@1.1.0"
    assert (await programs.get("/policies/proposals")).json["items"] == []
    again = await programs.post(f"{path}/withdraw")
    assert (again.status, again.json["code"]) == (404, "no-proposal")


YEAR_END = 'freezes:\n  - {{from: "2990-12-19T00:00:00Z", until: "{until}", because: Year end}}\n'


async def test_G05_a_calendar_that_loosens_waits_for_another_publisher(programs: Programs):
    await people.add(programs.store, PersonRow(id="ana", made_at=programs.clock.now(), made_by="x"), parse_actor("x"))
    where = programs.hands.environment
    for until in ("2991-01-04T00:00:00Z", "2990-12-24T00:00:00Z"):
        text, now = YEAR_END.format(until=until), programs.clock.now()
        by = parse_actor("human:ana")
        await office_calendars.load(programs.store, text, "c", environment=where, by=by, at=now, four_eyes=True)
    programs.caller = signed_in(programs, "ana")
    (shown,) = (await programs.get("/calendars")).json["items"]
    assert (shown["id"], shown["loaded_by"], shown["freezes"][0]["until"]) == (
        where,
        "human:ana",
        "2991-01-04T00:00:00.000Z",
    )
    assert shown["now"]["working_hours"]
    (waiting,) = (await programs.get("/calendars/proposals")).json["items"]
    assert (waiting["parent"], waiting["freezes"][0]["until"]) == (shown["digest"], "2990-12-24T00:00:00.000Z")
    path = f"/calendars/proposals/{waiting['id']}"
    alone = await programs.post(f"{path}/agree")
    assert (alone.status, alone.json["code"]) == (403, "author-agrees")
    programs.caller = msgspec.structs.replace(signed_in(programs, "vic"), roles=("viewer", "admin"))
    assert (await programs.post(f"{path}/agree")).status == 403
    assert (await programs.post(f"{path}/withdraw")).status == 403
    programs.caller = signed_in(programs, "bob")
    assert (await programs.post(f"{path}/agree")).status == 200
    (shown,) = (await programs.get("/calendars")).json["items"]
    assert shown["digest"] == waiting["id"]
    assert (await programs.get("/calendars/proposals")).json["items"] == []
    again = await programs.post(f"{path}/withdraw")
    assert (again.status, again.json["code"]) == (404, "no-proposal")


async def test_a_policy_with_findings_or_a_failing_test_is_not_published_and_each_is_named(programs: Programs):
    programs.caller = signed_in(programs, "ana")
    broken = {"policy.yaml": bundle("1.0.0", "auto")["policy.yaml"].replace("tier_3: auto", "tier_3: perhaps")}
    failing = {"policy.yaml": bundle("1.0.0", "auto")["policy.yaml"].replace("then: approve(owner)", "then: auto")}
    for files, code in ((broken, None), (failing, "test-fails")):
        answer = await programs.post("/policies", {"files": files})
        assert (answer.status, answer.json["code"]) == (422, "policy-not-clean")
        assert code in (None, *(one["code"] for one in answer.json["errors"]))
        assert answer.json["errors"]
    tried = await programs.post("/policies", {"files": bundle("1.0.0", "auto"), "dry_run": True})
    assert (tried.json["changed"], tried.json["dry_run"]) == (False, True)
    assert (await programs.get("/policies/in-force")).status == 404
