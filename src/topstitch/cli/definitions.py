"""Commands on definitions: validate, table, schema, publish.

``validate`` and ``publish`` print findings the same way; nothing with an error is published. A published
version never changes: what is in flight stays on the version that started it.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import FINDINGS, WAITING, Door, command, fail
from topstitch.cli.typed import text_of
from topstitch.foundation.errors import OperatorError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from topstitch.language.check import CheckResult
    from topstitch.language.load import Document
    from topstitch.model.action import SystemContract
    from topstitch.settings import Settings

FORMATS: Final = ("text", "json", "github", "sarif")
Checked = tuple["Document", "CheckResult"]


@command("validate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", help="How findings are printed.")
@click.option("--all", "every", is_flag=True, help="Print every finding in full.")
def validate(door: Door, files: Sequence[str], form: str, *, every: bool) -> None:
    """Check definitions; print what is wrong and how to mend it. Exit 3 when there are findings."""
    checked = [_checked(door, Path(name)) for name in files]
    _print(door, checked, "json" if door.screen.as_json else form, every=every)
    if any(result.errors for _, result in checked):
        fail(FINDINGS)


@command("table")
@click.argument("file", metavar="FILE")
@click.option("--format", "form", type=click.Choice(("text", "markdown")), default="text", help="How it is printed.")
def table(door: Door, file: str, form: str) -> None:
    """Print the mapping table of a definition: step, system, action, payload, approval, rollback."""
    from topstitch.language.render import HEADERS, as_markdown, as_plain, mapping_table

    document, result = _checked(door, Path(file))
    if result.workflow is None:
        _print(door, [(document, result)], "json" if door.screen.as_json else "text", every=False)
        fail(FINDINGS)
    rows = mapping_table(result.workflow, _contracts(door))
    if door.screen.as_json:
        from dataclasses import astuple

        door.screen.data([dict(zip(HEADERS, astuple(row), strict=True)) for row in rows])
        return
    door.screen.print(as_markdown(rows) if form == "markdown" else as_plain(rows, door.screen.width or 160))


@command("schema", data=False)
@click.option("-o", "--output", metavar="FILE", help="Write it there.")
def schema(door: Door, output: str | None) -> None:
    """Print the JSON Schema of definitions, for editors."""
    from topstitch.language.export import schema_json

    text = schema_json()
    if output is None and door.screen.as_json:
        from topstitch.foundation.canonical import parse

        door.screen.data(parse(text))
        return
    if output is None:
        click.echo(text)
        return
    _write(Path(output), text)
    door.screen.note(f"Wrote {output}.")


@command("publish")
@click.argument("file", metavar="FILE", required=False)
@click.option("--as", "person", metavar="PERSON", help="Who publishes. [the person setting, or your user name]")
@click.option("--parent", metavar="DIGEST", help="Refuse unless this version is in force. [the one in force now]")
@click.option("--dry-run", is_flag=True, help="Check, compare and print the digest of the change; publish nothing.")
@click.option(
    "--plan", "planned", metavar="DIGEST", help="Publish what --dry-run showed; refuse if anything moved since."
)
@click.option("--pending", is_flag=True, help="List what waits for a second person.")
@click.option("--agree", metavar="DIGEST", help="Put in force what somebody else proposed.")
@click.option("--withdraw", metavar="DIGEST", help="Take back what was proposed.")
def publish(door: Door, file: str | None, person: str | None, parent: str | None, **wanted: Any) -> None:
    """Publish a definition: from now on its events start this version.

    A change of high risk by its own author waits until another publisher agrees.
    """
    settings = door.settings(person=person)
    if wanted["pending"] or wanted["agree"] or wanted["withdraw"]:
        if wanted["planned"]:
            raise RequestError("plan-unclear", "--plan is of a FILE; leave it out, or name the FILE instead")
        _second_person(door, settings, **{name: wanted[name] for name in ("agree", "withdraw")})
        return
    if file is None:
        raise RequestError("no-file", "name the FILE to publish, or use --pending, --agree or --withdraw")
    document, result = _checked(door, Path(file))
    if not result.ok:
        _print(door, [(document, result)], "json" if door.screen.as_json else "text", every=False)
        door.screen.note("Nothing was published.")
        fail(FINDINGS)
    from topstitch.cli.publishing import publish_definition

    change = {"parent": parent, "planned": wanted["planned"], "dry_run": wanted["dry_run"]}
    done = door.run(publish_definition(settings, document.text, result, **change))
    door.screen.data(done.document())
    for line in done.lines():
        door.screen.print(line)
    if done.dry_run:
        again = door.typed(f"publish {shlex.quote(file)} --plan {done.plan_name}")
        door.screen.note(f"Publish exactly this with: {again}")
    if done.waits and not done.dry_run:
        fail(WAITING)


def _second_person(door: Door, settings: Settings, *, agree: str | None, withdraw: str | None) -> None:
    from topstitch.cli import publishing

    if agree is not None:
        done = door.run(publishing.agree(settings, agree))
        door.screen.print(f"{done.workflow} {done.version} is in force; {done.proposed_by} wrote it, and you agreed.")
        return
    if withdraw is not None:
        done = door.run(publishing.withdraw(settings, withdraw))
        door.screen.print(f"{done.workflow} {done.version} no longer waits.")
        return
    found = door.run(publishing.waiting(settings))
    door.screen.data(
        {
            "items": [
                {"digest": p.digest, "workflow": p.workflow, "version": p.version, "proposed_by": p.proposed_by,
                 "because": list(p.because)}
                for p in found
            ]
        }
    )  # fmt: skip
    rows = [
        (p.digest.removeprefix("sha256:")[:12], f"{p.workflow} {p.version}", p.proposed_by, "; ".join(p.because))
        for p in found
    ]
    door.screen.table(("proposal", "definition", "by", "because"), rows, "Nothing waits for a second person.")


def _checked(door: Door, path: Path) -> Checked:
    from topstitch.language.check import check
    from topstitch.language.load import load

    document = load(text_of(path), str(path))
    return document, check(document, _contracts(door))


def _contracts(door: Door) -> Mapping[str, SystemContract]:
    from topstitch.cli.desk import contracts

    return contracts(door.settings())


def _print(door: Door, checked: Sequence[Checked], form: str, *, every: bool) -> None:
    from topstitch.language import messages

    screen = door.screen
    if form == "json":
        found: list[Any] = [each for d, r in checked for each in messages.as_json(d, r.findings)]
        if screen.as_json:
            screen.data(found)
            return
        from topstitch.foundation.canonical import canonical_bytes

        click.echo(canonical_bytes(found).decode())
        return
    if form == "sarif":
        click.echo(messages.as_sarif((d, r.findings) for d, r in checked))
        return
    for document, result in checked:
        if form == "github":
            if result.findings:
                click.echo(messages.as_github(document, result.findings))
            continue
        if result.findings:
            screen.print(messages.as_text(document, result.findings, every=every))
        screen.note(f"{document.path}: {messages.summary(result.findings)}; {result.expressions} expressions typed")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OperatorError("file-unwritable", f"{path} cannot be written ({error.strerror}); name another") from None
