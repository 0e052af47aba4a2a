"""Decides who must act when something goes wrong.

    TopstitchError
    ├── AuthorError           edits the definition
    ├── RequestError          the caller sent something that cannot be taken
    │   ├── NotFoundError     names nothing that exists
    │   ├── NotAllowedError   this actor may not do it
    │   └── ConflictError     stale, already decided, or somebody else was first
    ├── OperatorError         configuration, files, database, ports
    ├── TamperError           the auditor: a record is not what it was
    └── ConnectorError        a business system
        ├── TransientError        try again, perhaps not before a time
        ├── PermanentError        never as it stands
        ├── ChangedError          someone else changed it: read, then decide
        ├── UnknownOutcomeError   sent, no answer: look up before anything else
        └── CredentialError       the connection itself is refused: refresh, then pause it

Each carries a stable code, a message for the person that ends with the remedy, and detail
for the log. A step that fails is not an exception but a value in an outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class TopstitchError(Exception):
    """The root. ``code`` is stable; ``message`` says what happened and ends with the remedy."""

    def __init__(self, code: str, message: str, *, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = dict(detail or {})


class AuthorError(TopstitchError):
    """The author edits the definition."""


class RequestError(TopstitchError):
    """The caller sends something else."""


class NotFoundError(RequestError):
    """The caller names nothing that exists."""


class NotAllowedError(RequestError):
    """This actor may not do this."""


class ConflictError(RequestError):
    """Somebody else was first, or the caller's picture is stale."""


class OperatorError(TopstitchError):
    """The operator changes configuration, a file, the database or a port."""


class TamperError(TopstitchError):
    """The auditor looks: a record is not what it was."""


class ConnectorError(TopstitchError):
    """A business system did not do what it was asked.

    ``status`` is the system's own status, ``request_id`` the id it gave the request,
    ``body`` the answer (cut, and redacted before it is kept).
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        body: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code, message, detail=detail)
        self.status = status
        self.request_id = request_id
        self.body = body


class TransientError(ConnectorError):
    """Nothing was done; try again, not before ``retry_after_seconds`` when the system named a time."""

    def __init__(self, code: str, message: str, *, retry_after_seconds: float | None = None, **rest: Any) -> None:
        super().__init__(code, message, **rest)
        self.retry_after_seconds = retry_after_seconds


class PermanentError(ConnectorError):
    """Nothing was done and nothing will be, as it stands."""


class ChangedError(ConnectorError):
    """The record is not as it was when it was read, or the key is taken."""


class UnknownOutcomeError(ConnectorError):
    """Sent, and no answer that tells whether it was done. A timeout is one."""


class CredentialError(ConnectorError):
    """The system refuses the credential itself; one silent refresh has been tried."""
