"""The company whose systems are simulated: its people, groups, job profiles, equipment, territories.

The vendors' ``seed`` methods read it, so that one person is the same person in every
system. Pure data; nothing here changes at run time.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

TENANT: Final = "acme"
DOMAIN: Final = "corp.example"
DIRECTORY_ID: Final = "8f6cde2e-6b1c-4d6e-9f5e-0c1f1f0a7e11"
_NAMESPACE: Final = uuid.UUID("6f2d4c1e-2f0b-4c66-9a51-6b6b0f3a7c00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who works at the company when a story begins."""

    worker_id: str
    first: str
    last: str
    title: str
    department: str
    profile: str
    manager: str
    location: str = "LOC-BER"
    cost_center: str = "CC-4100"
    hired: str = "2019-04-01"

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"

    @property
    def email(self) -> str:
        """The address at work, which is also the directory's user principal name."""
        return f"{self.first}.{self.last}@{DOMAIN}".lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProfile:
    """What a job brings with it."""

    id: str
    name: str
    groups: tuple[str, ...]
    licenses: tuple[str, ...] = ("E3",)
    tier: str = "standard"
    channel: str = "general"
    active: bool = True
    elevated: bool = False
    territory: str = ""
    crm_role: str = ""
    quota_carrying: bool = False
    quota: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that can be ordered."""

    name: str
    tier: str
    price: str
    model: str


def stable_id(kind: str, name: str) -> str:
    """Return the same UUID for the same thing, always."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{name}"))


def hex_id(kind: str, name: str) -> str:
    """Return the same 32 hexadecimal digits for the same thing, always."""
    return stable_id(kind, name).replace("-", "")


def _p(worker_id: str, name: str, title: str, department: str, profile: str, manager: str) -> Person:
    first, last = name.split(" ", 1)
    center = {"Sales": "CC-7300", "People": "CC-2100", "IT": "CC-4400", "Design": "CC-4200"}.get(department, "CC-4100")
    return Person(
        worker_id=worker_id,
        first=first,
        last=last,
        title=title,
        department=department,
        profile=profile,
        manager=manager,
        cost_center=center,
    )


PEOPLE: Final = (
    _p("W-100001", "Amara Okafor", "Chief Executive Officer", "Executive", "EXEC-CEO", ""),
    _p("W-100010", "Ingrid Solberg", "VP Engineering", "Engineering", "ENG-VP", "W-100001"),
    _p("W-100011", "Tomas Herrera", "Engineering Manager, Platform", "Engineering", "ENG-MGR", "W-100010"),
    _p("W-100012", "Mei Tanaka", "Head of Design", "Design", "DES-HEAD", "W-100010"),
    _p("W-100020", "Jonas Weber", "Head of IT", "IT", "IT-HEAD", "W-100001"),
    _p("W-100021", "Sara Lindqvist", "Identity Administrator", "IT", "SEC-ADMIN", "W-100020"),
    _p("W-100022", "Femi Adeyemi", "IT Operations Engineer", "IT", "IT-OPS", "W-100020"),
    _p("W-100023", "Lucia Romano", "IT Operations Engineer", "IT", "IT-OPS", "W-100020"),
    _p("W-100030", "Grace Mbeki", "Chief People Officer", "People", "PPL-CHIEF", "W-100001"),
    _p("W-100031", "Helena Novak", "HR Partner", "People", "PPL-PARTNER", "W-100030"),
    _p("W-100032", "Omar Haddad", "People Operations Specialist", "People", "PPL-OPS", "W-100030"),
    _p("W-100040", "Victor Stone", "Chief Revenue Officer", "Sales", "SAL-CHIEF", "W-100001"),
    _p("W-100041", "Dana Whitfield", "Sales Director, EMEA", "Sales", "SAL-DIR", "W-100040"),
    _p("W-100042", "Ruth Abend", "Sales Operations Manager", "Sales", "SAL-OPS", "W-100040"),
    _p("W-100043", "Kofi Mensah", "Sales Operations Analyst", "Sales", "SAL-OPS", "W-100042"),
    _p("W-100050", "Nils Berg", "Software Engineer", "Engineering", "ENG-SWE", "W-100011"),
)
BY_ID: Final = {person.worker_id: person for person in PEOPLE}
HR_PARTNER: Final = BY_ID["W-100031"]

GROUPS: Final = {
    "all-staff": tuple(person.worker_id for person in PEOPLE),
    "engineering": ("W-100010", "W-100011", "W-100050"),
    "source-control": ("W-100011", "W-100050"),
    "design": ("W-100012",),
    "sales": ("W-100040", "W-100041", "W-100042", "W-100043"),
    "vpn-users": ("W-100011", "W-100020", "W-100021", "W-100022"),
    "privileged-access": ("W-100020", "W-100021"),
    "identity-admins": ("W-100020", "W-100021"),
    "it-ops": ("W-100022", "W-100023"),
    "it-ops-leads": ("W-100020",),
    "people-operations": ("W-100030", "W-100031", "W-100032"),
    "sales-ops": ("W-100042", "W-100043"),
    "sales-leadership": ("W-100040", "W-100041"),
}

_ENG: Final = ("all-staff", "engineering", "source-control")
PROFILES: Final = (
    JobProfile(id="ENG-SWE", name="Software Engineer", groups=_ENG, channel="team-platform"),
    JobProfile(id="ENG-DATA", name="Data Engineer", groups=_ENG, tier="plus", channel="team-platform"),
    JobProfile(id="ENG-ML", name="Machine Learning Engineer", groups=_ENG, tier="workstation", channel="team-platform"),
    JobProfile(
        id="SEC-ADMIN",
        name="Identity Administrator",
        groups=("all-staff", "vpn-users", "privileged-access"),
        licenses=("E5",),
        channel="team-it",
        elevated=True,
    ),
    JobProfile(
        id="SAL-AE",
        name="Account Executive",
        groups=("all-staff", "sales"),
        licenses=("E3", "CRM"),
        channel="team-sales",
        territory="EMEA-Central",
        crm_role="Account Executive",
        quota_carrying=True,
        quota="1200000",
    ),
    JobProfile(
        id="SAL-SDR",
        name="Sales Development Representative",
        groups=("all-staff", "sales"),
        licenses=("E3", "CRM"),
        channel="team-sales",
        territory="EMEA-North",
        crm_role="Sales Development Rep",
    ),
    JobProfile(
        id="DES-PROD", name="Product Designer", groups=("all-staff", "design"), tier="design", channel="team-design"
    ),
    JobProfile(
        id="IT-OPS", name="IT Operations Engineer", groups=("all-staff", "vpn-users", "it-ops"), channel="team-it"
    ),
    JobProfile(id="PPL-PARTNER", name="HR Partner", groups=("all-staff", "people-operations"), channel="team-people"),
    JobProfile(id="ENG-WEBMASTER", name="Webmaster (retired)", groups=("all-staff",), channel="general", active=False),
)

LICENSES: Final = {
    "E3": ("05e9a617-0261-4cee-bb44-138d3ef5d965", "SPE_E3", 500),
    "E5": ("06ebc4ee-1bb5-47dd-8120-11324bc54e06", "SPE_E5", 50),
    "CRM": (stable_id("sku", "CRM"), "CRM_SEAT", 100),
}
"""Licence name in the job profile -> SKU id, SKU part number, seats."""

EQUIPMENT: Final = (
    Item(name="Laptop 14 inch", tier="standard", price="1399.00", model="NB-14"),
    Item(name="Monitor 27 inch", tier="standard", price="329.00", model="MON-27"),
    Item(name="Dock and keyboard set", tier="standard", price="122.00", model="DOCK-1"),
    Item(name="Laptop 16 inch, 32 GB", tier="plus", price="2049.99", model="NB-16"),
    Item(name="Monitor 27 inch, second", tier="plus", price="329.00", model="MON-27"),
    Item(name="Dock", tier="plus", price="121.00", model="DOCK-2"),
    Item(name="Laptop 16 inch, colour calibrated", tier="design", price="2050.00", model="NB-16C"),
    Item(name="Pen display 16 inch", tier="design", price="450.00", model="PEN-16"),
    Item(name="Workstation, 2 GPUs", tier="workstation", price="3500.00", model="WS-2"),
    Item(name="Monitor 32 inch, 6K", tier="workstation", price="700.00", model="MON-32"),
)
"""Totals per tier: standard 1850.00, plus 2499.99, design 2500.00, workstation 4200.00 USD."""

TERRITORIES: Final = ("EMEA-Central", "EMEA-North", "Americas-West")
ACCOUNTS: Final = (
    ("Nordwind Logistik", "EMEA-Central"),
    ("Hafen AG", "EMEA-Central"),
    ("Fjord Energi", "EMEA-North"),
    ("Pacific Robotics", "Americas-West"),
)
CHANNELS: Final = {
    "general": tuple(person.worker_id for person in PEOPLE),
    "team-platform": ("W-100011", "W-100050"),
    "team-it": ("W-100020", "W-100021", "W-100022", "W-100023"),
    "team-sales": ("W-100040", "W-100041", "W-100042"),
    "team-design": ("W-100012",),
    "team-people": ("W-100030", "W-100031", "W-100032"),
    "it-operations": ("W-100020", "W-100022", "W-100023"),
    "approvals": ("W-100011", "W-100020", "W-100031", "W-100042"),
}
LOCATIONS: Final = {"LOC-BER": "Berlin", "LOC-LIS": "Lisbon", "LOC-AUS": "Austin"}
