"""What the Salesforce connector's actions and events hold, in our words."""

from __future__ import annotations

from topstitch.connectors.contract import DateText, Model, MoneyText, PersonalText


class NewAssignment(Model):
    """A place in the sales team."""

    user_id: str
    territory: str
    role: str
    reports_to: PersonalText
    quota: MoneyText | None = None


class Assigned(Model):
    """An assignment that stands."""

    assignment_id: str


class UserRef(Model):
    """A user by the id that the identity provider gives."""

    user_id: str


class Assignment(Model):
    """An assignment as it is; ``found`` is false and the texts are empty when there is none."""

    user_id: str
    territory: str
    role: str
    quota: MoneyText | None = None
    found: bool


class RemoveAssignment(Model):
    """An assignment to remove."""

    user_id: str
    territory: str


class Removed(Model):
    """Whether there was something to remove."""

    user_id: str
    removed: bool


class OpportunityRef(Model):
    """An opportunity by id."""

    opportunity_id: str


class Opportunity(Model):
    """An opportunity as it is."""

    opportunity_id: str
    name: str
    stage: str
    account_id: str | None = None
    amount: MoneyText | None = None
    close_date: DateText
    won: bool


class OpportunityChange(Model):
    """What to change of an opportunity; what is left out stays."""

    opportunity_id: str
    stage: str | None = None
    amount: MoneyText | None = None
    close_date: DateText | None = None


class OpportunityChanged(Model):
    """An opportunity that was changed."""

    opportunity_id: str


class AccountRef(Model):
    """An account by id."""

    account_id: str


class Account(Model):
    """An account as it is."""

    account_id: str
    name: str
    industry: str | None = None
    country: str | None = None


class OpportunityClosedWon(Model):
    """An opportunity was won."""

    opportunity_id: str
    name: str
    account_id: str
    close_date: DateText
    amount: MoneyText | None = None
    owner_id: str | None = None
