"""What an answer means by its status, and how a time to wait is read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from topstitch.connectors.http import Answer, classify, origin_of, parse_retry_after
from topstitch.foundation.errors import (
    ChangedError,
    ConnectorError,
    CredentialError,
    PermanentError,
    TransientError,
    UnknownOutcomeError,
)

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "of_read", "of_write"),
    [
        (200, None, None),
        (202, None, UnknownOutcomeError),
        (204, None, None),
        (302, PermanentError, PermanentError),
        (400, PermanentError, PermanentError),
        (401, CredentialError, CredentialError),
        (403, PermanentError, PermanentError),
        (404, PermanentError, PermanentError),
        (408, TransientError, UnknownOutcomeError),
        (409, ChangedError, ChangedError),
        (412, ChangedError, ChangedError),
        (422, PermanentError, PermanentError),
        (429, TransientError, TransientError),
        (500, TransientError, UnknownOutcomeError),
        (501, PermanentError, PermanentError),
        (502, TransientError, UnknownOutcomeError),
        (503, TransientError, UnknownOutcomeError),
        (504, TransientError, UnknownOutcomeError),
    ],
)
def test_the_default_table(
    status: int, of_read: type[ConnectorError] | None, of_write: type[ConnectorError] | None
) -> None:
    answer = Answer(status, {}, b"said so", "X")
    for writes, wanted in ((False, of_read), (True, of_write)):
        error = classify(answer, "X", writes=writes)
        assert type(error) is (wanted or type(None))
        if error is not None:
            assert (error.status, error.body) == (status, "said so")


def test_a_503_that_names_a_time_promises_that_nothing_was_done() -> None:
    error = classify(Answer(503, {}, b""), "X", writes=True, retry_after=9)
    assert isinstance(error, TransientError)
    assert error.retry_after_seconds == 9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("Mon, 05 Jan 2026 09:01:00 GMT", 60),
        ("Mon, 05 Jan 2026 08:00:00 GMT", 0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


def test_garbage_is_permanent_for_a_read_and_unknown_for_a_write() -> None:
    with pytest.raises(PermanentError):
        Answer(200, {}, b'{"half', "X").json()
    with pytest.raises(UnknownOutcomeError):
        Answer(200, {}, b'{"half', "X").json(writes=True)
    with pytest.raises(PermanentError):
        Answer(200, {}, b"[1]", "X").document()


def test_G04_an_origin_shows_no_password() -> None:
    assert origin_of("https://user:secret@host.example:8443/a?b=c") == "https://host.example:8443"
