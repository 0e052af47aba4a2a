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
