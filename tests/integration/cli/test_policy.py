"""The commands on policy bundles as people run them, and the store that keeps bundles, on both databases."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.commands import Ran, called
from topstitch.bootstrap.law import Laws
from topstitch.foundation.errors import AuthorError, ConflictError, NotAllowedError, NotFoundError, RequestError
from topstitch.governance.policy import NO_LAW
from topstitch.model.record import Actor, ActorKind
from topstitch.office.lawmaking import check_bundle, opened, publish
from topstitch.store import Store, policies

STANDARD = Path(__file__).parents[3] / "src/topstitch/examples/policies/standard"
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
CAROL = Actor(ActorKind.HUMAN, "carol@acme.example")
HEAD = "policy: small\nversion: {}\nowner: {{team: controls}}\n"
TIERS = "defaults: {tier_1: auto, tier_2: auto, tier_3: auto, tier_4: approve(owner)}\n"
TESTS = "tests: [{given: {step: {risk: 4}}, then: approve(owner)}]\n"


def small(version: str = "1.0.0", tiers: str = TIERS, tests: str = TESTS) -> dict[str, str]:
    """Return the files of a bundle that fits on a page."""
    return {"policy.yaml": HEAD.format(version) + tiers + tests}


# --- the store --------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An open store on an empty database."""
    address = request.getfixturevalue("postgres_dsn") if request.param == "postgresql" else f"{tmp_path}/topstitch.db"
    with Store.open(address, key_file=tmp_path / "installation.key") as made:
        yield made


async def put(store: Store, files: dict[str, str], parent: str | None = None, where: str = "prod", at: int = 0) -> str:
    """Publish a bundle; return its digest."""
    checked = check_bundle(files)
    assert checked.bundle is not None
    time = NOW + timedelta(seconds=at)
    await publish(store, checked, environment=where, by=CAROL, at=time, parent=parent)
    return checked.bundle.digest


async def test_bundles_stay_for_ever_and_one_is_in_force_in_each_environment(store: Store):
    one = await put(store, small())
    two = await put(store, small("1.1.0"), parent=one, at=60)
    elsewhere = await put(store, small(), where="test", at=90)
    assert elsewhere == one
    assert [move.digest for move in await policies.history(store, "prod")] == [two, one]
    in_force = await policies.in_force(store, "prod")
    assert in_force is not None
    assert (in_force.moved_by, in_force.moved_at) == ("human:carol@acme.example", NOW + timedelta(seconds=60))
    assert {opened(await policies.get(store, digest)).digest for digest in (one, two)} == {one, two}
    assert await policies.in_force(store, "stage") is None
    with pytest.raises(NotFoundError):
        await policies.get(store, "sha256:none")


async def test_an_earlier_bundle_may_be_put_back_and_what_is_in_force_changes_nothing(store: Store):
    one = await put(store, small())
    assert await put(store, small()) == one
    two = await put(store, small("1.1.0"), parent=one)
    await put(store, small(), parent=two)
    assert [move.digest for move in await policies.history(store, "prod")] == [one, two, one]
    assert await policies.revision(store, "prod") == 3


async def test_a_published_version_never_changes(store: Store):
    one = await put(store, small())
    with pytest.raises(ConflictError, match="raise the version") as refused:
        await put(store, small(tiers=TIERS.replace("tier_3: auto", "tier_3: notify(owner)")), parent=one)
    assert refused.value.code == "version-published"
    assert await policies.revision(store, "prod") == 1


async def test_of_two_publishers_one_hears_of_the_other(store: Store):
    one = await put(store, small())
    done = await asyncio.gather(
        put(store, small("1.1.0"), parent=one), put(store, small("1.2.0"), parent=one), return_exceptions=True
    )
    (refused,) = [each for each in done if isinstance(each, ConflictError)]
    assert refused.code == "stale-parent"
    assert await policies.revision(store, "prod") == 2


async def test_A10_what_another_process_publishes_holds_at_the_next_look(store: Store, tmp_path: Path):
    laws = Laws(store, "prod")
    assert await laws.refresh() is NO_LAW
    with Store.open(store.url, key_file=tmp_path / "installation.key", threads=False) as elsewhere:
        one = await put(elsewhere, small())
        law = await laws.refresh()
        assert law.in_force is not None
        assert law.in_force.digest == laws.digest == one
        two = await put(elsewhere, small("1.1.0"), parent=one)
        await put(elsewhere, small("1.2.0"), where="test")
        assert (await laws.refresh()).pinned(one) is law.in_force
        assert laws.digest == two


async def test_a_bundle_with_a_failing_test_or_a_finding_never_gets_through_the_door(store: Store):
    failing = check_bundle(small(tests=TESTS.replace("approve(owner)", "auto")))
    broken = check_bundle(small(tests=""))
    for checked, says in ((failing, "of its tests these fail: 1"), (broken, "findings")):
        with pytest.raises(AuthorError, match=says):
            await publish(store, checked, environment="prod", by=CAROL, at=NOW, parent=None)
    assert await policies.revision(store, "prod") == 0
    assert await policies.others(store, ()) == []


async def test_an_agent_never_publishes_a_policy(store: Store):
    agent = Actor(ActorKind.AGENT, "fixer")
    with pytest.raises(NotAllowedError, match="a person has to do it"):
        await publish(store, check_bundle(small()), environment="prod", by=agent, at=NOW, parent=None)


def test_a_folder_with_more_files_than_are_read_is_refused():
    with pytest.raises(RequestError, match="at most 50"):
        check_bundle({f"{number}.yaml": "" for number in range(51)})


# --- the commands -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shipped bundle, to be changed."""
    return Path(shutil.copytree(STANDARD, tmp_path / "policy"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose database has been opened once."""
    Store.open(f"{tmp_path}/topstitch.db").close()
    return tmp_path


def policy(data: Path, *words: str) -> Ran:
    return called("policy", *words, "--data", str(data), TOPSTITCH_PERSON="carol@acme.example")


def change(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_shipped_bundle_passes_its_own_tests(data: Path):
    done = policy(data, "test", str(STANDARD), "--json")
    assert done.code == 0
    assert done.json()["clean"]
    assert len(done.json()["tests"]) == 27
    assert "27 of 27 tests pass" in policy(data, "test", str(STANDARD)).out


def test_a_failing_test_is_named_and_nothing_is_published(data: Path, folder: Path):
    change(folder, "soft.yaml", "2500 USD", "1000 USD")
    for words in (("test", str(folder)), ("publish", str(folder))):
        done = policy(data, *words)
        assert done.code == 3
        assert (
            "test 5 fails\n  expected auto\n  got      approve(manager_of(subject))\n  by       equipment-2500"
            in done.out
        )
    assert "Nothing was published." in done.err
    assert policy(data, "show", "--json").json()["bundle"] is None


def test_a_finding_has_its_place_and_nothing_is_published(data: Path, folder: Path):
    change(folder, "soft.yaml", "step.risk == 4", "step.rsik == 4")
    done = policy(data, "publish", str(folder))
    assert done.code == 3
    assert "soft.yaml:21:15: error[policy-when]" in done.out
    assert "rsik" in done.out
    assert policy(data, "show", "--json").json()["history"] == []


def test_publish_and_show_say_what_is_in_force_since_when_and_by_whom(data: Path, folder: Path):
    first = policy(data, "publish", str(folder), "--json")
    assert first.code == 0, first.err
    change(folder, "bundle.yaml", "version: 1.0.0", "version: 1.1.0")
    change(folder, "bundle.yaml", "tier_4: approve(group:internal-controls)", "tier_4: approve(group:risk)")
    change(folder, "tests.yaml", "approve(group:internal-controls)", "approve(group:risk)")
    dry = policy(data, "publish", str(folder), "--dry-run")
    assert "~ tier 4: approve(group:internal-controls) → approve(group:risk)" in dry.out
    assert policy(data, "show", "--json").json()["digest"] == first.json()["digest"]
    second = policy(data, "publish", str(folder), "--as", "dave@acme.example", "--json").json()
    assert second["parent"] == first.json()["digest"]
    shown = policy(data, "show", "--json").json()
    assert (shown["bundle"], shown["in_force"]) == ("standard@1.1.0", True)
    assert [one["by"] for one in shown["history"]] == ["human:dave@acme.example", "human:carol@acme.example"]
    listed = policy(data, "list", "--json").json()["items"]
    assert [(one["bundle"], one["in_force"]) for one in listed] == [("standard@1.1.0", True), ("standard@1.0.0", False)]
    assert "standard@1.0.0" in policy(data).out
    assert policy(data, "list", "--environment", "test", "--json").json()["items"] == []
    page = policy(data, "show").out
    for part in ("equipment-2500", "in force in prod: standard@1.1.0 from", "before in prod: standard@1.0.0"):
        assert part in page
    older = policy(data, "show", "standard@1.0.0", "--json").json()
    assert (older["digest"], older["in_force"]) == (first.json()["digest"], False)
    assert "is in force in prod already" in policy(data, "publish", str(folder)).out


def test_a_stale_parent_ends_with_6_and_another_environment_has_a_bundle_of_its_own(data: Path, folder: Path):
    assert policy(data, "publish", str(folder), "--environment", "test").code == 0
    assert policy(data, "show", "--json").json()["bundle"] is None
    assert policy(data, "show", "--environment", "test", "--json").json()["bundle"] == "standard@1.0.0"
    stale = policy(data, "publish", str(folder), "--parent", "sha256:of-something-else")
    assert (stale.code, "stale-parent" in stale.err) == (6, True)


def test_what_is_not_there_is_said_with_the_remedy(data: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for words, code, says in (
        (("test", str(tmp_path / "nowhere")), 1, "there is no folder"),
        (("test", str(tmp_path / "empty")), 1, "holds no .yaml file"),
        (("show", "none@1.0.0"), 5, "topstitch policy show lists them"),
        (("explain", "ins_none", "identity"), 5, "topstitch instances lists them"),
    ):
        done = policy(data, *words)
        assert (done.code, says in done.err) == (code, True), done.err
    assert "the definitions decide" in policy(data, "show").err


def test_A10_a_decision_of_the_definition_alone_is_explained_too(finished: tuple[Path, Ran]):
    data = finished[0]
    name = called("instances", "--data", str(data), "--json").json()["items"][-1]["id"]
    shown = policy(data, "explain", name, "identity")
    assert shown.code == 0, shown.err
    assert "because of definition:auto_when of the definition, sha256:" in shown.out
    assert "the same answer" in shown.out
    wrong = policy(data, "explain", name, "idenity")
    assert wrong.code == 5
    assert "decided were" in wrong.err


def test_H07_replay_over_the_demo_changes_nothing_with_the_shipped_bundle(finished: tuple[Path, Ran], folder: Path):
    done = policy(finished[0], "replay", str(folder), "--json")
    assert done.code == 0, done.err
    assert (done.json()["decisions"] > 20, done.json()["changes"]) == (True, [])
    change(folder, "soft.yaml", "2500 USD", "1000 USD")  # its tests fail now, and asking is free
    lower = policy(finished[0], "replay", str(folder))
    assert "equipment-2500" in lower.out
    assert "of the last" in lower.err
