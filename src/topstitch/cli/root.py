"""The commands by name: where each lives and what it does.

Nothing else but their options is imported here; ``topstitch --version`` and ``--help`` cost a click import only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import click

from topstitch import __version__
from topstitch.cli.lazy import LazyGroup, Listed
from topstitch.cli.options import SECTION, records

COMMANDS: Final[Listed] = {
    "init": ("topstitch.cli.init:init", "Make a data folder: settings, connections and a first definition."),
    "demo": ("topstitch.cli.demo.command:demo", "Run five hires through the onboarding against simulated systems."),
    "validate": ("topstitch.cli.definitions:validate", "Check definitions; print what is wrong and how to mend it."),
    "table": ("topstitch.cli.definitions:table", "Print a definition's mapping table."),
    "schema": ("topstitch.cli.definitions:schema", "Print the JSON Schema of definitions."),
    "verify": ("topstitch.cli.verify:verify", "Prove that every failure has a declared end; print what happens then."),
    "torture": ("topstitch.cli.torture:torture", "Walk every fault schedule of a definition through the real rules."),
    "drill": ("topstitch.cli.drill:drill", "Take each system down in turn; print what becomes of every step."),
    "plan": ("topstitch.cli.plan:plan", "Print what an event would write and of whom it would ask what; send nothing."),
    "publish": ("topstitch.cli.definitions:publish", "Publish a definition: from now on events start this version."),
    "workflows": (
        "topstitch.cli.workflows:workflows",
        "List workflows and versions; put an earlier version in force, or none.",
    ),
    "policy": (
        "topstitch.cli.policy:policy",
        "List, test, publish and show policy bundles; explain and replay decisions.",
    ),
    "serve": ("topstitch.cli.serve:serve", "Run the engine and the event endpoint."),
    "trigger": ("topstitch.cli.trigger:trigger", "Send an event, as a system would."),
    "instances": ("topstitch.cli.instances:instances", "List instances."),
    "instance": ("topstitch.cli.instances:instance", "Show one instance, watch it, or act on it."),
    "approvals": (
        "topstitch.cli.approvals:approvals",
        "List, show, approve, refuse or reassign what waits for a decision.",
    ),
    "tasks": ("topstitch.cli.tasks:tasks", "List, show, finish or fail work that is done by hand."),
    "delegations": ("topstitch.cli.delegations:delegations", "List, add or end delegations: who stands in for whom."),
    "agents": ("topstitch.cli.agents:agents", "List, add or disable agents; propose as one."),
    "calendars": ("topstitch.cli.calendars:calendars", "List or load working hours, absences and change freezes."),
    "exceptions": ("topstitch.cli.exceptions:exceptions", "List, show, take, retry or waive what needs a person."),
    "discrepancies": (
        "topstitch.cli.discrepancies:discrepancies",
        "List, show, recheck, repair, accept or waive what differs.",
    ),
    "reconcile": ("topstitch.cli.reconcile:reconcile", "Compare now: what differs, or whole populations."),
    "batch": ("topstitch.cli.batch:batch", "Act on many instances at once: preview, start, show."),
    "connections": (
        "topstitch.cli.connections:connections",
        "List, test, pause or resume connections.",
    ),
    "seams": ("topstitch.cli.seams:seams", "List every seam: handoff times, exceptions, trend, limit and state."),
    "seam": ("topstitch.cli.seams:seam", "Show one seam in depth; pin a new baseline."),
    "alerts": ("topstitch.cli.alerts:alerts", "List alerts; take one on, or mute it."),
    "sla": ("topstitch.cli.sla:sla", "Say how the promises of workflows are kept."),
    "report": ("topstitch.cli.report:report", "Compare a workflow with how it was done by hand."),
    "users": ("topstitch.cli.users:users", "List, add or disable users and service accounts; grant them roles."),
    "tokens": ("topstitch.cli.tokens:tokens", "List, make or revoke API tokens."),
    "roles": ("topstitch.cli.users:roles", "Print which role gives which right."),
    "secrets": ("topstitch.cli.secrets:secrets", "List, set or remove stored credentials."),
    "api": ("topstitch.cli.api:api", "Ask the HTTP API of a running server: get or post any address."),
    "audit": ("topstitch.cli.audit:audit", "Show, verify, prove and export the records; forget a person."),
    "webhooks": (
        "topstitch.cli.webhooks:webhooks",
        "List, add, rotate, test or remove webhooks; replay deliveries.",
    ),
    "server": ("topstitch.cli.server:server", "Back an installation up while it runs, and restore it."),
    "completion": ("topstitch.cli.completion:completion", "Print what makes TAB complete commands in a shell."),
    "simulators": ("topstitch.cli.simulators:simulators", "Serve the simulated systems."),
    "bench": ("topstitch.cli.bench:bench", "Measure the engine beside a bare script."),
    "doctor": ("topstitch.cli.doctor:doctor", "Look whether everything that is needed is there."),
}

SECTIONS: Final[Mapping[str, Sequence[str]]] = {
    "Begin": ("demo", "init", "doctor"),
    "Write a process": (
        "validate",
        "verify",
        "table",
        "plan",
        "drill",
        "torture",
        "schema",
        "publish",
        "workflows",
        "policy",
    ),
    "Run it": ("serve", "trigger", "simulators"),
    "Follow it": ("instances", "instance"),
    "Answer": ("approvals", "tasks", "delegations", "calendars", "agents"),
    "Mend": ("exceptions", "discrepancies", "reconcile", "batch", "connections"),
    "Measure": ("seams", "seam", "alerts", "sla", "report", "bench"),
    "Prove": ("audit",),
    "Look after it": ("server", "users", "tokens", "roles", "secrets", "webhooks", "api", "completion"),
}
"""The commands as ``--help`` groups them, in the order of the path of work."""


class Root(LazyGroup):
    """The group of all commands, whose help ends with the options that each of them has."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, then the options."""
        super().format_commands(ctx, formatter)
        with formatter.section(f"{SECTION}, after any command"):
            formatter.write_dl(records(ctx))


@click.group(
    cls=Root,
    commands_at=COMMANDS,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: topstitch demo. Help on one: topstitch validate --help. Exit codes: 0 done, 1 failed, "
    "2 wrong usage, 3 findings, 4 not allowed, 5 not found, 6 conflict, 7 unreachable, 8 still waiting, "
    "20 a chain is broken, 130 interrupted.",
)
@click.version_option(__version__, prog_name="topstitch", message="%(prog)s %(version)s")
def topstitch() -> None:
    """Carry one business event across every system it touches, and prove what happened."""
