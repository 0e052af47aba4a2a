"""What there is, is documented: every command, setting, code, metric, status and key of the language.

Most pages of the reference are written from the code by ``tools/reference_pages.py``, so the test is whether they are
what it writes now; the others are looked through for the names. Each test has its planted gap.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from topstitch.metrics.export import NAMES
from topstitch.settings import SETTINGS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

pytestmark = pytest.mark.xdist_group("docs-codes")
"""One worker reads the source once for all of them."""
REFERENCE = ROOT / "docs" / "reference"
METRIC = re.compile(r"^\| `(topstitch_\w+)`", re.MULTILINE)


def test_the_command_line_page_says_what_the_commands_are() -> None:
    from tools import cli_reference

    said = cli_reference.PAGE.read_text(encoding="utf-8")
    assert said == cli_reference.page(), "run: .venv/bin/python tools/cli_reference.py"


def test_every_command_says_what_it_does() -> None:
    from tools import cli_reference

    sections = cli_reference.page().split("\n## ")[1:]
    assert len(sections) > 25
    silent = [section.splitlines()[0] for section in sections if len(section.split("\n\n")) < 3]
    assert silent == []


def test_every_written_page_is_what_the_code_says() -> None:
    from tools import reference_pages

    stale = [
        name
        for name, write in reference_pages.PAGES.items()
        if (REFERENCE / name).read_text(encoding="utf-8") != write()
    ]
    assert not stale, "run: .venv/bin/python tools/reference_pages.py"


def test_every_setting_is_documented() -> None:
    assert not missing((f"`{each.name}`" for each in SETTINGS if each.name != "data"), page("settings.md"))
    assert not missing((f"`{each.variable}`" for each in SETTINGS), page("settings.md"))


def test_every_metric_is_documented_and_no_other() -> None:
    names = set(METRIC.findall(page("metrics.md")))
    assert names == set(NAMES)
    assert not missing(NAMES.values(), page("metrics.md")), "each metric's meaning is the one that a scrape gets"


def test_every_error_code_and_every_code_of_a_finding_says_what_it_means() -> None:
    from tools import error_codes

    every = {**error_codes.error_codes(), **error_codes.finding_codes()}
    assert len(every) > 200
    silent = sorted(code for code, said in every.items() if not all(error_codes.tells(one.words) for one in said))
    assert not silent, "say what these mean in tools/error_codes.py"


def test_every_key_of_the_language_has_words() -> None:
    from tools import language_page

    assert not language_page.unsaid()


def test_every_problem_type_of_the_interface_is_an_error_code() -> None:
    from topstitch.api.problems import TITLES

    assert not missing((f"## {code}\n" for code in TITLES), page("errors.md"))


def test_every_exit_code_is_documented() -> None:
    from topstitch.cli import command

    codes = [v for n, v in vars(command).items() if n.isupper() and type(v) is int]
    assert not missing((f"{code} " for code in codes), page("cli.md").split("## ")[0])


def test_every_section_and_key_of_a_policy_is_documented() -> None:
    from topstitch.governance import bundle_files, facts

    names = [*bundle_files._SECTIONS, *bundle_files._ASKING, *facts.SCHEMAS]
    assert not missing((f"`{name}`" for name in names), page("policies.md"))


@pytest.mark.parametrize(
    "planted",
    [
        "raise OperatorError('planted-code', 'it broke; mend it')",
        "def _fail(code, message):\n    raise OperatorError(code, message)\n_fail('planted-code', 'it broke; mend it')",
        "def f():\n    said = 'it broke; mend it'\n    raise OperatorError('planted-code', said)",
        "WAYS = (('planted-code', 'it broke; mend it'),)\nfor code, said in WAYS:\n    raise OperatorError(code, said)",
    ],
)
def test_a_planted_error_code_is_seen(tmp_path: Path, planted: str) -> None:
    from tools import error_codes

    (tmp_path / "room.py").write_text(
        f"class TopstitchError(Exception): ...\nclass OperatorError(TopstitchError): ...\n{planted}\n", encoding="utf-8"
    )
    said = error_codes.error_codes(tmp_path)["planted-code"]
    assert [(one.kind, one.words) for one in said] == [("OperatorError", "it broke; mend it")]


def test_a_planted_finding_is_seen(tmp_path: Path) -> None:
    from tools import error_codes

    (tmp_path / "language").mkdir()
    (tmp_path / "language" / "x.py").write_text(
        "report.add('planted', (), 'it is so', 'make it other')", encoding="utf-8"
    )
    assert error_codes.finding_codes(tmp_path)["planted"][0].words == "it is so; make it other"


def test_a_planted_status_without_a_sentence_is_refused(tmp_path: Path) -> None:
    from tools import reference_pages

    (tmp_path / "x.py").write_text(
        "class S(StrEnum):\n    NEW = 'new'\n    OLD = 'old'\n    '''Was.'''\n", encoding="utf-8"
    )
    assert list(reference_pages.members("x.py", "S", tmp_path)) == [("new", ""), ("old", "Was.")]


def test_a_planted_key_without_words_and_words_without_a_key_are_seen() -> None:
    from tools import language_page

    words = {name: dict(section) for name, section in language_page.WORDS.items()}
    words["Step"].pop("retry")
    words["Step"]["retries"] = "Nothing."
    assert language_page.unsaid(words) == ["Step.retries", "Step.retry"]


def test_a_planted_gap_in_a_page_is_seen() -> None:
    assert missing(["`port`", "`planted`"], "| `port` | the port |") == ["`planted`"]


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def missing(names: Iterable[str], text: str) -> list[str]:
    """Return the names that a page does not say."""
    return [name for name in names if name not in text]
