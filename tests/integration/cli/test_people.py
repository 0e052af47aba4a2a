"""The commands on people: the first admin, roles, tokens, four eyes on publishing; who may do what on the machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from support.commands import Ran, called
from support.definitions import onboarding_text, spoiled
from topstitch.access.words import is_token
from topstitch.store import Store, calendars
from topstitch.store.instances import records
from topstitch.store.ledger import INSTALLATION


class Folder:
    """A data folder with commands on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "pw").write_text("correct horse battery\n")

    def run(self, *words: str, person: str | None = None) -> Ran:
        more = {"TOPSTITCH_PERSON": person} if person else {}
        return called(*words, "--data", str(self.path / "data"), **more)

    def add(self, name: str, *roles: str, person: str | None = "ada") -> Ran:
        given = [word for role in roles for word in ("--role", role)]
        return self.run("users", "add", name, *given, "--password-file", str(self.path / "pw"), person=person)

    def write(self, name: str, text: str) -> str:
        (self.path / name).write_text(text)
        return str(self.path / name)

    def noted(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return what the installation's own journal holds."""
        with Store.open(str(self.path / "data" / "topstitch.db")) as store:
            return [(r.kind, str(r.actor), dict(r.body)) for r in _journal(store)]


def _journal(store: Store) -> Any:
    return asyncio.run(_read(store))


async def _read(store: Store) -> Any:
    return await records(store, INSTALLATION)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    one = Folder(tmp_path)
    assert one.run("init").code == 0
    return one


@pytest.fixture
def peopled(folder: Folder) -> Folder:
    assert folder.add("ada", "admin", person=None).code == 0
    assert folder.add("paul", "publisher").code == 0
    assert folder.add("pia", "publisher").code == 0
    assert folder.add("vera", "viewer").code == 0
    return folder


def test_the_first_user_is_an_admin_made_on_the_machine(folder: Folder) -> None:
    refused = folder.add("ada", "viewer", person=None)
    assert (refused.code, "first-admin" in refused.err) == (2, True)
    assert folder.add("ada", "admin", "approver", person=None).code == 0
    (one,) = folder.run("users", "list", "--json").json()["items"]
    assert (one["id"], one["roles"]) == ("ada", ["admin", "approver"])


def test_a_password_is_never_an_argument_and_never_kept(folder: Folder) -> None:
    assert folder.run("users", "add", "ada", "--role", "admin", "--password", "x").code == 2
    folder.add("ada", "admin", person=None)
    assert b"correct horse" not in (folder.path / "data" / "topstitch.db").read_bytes()
    folder.write("pw", "short\n")
    short = folder.run("users", "set-password", "ada", "--password-file", str(folder.path / "pw"), person="ada")
    assert "password-length" in short.err


def test_G05_with_users_the_machine_acts_as_one_of_them_with_their_rights(peopled: Folder) -> None:
    assert peopled.add("eve", "admin", person="mallory").code == 4
    assert peopled.add("eve", "admin", person="vera").code == 4
    assert peopled.run("audit", "hold", "place", "X", "--ground", "m", person="vera").code == 4
    assert peopled.run("audit", "hold", "place", "X", "--ground", "m", person="ada").code == 0
    assert peopled.run("audit", "erase", "Y", "--ground", "m", person="paul").code == 4
    assert peopled.run("instances", person="nobody").code == 0
    assert peopled.run("users", "disable", "vera", person="ada").code == 0
    assert peopled.run("users", "grant", "vera", "admin", person="vera").code == 4


def test_roles_are_granted_and_taken_back_and_noted(peopled: Folder) -> None:
    assert peopled.run("users", "grant", "vera", "operator:people-*", "auditor", person="ada").code == 0
    assert peopled.run("users", "revoke", "vera", "viewer", person="ada").code == 0
    assert peopled.run("users", "grant", "group:ops", "operator", person="ada").code == 0
    assert peopled.run("users", "grant", "nobody", "operator", person="ada").code == 5
    assert peopled.run("users", "grant", "vera", "king", person="ada").code == 2
    listed = peopled.run("users", "list", "--json").json()
    assert next(one for one in listed["items"] if one["id"] == "vera")["roles"] == ["auditor", "operator:people-*"]
    assert listed["groups"] == {"group:ops": ["operator"]}
    assert ("access.changed", "human:ada", {"command": "revoke", "about": "vera", "role": "viewer", "where": ""}) in (
        peopled.noted()
    )


def test_the_last_admin_stays_until_there_is_another(peopled: Folder) -> None:
    for words in (("users", "disable", "ada"), ("users", "revoke", "ada", "admin")):
        kept = peopled.run(*words, person="ada")
        assert (kept.code, "is the last admin; make somebody else one first" in kept.err) == (6, True)
    assert peopled.run("users", "add", "bot", "--service", "--role", "admin", person="ada").code == 0
    assert peopled.run("users", "disable", "ada", person="ada").code == 6  # a service account manages nobody
    assert peopled.run("users", "grant", "vera", "admin:employee-*", person="ada").code == 0
    assert peopled.run("users", "disable", "ada", person="ada").code == 6  # nor an admin of a part
    assert peopled.run("users", "grant", "vera", "admin", person="ada").code == 0
    assert peopled.run("users", "revoke", "ada", "admin", person="ada").code == 0
    assert peopled.run("users", "disable", "vera", person="vera").code == 6


def test_a_token_is_printed_once_and_never_wider_than_its_maker(peopled: Folder) -> None:
    made = peopled.run("tokens", "create", "ci", "--scope", "*.read", person="vera")
    assert is_token(made.out.strip())
    assert peopled.run("tokens", "create", "ci", "--scope", "people.manage", person="vera").code == 4
    assert peopled.run("users", "add", "robot", "--service", "--role", "operator", person="ada").code == 0
    assert peopled.run("tokens", "create", "ci", "--scope", "events.send", "--for", "robot", person="ada").code == 0
    listed = peopled.run("tokens", "list", "--json").json()["items"]
    assert sorted((one["person"], one["maker"]) for one in listed) == [("robot", "ada"), ("vera", "vera")]
    assert made.out.strip() not in repr(listed)
    name = next(one["id"] for one in listed if one["person"] == "vera")
    assert peopled.run("tokens", "revoke", name, person="paul").code == 5
    assert peopled.run("tokens", "revoke", name, person="ada").code == 0


def test_G05_a_publisher_does_not_publish_their_own_change_of_high_risk_alone(peopled: Folder) -> None:
    file = peopled.write("onboarding.yaml", onboarding_text())
    assert peopled.run("publish", file, person="ada").code == 4
    proposed = peopled.run("publish", file, "--json", person="paul")
    assert (proposed.code, proposed.json()["waits"]) == (8, ["'CRM team assignment' writes with risk 3", IN_PROD])
    (waiting,) = peopled.run("publish", "--pending", "--json").json()["items"]
    digest = waiting["digest"].removeprefix("sha256:")[:12]
    alone = peopled.run("publish", "--agree", digest, person="paul")
    assert (alone.code, "author-agrees" in alone.err) == (4, True)
    assert peopled.run("publish", "--agree", digest, person="vera").code == 4
    assert peopled.run("publish", "--agree", digest, person="pia").code == 0
    assert peopled.run("publish", "--pending", "--json").json()["items"] == []
    assert peopled.run("publish", "--agree", digest, person="pia").code == 5
    settled = [(actor, body) for kind, actor, body in peopled.noted() if kind == "publish.settled"]
    assert [(actor, body["proposed_by"], body["four_eyes"]) for actor, body in settled] == [
        ("human:pia", "human:paul", "agreed")
    ]


def policy_text(version: str, tier_3: str) -> str:
    return (
        f"policy: people\nversion: {version}\nowner: {{team: controls}}\n"
        f"defaults: {{tier_1: auto, tier_2: auto, tier_3: {tier_3}, tier_4: approve(owner)}}\n"
        "tests: [{given: {step: {risk: 4}}, then: approve(owner)}]\n"
    )


def policy_folder(folder: Folder, version: str, tier_3: str) -> str:
    made = folder.path / f"policy-{version}"
    made.mkdir()
    (made / "policy.yaml").write_text(policy_text(version, tier_3))
    return str(made)


def test_G05_a_publisher_does_not_loosen_the_policy_alone(peopled: Folder) -> None:
    strict, loose = policy_folder(peopled, "1.0.0", "approve(owner)"), policy_folder(peopled, "1.1.0", "auto")
    assert peopled.run("policy", "publish", strict, person="paul").code == 0  # the first can only add
    tried = peopled.run("policy", "publish", loose, "--dry-run", person="paul")
    assert (tried.code, "needs a second person" in tried.out) == (0, True)
    proposed = peopled.run("policy", "publish", loose, "--json", person="paul")
    why = ["tier 3 asked for approve(owner) and would ask for auto"]
    assert (proposed.code, proposed.json()["waits"], proposed.json()["changed"]) == (8, why, False)
    assert peopled.run("policy", "show", "--json").json()["bundle"] == "people@1.0.0"
    (waiting,) = peopled.run("policy", "publish", "--pending", "--json").json()["items"]
    assert (waiting["bundle"], waiting["proposed_by"], waiting["because"]) == ("people@1.1.0", "human:paul", why)
    digest = waiting["digest"].removeprefix("sha256:")[:12]
    alone = peopled.run("policy", "publish", "--agree", digest, person="paul")
    assert (alone.code, "author-agrees" in alone.err) == (4, True)
    assert peopled.run("policy", "publish", "--agree", digest, person="vera").code == 4
    agreed = peopled.run("policy", "publish", "--agree", digest, person="pia")
    assert (agreed.code, "people@1.1.0 is in force in prod; human:paul wrote it" in agreed.out) == (0, True)
    shown = peopled.run("policy", "show", "--json").json()
    assert (shown["bundle"], shown["published_by"], shown["history"][0]["by"]) == (
        "people@1.1.0", "human:paul", "human:pia",
    )  # fmt: skip
    assert peopled.run("policy", "publish", "--agree", digest, person="pia").code == 5
    settled = [(actor, body) for kind, actor, body in peopled.noted() if kind == "publish.settled"]
    assert [(actor, body["policy"], body["proposed_by"], body["four_eyes"]) for actor, body in settled] == [
        ("human:paul", "people", "human:paul", "not needed"),
        ("human:pia", "people", "human:paul", "agreed"),
    ]


def test_a_policy_that_waits_is_withdrawn_or_overtaken(peopled: Folder) -> None:
    peopled.run("policy", "publish", policy_folder(peopled, "1.0.0", "approve(owner)"), person="paul")
    loose = policy_folder(peopled, "1.1.0", "auto")
    for _ in range(2):  # proposing it again takes its own place
        assert peopled.run("policy", "publish", loose, person="paul").code == 8
    (waiting,) = peopled.run("policy", "publish", "--pending", "--json").json()["items"]
    stricter = policy_folder(peopled, "1.2.0", '"approve(owner, 2)"')
    assert peopled.run("policy", "publish", stricter, person="pia").code == 0
    stale = peopled.run("policy", "publish", "--agree", waiting["digest"], person="pia")
    assert (stale.code, "stale-parent" in stale.err) == (6, True)
    assert peopled.run("policy", "show", "--json").json()["bundle"] == "people@1.2.0"
    assert peopled.run("policy", "publish", "--withdraw", waiting["digest"], person="paul").code == 0
    assert peopled.run("policy", "publish", "--pending", "--json").json()["items"] == []
    back = peopled.run("policy", "publish", str(peopled.path / "policy-1.0.0"), person="paul")
    assert back.code == 8  # putting an earlier, looser one back in force is loosening too


IN_PROD = "putting a definition in force in prod is an act of risk 3 itself"
WORDS = ("version: 1.0.0", "version: 1.0.1"), ("title: Welcome e-mail", "title: Welcome letter")


def publish_by_two(folder: Folder) -> None:
    folder.run("publish", folder.write("one.yaml", onboarding_text()), person="paul")
    (waiting,) = folder.run("publish", "--pending", "--json").json()["items"]
    assert folder.run("publish", "--agree", waiting["digest"], person="pia").code == 0


def calendar(folder: Folder, name: str, *freezes: tuple[str, str], rest: str = "") -> str:
    lines = "".join(f"  - {{from: '{start}', until: '{end}', because: Year end}}\n" for start, end in freezes)
    return folder.write(name, f"zone: UTC\n{rest}" + (f"freezes:\n{lines}" if freezes else ""))


def test_G05_a_publisher_does_not_thaw_a_change_freeze_alone(peopled: Folder) -> None:
    long, short = ("2990-12-19T00:00:00Z", "2991-01-04T00:00:00Z"), ("2990-12-19T00:00:00Z", "2990-12-24T00:00:00Z")
    load = ("calendars", "load")
    assert peopled.run(*load, calendar(peopled, "long.yaml", long), person="vera").code == 4
    assert peopled.run(*load, calendar(peopled, "long.yaml", long), person="paul").code == 0  # it only adds
    proposed = peopled.run(*load, calendar(peopled, "short.yaml", short), "--json", person="paul")
    why = ["the change freeze 'Year end' until 2991-01-04 00:00 UTC would not hold at 2990-12-24 00:00 UTC"]
    assert (proposed.code, proposed.json()["waits"]) == (8, why)
    assert frozen_until(peopled) == long[1]
    (waiting,) = peopled.run(*load, "--pending", "--json").json()["items"]
    assert (waiting["proposed_by"], waiting["because"]) == ("human:paul", why)
    (listed,) = peopled.run("calendars", "list", "--json", person="paul").json()["items"]
    assert (listed["digest"], listed["loaded_by"]) == (waiting["parent"], "human:paul")
    assert listed["freezes"][0]["because"] == "Year end"
    digest = waiting["digest"].removeprefix("sha256:")[:12]
    alone = peopled.run(*load, "--agree", digest, person="paul")
    assert (alone.code, "ask another publisher" in alone.err) == (4, True)
    assert peopled.run(*load, "--agree", digest, person="vera").code == 4
    assert frozen_until(peopled) == long[1]
    assert peopled.run(*load, "--agree", digest, person="pia").code == 0
    assert frozen_until(peopled) == short[1]
    assert peopled.run(*load, "--agree", digest, person="pia").code == 5
    settled = [(kind, actor, body) for kind, actor, body in peopled.noted() if body.get("four_eyes")]
    assert [(kind, actor, body["four_eyes"]) for kind, actor, body in settled] == [
        ("calendar.loaded", "human:paul", "not needed"),
        ("publish.settled", "human:pia", "agreed"),
        ("calendar.loaded", "human:pia", "agreed"),
    ]


def frozen_until(folder: Folder) -> str:
    with Store.open(str(folder.path / "data" / "topstitch.db")) as store:
        found = asyncio.run(calendars.in_force(store, "prod"))
    assert found is not None
    return found.document.partition("until: '")[2].partition("'")[0]


def test_a_calendar_that_waits_is_withdrawn_or_overtaken(peopled: Folder) -> None:
    one, two = ("2990-01-01T00:00:00Z", "2990-01-09T00:00:00Z"), ("2990-01-09T00:00:00Z", "2990-02-01T00:00:00Z")
    load = ("calendars", "load")
    assert peopled.run(*load, calendar(peopled, "both.yaml", one, two), person="paul").code == 0
    joined = calendar(peopled, "joined.yaml", (one[0], two[1]))
    assert peopled.run(*load, joined, person="paul").code == 0  # the same days in other words
    for _ in range(2):  # loading it again takes its own place
        assert peopled.run(*load, calendar(peopled, "one.yaml", one), person="paul").code == 8
    (waiting,) = peopled.run(*load, "--pending", "--json").json()["items"]
    assert peopled.run(*load, calendar(peopled, "more.yaml", one, two), person="pia").code == 0
    stale = peopled.run(*load, "--agree", waiting["digest"], person="pia")
    assert (stale.code, "stale-parent" in stale.err) == (6, True)
    assert peopled.run(*load, "--withdraw", waiting["digest"], person="paul").code == 0
    assert peopled.run(*load, "--pending", "--json").json()["items"] == []
    assert peopled.run(*load, person="paul").code == 2


def test_hours_that_no_policy_asks_for_are_changed_by_one_person(peopled: Folder) -> None:
    hours = 'hours: {mon: ["09:00-17:00"]}\n'
    assert peopled.run("calendars", "load", calendar(peopled, "a.yaml", rest=hours), person="paul").code == 0
    made = peopled.path / "asks"
    made.mkdir()
    text = policy_text("1.0.0", "auto").replace(
        "defaults:", "soft: [{id: late, when: '!calendar.working_hours', approve: {from: owner}}]\ndefaults:"
    )
    (made / "policy.yaml").write_text(text)
    assert peopled.run("policy", "publish", str(made), person="paul").code == 0
    wider = calendar(peopled, "b.yaml", rest=hours.replace("17:00", "24:00"))
    assert peopled.run("calendars", "load", wider, person="paul").code == 8


def test_without_users_one_person_thaws_and_the_record_says_so(folder: Folder) -> None:
    freeze = ("2990-12-19T00:00:00Z", "2991-01-04T00:00:00Z")
    assert folder.run("publish", folder.write("onboarding.yaml", onboarding_text()), person="solo").code == 0
    assert folder.run("calendars", "load", calendar(folder, "a.yaml", freeze), person="solo").code == 0
    assert folder.run("calendars", "load", calendar(folder, "b.yaml"), person="solo").code == 0
    noted = [body["four_eyes"] for kind, _, body in folder.noted() if kind == "calendar.loaded"]
    assert noted == ["not needed", "off"]


def test_words_are_published_by_one_person_where_it_is_not_production(peopled: Folder) -> None:
    settings = peopled.path / "data" / "topstitch.toml"
    settings.write_text(settings.read_text() + 'environment = "test"\n')
    publish_by_two(peopled)
    done = peopled.run("publish", peopled.write("two.yaml", spoiled(*WORDS)), person="paul")
    assert (done.code, "Published" in done.out) == (0, True)


def test_G05_putting_any_definition_in_force_in_production_is_an_act_of_tier_3(peopled: Folder) -> None:
    publish_by_two(peopled)
    done = peopled.run("publish", peopled.write("two.yaml", spoiled(*WORDS)), "--json", person="paul")
    assert (done.code, done.json()["waits"], done.json()["changed"]) == (8, [IN_PROD], False)
    (waiting,) = peopled.run("publish", "--pending", "--json").json()["items"]
    assert (waiting["version"], waiting["because"]) == ("1.0.1", [IN_PROD])
    assert peopled.run("publish", "--agree", waiting["digest"], person="paul").code == 4
    assert peopled.run("publish", "--agree", waiting["digest"], person="pia").code == 0
    same = peopled.run("publish", str(peopled.path / "two.yaml"), person="paul")
    assert (same.code, "in force already" in same.out) == (0, True)


def test_a_proposal_is_withdrawn_by_its_author(peopled: Folder) -> None:
    peopled.run("publish", peopled.write("one.yaml", onboarding_text()), person="paul")
    (waiting,) = peopled.run("publish", "--pending", "--json").json()["items"]
    assert peopled.run("publish", "--withdraw", waiting["digest"], person="paul").code == 0
    assert peopled.run("publish", "--agree", waiting["digest"], person="pia").code == 5


def test_without_users_one_person_publishes_and_the_record_says_so(folder: Folder) -> None:
    file = folder.write("onboarding.yaml", onboarding_text())
    assert folder.run("publish", file, person="solo").code == 0
    (noted,) = [body for kind, _, body in folder.noted() if kind == "publish.settled"]
    assert (noted["proposed_by"], noted["four_eyes"]) == ("human:solo", "off")


def test_four_eyes_can_be_asked_for_without_users(folder: Folder) -> None:
    file = folder.write("onboarding.yaml", onboarding_text())
    settings = folder.path / "data" / "topstitch.toml"
    settings.write_text(settings.read_text() + 'four_eyes = "high-risk"\n')
    assert folder.run("publish", file, person="one").code == 8
    (waiting,) = folder.run("publish", "--pending", "--json").json()["items"]
    assert folder.run("publish", "--agree", waiting["digest"], person="one").code == 4
    assert folder.run("publish", "--agree", waiting["digest"], person="two").code == 0


def test_the_table_of_roles_is_printed() -> None:
    table = called("roles", "--json").json()
    assert table["approvals.decide"] == ["approver"]


def test_an_agent_is_answered_for_by_somebody_with_an_account(peopled: Folder) -> None:
    add = ("agents", "add", "fixer", "--owner")
    mistyped = peopled.run(*add, "pual", person="ada")
    assert (mistyped.code, "agent-owner" in mistyped.err, "did you mean 'paul'?" in mistyped.err) == (2, True, True)
    assert peopled.run("users", "add", "crm-sync", "--service", "--role", "viewer", person="ada").code == 0
    machine = peopled.run(*add, "crm-sync", person="ada")
    assert (machine.code, "is a service account" in machine.err) == (2, True)
    assert peopled.run("agents", "list", "--json", person="ada").json()["items"] == []
    known = peopled.run(*add, "human:Paul", person="ada")
    assert (known.code, known.err) == (0, "")
    assert peopled.run("users", "disable", "paul", person="ada").code == 0
    gone = peopled.run(*add, "paul", person="ada")
    assert (gone.code, "is switched off" in gone.err) == (2, True)
    assert peopled.run("agents", "disable", "fixer", person="ada").code == 0  # whoever answers for it may be gone


def test_where_a_provider_vouches_for_people_an_unknown_owner_is_doubted_only(peopled: Folder) -> None:
    secret = peopled.write("secret", "s3cret")
    peopled.write(
        "data/sign-in.toml",
        '[providers.corp]\ntitle = "Corp"\nissuer = "https://login.corp.example"\nclient_id = "topstitch"\n'
        f'client_secret = "file:{secret}"\n',
    )
    doubted = peopled.run("agents", "add", "fixer", "--owner", "pual", person="ada")
    assert doubted.code == 0
    assert "warning: pual has never signed in here (did you mean 'paul'?)" in doubted.err
    words = ("--for", "paul", "--until", "2099-01-05", "--from", "2099-01-01", "-m", "leave", "--to")
    handed = peopled.run("delegations", "add", *words, "max@corp.example", person="ada")
    assert (handed.code, "sign in with the role approver" in handed.err) == (0, True)


def test_who_hands_decisions_to_somebody_who_may_not_decide_is_warned(peopled: Folder) -> None:
    assert peopled.add("otto", "approver").code == 0

    def handed(to: str, **more: str) -> str:
        words = ("--for", "paul", "--to", to, "--until", "2099-01-05", "--from", "2099-01-01", "-m", "leave")
        done = peopled.run(
            "delegations", "add", *words, *[w for k, v in more.items() for w in (f"--{k}", v)], person="ada"
        )
        assert done.code == 0, done.err
        return done.err

    assert handed("otto") == ""
    assert handed("vera") == (
        "warning: vera is no approver, so that they could decide nothing; an admin can grant them the role\n"
    )
    assert "warning: veraa has no account here (did you mean 'vera'?), and could decide nothing" in handed("veraa")
    assert peopled.run("users", "disable", "vera", person="ada").code == 0
    assert "switched off" in handed("vera", group="hr")
