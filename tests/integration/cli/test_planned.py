"""Publishing exactly what was looked at: ``publish --dry-run`` names the change, ``--plan`` takes no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.commands import Ran, called

ONBOARDING = Path(__file__).parents[3] / "src/topstitch/examples/onboarding/employee-onboarding.yaml"


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    path = tmp_path / "w.yaml"
    path.write_text(
        ONBOARDING.read_text().replace("remind: 2h", "remind: 1h").replace("version: 1.0.0", "version: 1.1.0")
    )
    return path


def publish(folder: Path, file: Path, *words: str) -> Ran:
    return called("publish", str(file), "--data", str(folder), *words)


def in_force(folder: Path) -> str:
    return called("workflows", "list", "--jq", ".items[0].version", "--data", str(folder)).out.strip()


def test_a_dry_run_prints_the_digest_and_the_command_that_publishes_it(copied: Path, draft: Path) -> None:
    told = publish(copied, draft, "--dry-run")
    digest = publish(copied, draft, "--dry-run", "--jq", ".plan_digest").out.strip()
    assert f"Plan {digest}\n" in told.out
    short = digest.removeprefix("sha256:")[:12]
    assert f"Publish exactly this with: topstitch publish {draft} --plan {short} --data {copied}" in told.err
    assert in_force(copied) == "1.0.0"
    assert publish(copied, draft, "--plan", short).code == 0
    assert in_force(copied) == "1.1.0"


def test_nothing_is_published_when_the_file_moved_since(copied: Path, draft: Path) -> None:
    digest = publish(copied, draft, "--dry-run", "--jq", ".plan_digest").out.strip()
    draft.write_text(draft.read_text().replace("remind: 1h", "remind: 3h"))
    for more in ([], ["--dry-run"]):
        refused = publish(copied, draft, "--plan", digest, *more)
        assert (refused.code, "[stale-plan]" in refused.err) == (6, True)
    assert in_force(copied) == "1.0.0"


def test_nothing_is_published_when_what_is_in_force_moved_since(copied: Path, draft: Path, tmp_path: Path) -> None:
    text = draft.read_text()
    draft.write_text(text.replace("version: 1.1.0", "version: 1.2.0"))
    digest = publish(copied, draft, "--dry-run", "--jq", ".plan_digest").out.strip()
    other = tmp_path / "other.yaml"
    other.write_text(text)
    assert publish(copied, other).code == 0
    refused = publish(copied, draft, "--plan", digest)
    assert (refused.code, "[stale-plan]" in refused.err) == (6, True)
    assert in_force(copied) == "1.1.0"


def test_a_first_version_has_a_plan_too(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert called("init", "--data", str(folder)).code == 0
    file = folder / "employee-onboarding.yaml"
    digest = publish(folder, file, "--dry-run", "--jq", ".plan_digest").out.strip()
    assert publish(folder, file, "--plan", digest).code == 0
    assert publish(folder, file, "--plan", digest).code == 6


@pytest.mark.parametrize(
    ("words", "said"), [(["--plan", "71b0"], "too short"), (["--plan", "x" * 8, "--pending"], "FILE")]
)
def test_a_plan_that_cannot_be_meant_is_wrong_usage(copied: Path, draft: Path, words: list[str], said: str) -> None:
    done = publish(copied, draft, *words)
    assert (done.code, said in done.err) == (2, True)
