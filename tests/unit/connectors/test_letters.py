"""The welcome letters say what they must, and never a password."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from topstitch.connectors.email.letters import Letters, compose, message_id
from topstitch.foundation.errors import PermanentError

DATA = {"name": "Priya Raman", "manager": "Tomas Herrera", "start_date": "2026-02-02", "office": "Berlin"}
LINK = "https://enrol.example/?u=priya"


@pytest.mark.parametrize("template", ["welcome", "welcome-equipment-delayed"])
def test_a_welcome_has_week_team_and_an_enrolment_link(template: str) -> None:
    team = [{"name": "Nils Berg", "role": "Engineer"}]
    subject, text, html = Letters(None).render(template, {**DATA, "enrolment_link": LINK, "team": team})
    assert "Priya Raman" in subject
    assert "\n" not in subject
    for body in (text, html):
        for said in (
            "Day 1",
            "Day 5",
            "Nils Berg",
            "Tomas Herrera",
            "Berlin",
            "2026-02-02",
            "nobody will ever send you a password",
        ):
            assert said.lower() in body.lower()
    assert LINK in text
    assert ("delayed" in text.lower()) == (template == "welcome-equipment-delayed")


def test_html_escapes_what_people_are_called() -> None:
    _, _, html = Letters(None).render("welcome", {**DATA, "name": "<script>x</script>"})
    assert "<script>x" not in html


def test_a_missing_value_is_named_and_nothing_is_left_empty() -> None:
    with pytest.raises(PermanentError, match="'office' is undefined"):
        Letters(None).render("welcome", {name: value for name, value in DATA.items() if name != "office"})


@pytest.mark.parametrize("name", ["nope", "../secrets", "a/b", ""])
def test_only_names_of_templates_are_taken(name: str) -> None:
    with pytest.raises(PermanentError):
        Letters(None).render(name, DATA)


def test_a_folder_of_ones_own_comes_first(tmp_path: Path) -> None:
    (tmp_path / "welcome.subject.j2").write_text("Hello {{ name }}")
    subject, text, _ = Letters(tmp_path).render("welcome", DATA)
    assert subject == "Hello Priya Raman"
    assert "YOUR FIRST WEEK" in text


def test_a_template_cannot_reach_out_of_its_sandbox(tmp_path: Path) -> None:
    for part in ("subject", "txt", "html"):
        (tmp_path / f"bad.{part}.j2").write_text("{{ ''.__class__.__mro__ }}")
    with pytest.raises(PermanentError):
        Letters(tmp_path).render("bad", {})


def test_the_message_id_follows_from_the_key() -> None:
    assert message_id("ins_1:mail", "corp.example") == message_id("ins_1:mail", "corp.example")
    assert message_id("ins_1:mail", "corp.example") != message_id("ins_2:mail", "corp.example")


def test_a_line_break_cannot_smuggle_a_header_in() -> None:
    with pytest.raises(PermanentError, match="line break"):
        compose(
            sender="a@corp.example",
            to="b@corp.example\r\nBcc: c@evil.example",
            cc=None,
            subject="s",
            text="t",
            html=None,
            key="k",
            domain="corp.example",
            now=datetime(2026, 1, 5, tzinfo=UTC),
        )
