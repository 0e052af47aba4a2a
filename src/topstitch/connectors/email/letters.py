"""Decides what a message says: subject, text and HTML from a template, or plain words.

A template is three files, ``<name>.subject.j2``, ``.txt.j2`` and ``.html.j2``; those of the
connection's own folder come before the packaged ones. Templates are sandboxed, and a value
they need but were not given is an error, never an empty place in a letter.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from topstitch.foundation.errors import PermanentError
from topstitch.foundation.later import Later

if TYPE_CHECKING:
    import jinja2
    from jinja2 import sandbox
else:
    jinja2, sandbox = Later("jinja2"), Later("jinja2.sandbox")

KEY_HEADER: Final = "X-Topstitch-Key"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Letters:
    """The templates of one connection."""

    def __init__(self, folder: Path | None) -> None:
        packaged = jinja2.PackageLoader("topstitch.connectors.email", "templates")
        loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(folder), packaged]) if folder else packaged
        self._environment = sandbox.ImmutableSandboxedEnvironment(
            loader=loader,
            undefined=jinja2.StrictUndefined,
            autoescape=lambda name: bool(name and name.endswith(".html.j2")),
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, template: str, data: Mapping[str, Any]) -> tuple[str, str, str]:
        """Return subject, text and HTML; raise ``PermanentError`` if a template or a value is missing."""
        if not _NAME.fullmatch(template):
            raise PermanentError(
                "template_unknown", f"{template!r} is no name of a template; use letters, digits and -"
            )
        try:
            subject, text, html = (
                self._environment.get_template(f"{template}.{part}.j2").render(**data)
                for part in ("subject", "txt", "html")
            )
        except jinja2.TemplateNotFound as error:
            raise PermanentError(
                "template_unknown",
                f"there is no {error.name}; add it to the connection's templates folder or correct the name",
            ) from None
        except jinja2.UndefinedError as error:
            raise PermanentError(
                "template_data_missing", f"template {template}: {error.message}; add it to data:"
            ) from None
        except jinja2.TemplateError as error:
            raise PermanentError(
                "template_broken", f"template {template}: {error.message}; correct the template"
            ) from None
        return " ".join(subject.split()), text, html


def message_id(key: str, domain: str) -> str:
    """Return the Message-ID that follows from our key: the same for every try."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}.topstitch@{domain}>"


def compose(
    *,
    sender: str,
    to: str,
    cc: str | None,
    subject: str,
    text: str,
    html: str | None,
    key: str,
    domain: str,
    now: datetime,
) -> EmailMessage:
    """Return a message that carries our key; raise ``PermanentError`` if an address cannot stand in a header."""
    message = EmailMessage()
    try:
        message["From"], message["To"], message["Subject"] = sender, to, subject
        if cc:
            message["Cc"] = cc
        message["Message-ID"] = message_id(key, domain)
        message[KEY_HEADER] = key
    except ValueError:
        raise PermanentError(
            "address_invalid", "an address or the subject holds a line break; correct it in the step"
        ) from None
    message["Date"] = format_datetime(now)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message
