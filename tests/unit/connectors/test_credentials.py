"""Credentials come from references only, and their values are shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from topstitch.connectors.credentials import HIDDEN, Credentials, Redactor, check_reference, read_reference, redact
from topstitch.foundation.errors import OperatorError

CANARY = "canary-7f3a9c-secret"


def test_G04_a_value_in_place_of_a_reference_is_refused_without_repeating_it() -> None:
    with pytest.raises(OperatorError) as caught:
        check_reference(CANARY)
    assert CANARY not in caught.value.message
    assert "env:NAME" in caught.value.message


def test_a_reference_reads_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPSTITCH_TEST_SECRET", CANARY)
    (tmp_path / "secret").write_text(f"{CANARY}\n")
    assert read_reference("env:TOPSTITCH_TEST_SECRET") == CANARY
    assert read_reference("file:secret", tmp_path) == CANARY


@pytest.mark.parametrize("reference", ["env:TOPSTITCH_NOT_SET", "file:/does/not/exist"])
def test_an_unreadable_reference_names_itself_and_the_remedy(reference: str) -> None:
    with pytest.raises(OperatorError) as caught:
        Credentials("crm", {"client_secret": reference}, Redactor()).get("client_secret")
    assert "client_secret of connection 'crm'" in caught.value.message
    assert reference.partition(":")[2] in caught.value.message


def test_a_credential_that_is_not_named_says_where_to_add_it() -> None:
    with pytest.raises(OperatorError, match=r"\[connections\.crm\.credentials\]"):
        Credentials("crm", {}, Redactor()).get("client_id")


def test_C06_a_rotated_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("first-value")
    credentials = Credentials("crm", {"token": "file:secret"}, Redactor(), tmp_path)
    assert credentials.get("token") == "first-value"
    assert not credentials.read_again()
    (tmp_path / "secret").write_text("second-value")
    assert credentials.read_again()
    assert credentials.get("token") == "second-value"


def test_G04_neither_credentials_nor_redactor_show_a_value(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(CANARY)
    redactor = Redactor()
    credentials = Credentials("crm", {"token": "file:secret"}, redactor, tmp_path)
    credentials.get("token")
    assert CANARY not in repr(credentials) + repr(redactor) + str(credentials)


@pytest.mark.parametrize(
    "form",
    [CANARY, "canary-7f3a9c-secret%2Fx", f"Basic {'Y2FuYXJ5LTdmM2E5Yy1zZWNyZXQ='}", f"https://x/?k={CANARY}&y=1"],
)
def test_G04_a_known_secret_is_hidden_in_each_form_it_travels_in(form: str) -> None:
    redactor = Redactor()
    redactor.learn(CANARY)
    shown = redactor.text(f"sent {form} to them")
    assert CANARY not in shown
    assert "Y2FuYXJ5LTdmM2E5Yy1zZWNyZXQ=" not in shown


def test_G04_secret_like_names_are_hidden_even_when_the_value_was_never_read() -> None:
    request = {
        "headers": {"Authorization": "Bearer abc.def.ghi", "X-Api-Key": "k-123456", "Idempotency-Key": "ins_1:step"},
        "body": {
            "passwordProfile": {"password": "hunter2hunter2"},
            "name": "Priya",
            "items": [{"client_secret": "s3cr3t"}],
        },
        "text": "client_secret=abcdef&grant_type=x, Bearer aaaaaaaa.bbbb",
    }
    shown = redact(request)
    assert shown["headers"] == {"Authorization": HIDDEN, "X-Api-Key": HIDDEN, "Idempotency-Key": "ins_1:step"}
    assert shown["body"] == {"passwordProfile": HIDDEN, "name": "Priya", "items": [{"client_secret": HIDDEN}]}
    assert "abcdef" not in shown["text"]
    assert "aaaaaaaa.bbbb" not in shown["text"]
    assert "grant_type=x" in shown["text"]
