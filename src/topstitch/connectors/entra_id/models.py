"""What the Entra ID connector's actions take and return, in our words."""

from __future__ import annotations

from pydantic import Field

from topstitch.connectors.contract import DateText, Model, PersonalText


class NewUser(Model):
    """An account to create."""

    upn: PersonalText
    display_name: PersonalText
    department: str
    groups: list[str]
    licenses: list[str]
    manager_upn: PersonalText | None = None
    employee_id: str | None = None


class CreatedUser(Model):
    """An account that is complete and enabled."""

    user_id: str
    upn: PersonalText
    enrolment_link: PersonalText


class ByName(Model):
    """A user by principal name."""

    upn: PersonalText


class User(Model):
    """An account as it is."""

    user_id: str
    upn: PersonalText
    enabled: bool
    department: str
    groups: list[str]
    licenses: list[str]
    employee_id: str | None = None


class UserQuery(Model):
    """Either of what tells a person apart."""

    employee_id: str | None = None
    upn: PersonalText | None = None


class FoundUser(Model):
    """Whether there is such an account."""

    found: bool
    user_id: str | None = None
    upn: PersonalText | None = None
    enabled: bool | None = None


class Disable(Model):
    """An account to disable."""

    user_id: str
    remove_groups: bool | None = Field(None, description="also leave all groups and give licences back")


class ById(Model):
    """A user by id."""

    user_id: str


class Enabled(Model):
    """Whether an account is enabled now."""

    user_id: str
    enabled: bool


class Membership(Model):
    """A user and groups by name."""

    user_id: str
    groups: list[str]


class Since(Model):
    """From which day on."""

    since: DateText


class ListedUser(Model):
    """An account with the number of its person."""

    employee_number: str
    user_id: str
    upn: PersonalText


class ListedUsers(Model):
    """Accounts."""

    rows: list[ListedUser]


class GroupName(Model):
    """A group by name."""

    group: str


class PersonRef(Model):
    """A person by id, principal name or e-mail."""

    person: PersonalText


class Person(Model):
    """Somebody who can be asked."""

    id: str
    name: PersonalText
    email: PersonalText


class People(Model):
    """People who can be asked."""

    people: list[Person]
