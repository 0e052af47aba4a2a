"""What the e-mail connector's actions take and return."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from topstitch.connectors.contract import Model, PersonalText


class Message(Model):
    """A message from a template."""

    to: PersonalText
    cc: PersonalText | None = None
    template: str
    data: Annotated[dict[str, Any], Field(json_schema_extra={"x-personal": True})]


class Sent(Model):
    """A message that the mail server took."""

    message_id: str


class MessageRef(Model):
    """A message by its Message-ID."""

    message_id: str


class Delivery(Model):
    """How far a message came."""

    message_id: str
    state: Literal["queued", "sent", "delivered", "bounced", "unknown"]


class Notice(Model):
    """A message in plain text."""

    to: PersonalText
    subject: PersonalText
    text: PersonalText
