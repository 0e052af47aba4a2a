"""The objects of the simulated Salesforce: fields, what is required, unique or referred to.

Pure data, read by ``salesforce``. A custom field is added to a running simulator with the
setting ``fields: {Object: [name]}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

KEY: Final = "Topstitch_Key__c"
SYSTEM_FIELDS: Final = (
    "Id",
    "CreatedDate",
    "LastModifiedDate",
    "SystemModstamp",
    "IsDeleted",
    "CreatedById",
    "OwnerId",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SObject:
    """What is known of one object."""

    prefix: str
    fields: tuple[str, ...]
    required: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    references: tuple[tuple[str, str], ...] = ()
    booleans: tuple[str, ...] = ()
    can_delete: bool = True


OBJECTS: Final[Mapping[str, SObject]] = {
    "User": SObject(
        prefix="005",
        fields=(
            "Username",
            "FirstName",
            "LastName",
            "Name",
            "Email",
            "Alias",
            "IsActive",
            "ProfileId",
            "UserRoleId",
            "ManagerId",
            "TimeZoneSidKey",
            "LocaleSidKey",
            "EmailEncodingKey",
            "LanguageLocaleKey",
            "FederationIdentifier",
            "EmployeeNumber",
            "Title",
            "Department",
            "ForecastEnabled",
            KEY,
        ),
        required=(
            "Username",
            "LastName",
            "Email",
            "Alias",
            "ProfileId",
            "TimeZoneSidKey",
            "LocaleSidKey",
            "EmailEncodingKey",
            "LanguageLocaleKey",
        ),
        unique=(("Username",), ("FederationIdentifier",)),
        references=(("ManagerId", "User"), ("ProfileId", "Profile"), ("UserRoleId", "UserRole")),
        booleans=("IsActive", "ForecastEnabled"),
        can_delete=False,
    ),
    "Profile": SObject(prefix="00e", fields=("Name",), required=("Name",)),
    "UserRole": SObject(prefix="00E", fields=("Name",), required=("Name",)),
    "Account": SObject(
        prefix="001", fields=("Name", "Industry", "BillingCountry", "Territory__c", KEY), required=("Name",)
    ),
    "Opportunity": SObject(
        prefix="006",
        fields=("Name", "AccountId", "StageName", "CloseDate", "Amount", "CurrencyIsoCode", "IsWon", "IsClosed", KEY),
        required=("Name", "StageName", "CloseDate"),
        references=(("AccountId", "Account"),),
        booleans=("IsWon", "IsClosed"),
    ),
    "Contact": SObject(
        prefix="003", fields=("FirstName", "LastName", "Email", "AccountId", KEY), required=("LastName",)
    ),
    "Task": SObject(
        prefix="00T", fields=("Subject", "Status", "Priority", "WhatId", "WhoId", "ActivityDate", "Description", KEY)
    ),
    "AccountTeamMember": SObject(
        prefix="01M",
        fields=(
            "AccountId",
            "UserId",
            "TeamMemberRole",
            "AccountAccessLevel",
            "OpportunityAccessLevel",
            "CaseAccessLevel",
            KEY,
        ),
        required=("AccountId", "UserId"),
        unique=(("AccountId", "UserId"),),
        references=(("AccountId", "Account"), ("UserId", "User")),
    ),
    "Territory2": SObject(
        prefix="0MI",
        fields=("Name", "DeveloperName", "Territory2ModelId", "ParentTerritory2Id", "Description"),
        required=("Name",),
    ),
    "UserTerritory2Association": SObject(
        prefix="0MJ",
        fields=("UserId", "Territory2Id", "RoleInTerritory2", "IsActive", KEY),
        required=("UserId", "Territory2Id"),
        unique=(("UserId", "Territory2Id"),),
        references=(("UserId", "User"), ("Territory2Id", "Territory2")),
        booleans=("IsActive",),
    ),
    "ForecastingType": SObject(prefix="0Db", fields=("DeveloperName", "MasterLabel", "IsActive")),
    "ForecastingQuota": SObject(
        prefix="0J9",
        fields=(
            "QuotaOwnerId",
            "QuotaAmount",
            "StartDate",
            "CurrencyIsoCode",
            "ForecastingTypeId",
            "IsAmount",
            "PeriodId",
            KEY,
        ),
        required=("QuotaOwnerId", "StartDate"),
        unique=(("QuotaOwnerId", "StartDate", "ForecastingTypeId"),),
        references=(("QuotaOwnerId", "User"), ("ForecastingTypeId", "ForecastingType")),
        booleans=("IsAmount",),
    ),
}
ENDS: Final = {"Closed Won": {"IsWon": True, "IsClosed": True}, "Closed Lost": {"IsWon": False, "IsClosed": True}}
