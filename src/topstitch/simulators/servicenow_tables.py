"""The tables of the simulated ServiceNow: columns, references, number series, labels of states.

Pure data, read by ``servicenow`` and ``servicenow_catalog``. A custom column is added to a
running simulator with the setting ``columns: {table: [name]}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_TASK: Final = (
    "number",
    "short_description",
    "description",
    "state",
    "active",
    "priority",
    "impact",
    "urgency",
    "opened_at",
    "opened_by",
    "assignment_group",
    "assigned_to",
    "correlation_id",
    "correlation_display",
    "work_notes",
    "comments",
    "close_notes",
    "close_code",
    "closed_at",
    "approval",
)

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "incident": (*_TASK, "caller_id", "category", "subcategory", "severity", "u_process"),
    "sc_request": (
        *_TASK,
        "request_state",
        "stage",
        "requested_for",
        "price",
        "special_instructions",
        "u_location",
        "u_department",
        "u_tier",
    ),
    "sc_req_item": (*_TASK, "request", "cat_item", "quantity", "price", "stage", "requested_for", "variables"),
    "sc_task": (*_TASK, "request", "request_item"),
    "sysapproval_approver": ("sysapproval", "approver", "state", "comments"),
    "sc_cat_item": (
        "name",
        "short_description",
        "category",
        "tier",
        "price",
        "currency",
        "model",
        "active",
        "location",
        "order",
        "u_locations",
    ),
    "alm_asset": (
        "asset_tag",
        "display_name",
        "model",
        "serial_number",
        "install_status",
        "substatus",
        "assigned_to",
        "request_line",
        "cost",
        "comments",
        "correlation_id",
    ),
    "sys_user": (
        "user_name",
        "first_name",
        "last_name",
        "name",
        "email",
        "employee_number",
        "active",
        "department",
        "title",
        "manager",
        "location",
        "correlation_id",
    ),
    "sys_user_group": ("name", "description", "active", "manager", "email"),
    "sys_user_grmember": ("group", "user"),
    "cmn_location": ("name", "city", "country"),
}

REFERENCES: Final[Mapping[str, Mapping[str, str]]] = {
    "incident": {
        "caller_id": "sys_user",
        "assigned_to": "sys_user",
        "assignment_group": "sys_user_group",
        "opened_by": "sys_user",
    },
    "sc_request": {"requested_for": "sys_user", "opened_by": "sys_user", "assignment_group": "sys_user_group"},
    "sc_req_item": {"request": "sc_request", "cat_item": "sc_cat_item", "requested_for": "sys_user"},
    "sc_task": {"request": "sc_request", "request_item": "sc_req_item", "assignment_group": "sys_user_group"},
    "sysapproval_approver": {"sysapproval": "sc_request", "approver": "sys_user"},
    "alm_asset": {"assigned_to": "sys_user", "request_line": "sc_req_item"},
    "sys_user": {"manager": "sys_user"},
    "sys_user_group": {"manager": "sys_user"},
    "sys_user_grmember": {"group": "sys_user_group", "user": "sys_user"},
}

NUMBERS: Final[Mapping[str, tuple[str, int]]] = {
    "incident": ("INC", 10001),
    "sc_request": ("REQ", 10001),
    "sc_req_item": ("RITM", 10001),
    "sc_task": ("SCTASK", 10001),
}

STATE_LABELS: Final[Mapping[str, Mapping[str, Mapping[str, str]]]] = {
    "incident": {
        "state": {"1": "New", "2": "In Progress", "3": "On Hold", "6": "Resolved", "7": "Closed", "8": "Canceled"},
    },
    "sc_request": {
        "request_state": {
            "requested": "Pending Approval",
            "approved": "Approved",
            "in_process": "Approved",
            "closed_complete": "Closed Complete",
            "closed_cancelled": "Closed Cancelled",
        },
    },
    "alm_asset": {"install_status": {"1": "In use", "2": "On order", "6": "In stock", "7": "Retired"}},
}
