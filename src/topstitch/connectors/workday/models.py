"""What the Workday connector's actions and events hold, in our words."""

from __future__ import annotations

from topstitch.connectors.contract import DateText, Model, MoneyText, PersonalText


class HireCompleted(Model):
    """A hire was completed: the business process ended successfully."""

    employee_id: str
    first_name: PersonalText
    last_name: PersonalText
    department: str
    location: str
    start_date: DateText
    manager_id: str
    cost_center: str
    job_profile: str
    initiated_by: str
    personal_email: PersonalText | None = None


class HireRescinded(Model):
    """A hire that was completed was taken back."""

    employee_id: str
    transaction_id: str


class StartDateChanged(Model):
    """The first day of a hire moved."""

    employee_id: str
    start_date: DateText


class WorkerRef(Model):
    """A worker by number."""

    worker_id: str


class Worker(Model):
    """A worker as HR knows them."""

    worker_id: str
    name: PersonalText
    first_name: PersonalText
    last_name: PersonalText
    email: PersonalText
    active: bool
    department: str | None = None
    location: str | None = None
    manager_id: str | None = None
    job_profile: str | None = None
    cost_center: str | None = None
    start_date: DateText | None = None


class ProfileRef(Model):
    """A job profile by id."""

    profile_id: str


class JobProfile(Model):
    """What a job brings with it. ``territory`` and ``crm_role`` are empty for jobs without one."""

    profile_id: str
    active: bool
    elevated: bool
    equipment_tier: str
    groups: list[str]
    licenses: list[str]
    team_channel: str
    territory: str
    crm_role: str
    quota_carrying: bool
    quota: MoneyText | None = None


class Since(Model):
    """From which day on."""

    since: DateText


class Hire(Model):
    """Who started, and when."""

    employee_id: str
    hired_on: DateText


class Hires(Model):
    """Hires."""

    rows: list[Hire]


class PersonRef(Model):
    """A person by worker number, employee number or e-mail."""

    person: PersonalText


class Person(Model):
    """Somebody who can be asked."""

    id: str
    name: PersonalText
    email: PersonalText


class People(Model):
    """People who can be asked."""

    people: list[Person]
