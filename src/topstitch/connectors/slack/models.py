"""What the Slack connector's actions take and return, in our words."""

from __future__ import annotations

from typing import Literal

from topstitch.connectors.contract import Model, PersonalText


class Place(Model):
    """A person and a channel by name."""

    upn: PersonalText
    channel: str


class Invited(Model):
    """A person in a channel, or invited to it."""

    channel_id: str
    state: Literal["member", "invited"]


class Removed(Model):
    """Whether there was somebody to remove."""

    removed: bool


class Membership(Model):
    """Whether a person is in a channel; an invitation that is open counts."""

    member: bool
    state: Literal["member", "invited", "absent"]


class Post(Model):
    """A message to a channel."""

    channel: str
    text: str


class Posted(Model):
    """A message that was posted."""

    ts: str
    channel_id: str


class Fact(Model):
    """One field of what is asked about."""

    label: PersonalText
    value: PersonalText


class Asking(Model):
    """A question with buttons: to a channel, or to one person by address."""

    to: PersonalText | None = None
    channel: str | None = None
    approval: str
    payload_digest: str
    title: PersonalText
    question: PersonalText
    facts: list[Fact]
    why: list[PersonalText]
    if_approved: PersonalText
    if_refused: PersonalText
    if_unanswered: PersonalText
    ends_at: str
    risk: int
    link: str | None = None


class Settling(Model):
    """A question that is decided, to be shown without its buttons."""

    channel_id: str
    ts: str
    title: PersonalText
    said: PersonalText
