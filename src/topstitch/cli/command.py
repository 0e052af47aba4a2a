"""Decides what every command has in common: the options of ``options``, the ``Door``, and how it ends.

``command`` makes a click command whose function gets a ``Door``. An error becomes a message
that ends with its remedy and one of the documented exit codes; an unexpected one prints an id
that the log has too, and a traceback only with ``--debug``.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from topstitch.cli import INTERRUPTED
from topstitch.cli.examples import example_of
from topstitch.cli.options import GLOBAL, OWN_FORM, common, write_options
from topstitch.cli.rights import admit, path_of
from topstitch.cli.screen import Screen
from topstitch.foundation.errors import (
    AuthorError,
    ConflictError,
    NotAllowedError,
    NotFoundError,
    OperatorError,
    RequestError,
    TamperError,
    TopstitchError,
)

if TYPE_CHECKING:
    from topstitch.settings import Settings

FAILED, USAGE, FINDINGS, NOT_ALLOWED, NOT_FOUND, CONFLICT, UNREACHABLE, WAITING = 1, 2, 3, 4, 5, 6, 7, 8
BROKEN_CHAIN: Final = 20
EXIT_CODES: Final[tuple[tuple[type[TopstitchError], int], ...]] = (
    (NotFoundError, NOT_FOUND),
    (NotAllowedError, NOT_ALLOWED),
    (ConflictError, CONFLICT),
    (RequestError, USAGE),
    (AuthorError, FINDINGS),
    (TamperError, BROKEN_CHAIN),
)
"""Whose error ends with which code; any other is 1."""
UNREACHABLE_CODES: Final = frozenset({"database-unreachable", "server-unreachable"})
LOG: Final = logging.getLogger("topstitch.cli")
LOG.addHandler(logging.NullHandler())  # without a log, Python would print the traceback itself
T = TypeVar("T")


@dataclass(slots=True)
class Door:
    """What a command's function is handed: where it acts, and how it speaks."""

    screen: Screen
    data: str | None
    debug: bool = False
    flags: dict[str, str | None] | None = None

    def settings(self, **flags: str | None) -> Settings:
        """Return the settings of the data folder, with more flags."""
        from topstitch.settings import load

        return load({"data": self.data, **(self.flags or {}), **flags})

    def typed(self, words: str) -> str:
        """Return a command as a person types it here, to go on in the same data folder."""
        folder = f" --data {shlex.quote(self.data)}" if self.data else ""
        return f"{program()} {words}{folder}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return asyncio.run(work)


class Command(click.Command):
    """A command whose help names the options of every command last, and ends with an example."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in two parts."""
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the example."""
        if (example := example_of(ctx.command_path.partition(" ")[2])) is not None:
            formatter.write_paragraph()
            formatter.write_text(f"Example: {example}")


def command(name: str, *, data: bool = True, **rest: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command with the common options; its function's first argument is the ``Door``."""

    def make(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def called(**given: Any) -> None:
            door = _door(given)
            web, as_curl = given.pop("web"), given.pop("as_curl")

            def work() -> None:
                if web or as_curl:
                    _instead(door, given, web=web, as_curl=as_curl)
                    return
                admit(door, given)
                function(door, **given)

            _end(door.screen, work)

        decorated: Callable[..., Any] = called
        own = {flag for option in getattr(function, "__click_params__", ()) for flag in option.opts}
        for option in reversed(common(data=data, form=not own & OWN_FORM)):
            decorated = option(decorated)
        made = click.command(name, cls=Command, **rest)(decorated)
        made.params.sort(key=lambda option: option.name in GLOBAL)
        return made

    return make


def command_of(group: click.Group, name: str, **rest: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a group, as ``command`` does."""

    def make(function: Callable[..., Any]) -> click.Command:
        made = command(name, **rest)(function)
        group.add_command(made)
        return made

    return make


def program() -> str:
    """Return how the program is called here: by name where the shell finds it, else by its path."""
    called = Path(sys.argv[0])
    found = shutil.which("topstitch")
    if called.name != "topstitch" or (found and Path(found).resolve() == called.resolve()):
        return "topstitch"
    path = os.path.relpath(called.absolute())
    if path.startswith(os.pardir):
        return os.path.normpath(called.absolute())
    return path if os.sep in path else f".{os.sep}{path}"


def exit_code(error: TopstitchError) -> int:
    """Return the documented exit code of an error."""
    if error.code in UNREACHABLE_CODES:
        return UNREACHABLE
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), FAILED)


def fail(code: int) -> NoReturn:
    """End with a code, everything having been said."""
    sys.stdout.flush()
    raise SystemExit(code)


def _door(given: dict[str, Any]) -> Door:
    debug = given.pop("debug")
    as_json, form, sieve = given.pop("as_json"), given.pop("data_form", None) or "table", given.pop("sieve")
    for_program = as_json or form != "table" or sieve is not None
    screen = Screen(as_json=for_program, form="json" if form == "table" else form, debug=debug, sieve=sieve)
    _place_in_time(given.pop("zone"), as_json=screen.as_json)
    return Door(screen, given.pop("data", None), debug)


def _instead(door: Door, given: dict[str, Any], *, web: bool, as_curl: bool) -> None:
    """Do what was asked for instead of the command; the page and the server ask who it is."""
    path = path_of(click.get_current_context()) or ""
    if web and as_curl:
        raise RequestError("web-and-curl", "--web opens a page and --as-curl prints a request; give one of them")
    if web:
        from topstitch.cli.pages import open_page

        open_page(door, path, given)
    elif door.screen.as_json:
        raise RequestError("curl-as-data", "--as-curl prints a command, no data; leave --json, -o and --jq out")
    else:
        from topstitch.cli.curl import print_curl

        print_curl(door, path, given)


def _place_in_time(zone: tuple[tzinfo | None] | None, *, as_json: bool) -> None:
    """Show times in the zone that was named; in UTC without one, and to programs."""
    from topstitch.cli.when import show_in

    show_in(UTC if zone is None or as_json else zone[0])


def _end(screen: Screen, work: Callable[[], Any]) -> None:
    try:
        work()
        if screen.has_unused_sieve:
            screen.note("This command printed no data that --jq could filter.")
    except TopstitchError as error:
        if screen.debug:
            traceback.print_exc()
        screen.error(error)
        fail(exit_code(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail(INTERRUPTED)
    except BrokenPipeError:
        _leave_quietly()
    except (click.exceptions.Exit, click.ClickException, SystemExit):
        raise
    except Exception as error:  # noqa: BLE001 -- the last place where anything may be caught
        _unexpected(screen, error)


def _unexpected(screen: Screen, error: Exception) -> NoReturn:
    from topstitch.foundation.clock import SystemClock
    from topstitch.foundation.ids import new_id

    name = new_id("err", SystemClock().now())
    LOG.error("%s: %s", name, error, exc_info=error)
    if screen.debug:
        traceback.print_exc()
    message = f"something unexpected happened ({type(error).__name__}); report it with {name}, or see it with --debug"
    screen.error(OperatorError("unexpected", message, detail={"id": name}))
    fail(FAILED)


def _leave_quietly() -> NoReturn:
    """Whoever read our output has gone."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(FAILED)
