"""The command that makes a data folder: settings to read, connections to fill in, a definition to begin with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from topstitch.cli.command import Door, command
from topstitch.foundation.errors import ConflictError, OperatorError

CONNECTIONS = """# Which alias is which system. Credentials are references, never values: "env:NAME" or "file:PATH".
# To try it against the simulated systems: topstitch simulators --data {data}   (writes this file for you)

# [connections.hris]
# connector = "workday@1"
# base_url = "https://wd5-impl-services1.workday.com"
# tenant = "acme"
# timeout = "15s"
# rate = "10/s"
#
# [connections.hris.credentials]
# client_id = "env:WORKDAY_CLIENT_ID"
# client_secret = "env:WORKDAY_CLIENT_SECRET"

# [hooks.workday]
# connection = "hris"
# scheme = "standard-webhooks"
# secret = "env:WORKDAY_HOOK_SECRET"

[people]
# manager_of = "hris"
# group = "directory"

[rates]
"EUR/USD" = "1.08"
"""


@command("init")
def init(door: Door) -> None:
    """Make a data folder with settings, connections and the onboarding to begin with."""
    from topstitch.settings import FILE, SETTINGS

    settings = door.settings()
    lines = ["# The settings of this installation; each may also be a flag or an environment variable."]
    for setting in SETTINGS:
        if setting.name != "data":
            lines += [
                "",
                f"# {setting.doc} ({setting.kind}; {setting.variable})",
                f'# {setting.name} = "{setting.default}"',
            ]
    onboarding = files("topstitch") / "examples" / "onboarding" / "employee-onboarding.yaml"
    made = [
        _make(settings.data / FILE, "\n".join(lines) + "\n"),
        _make(settings.data / "connections.toml", CONNECTIONS.format(data=settings.data)),
        _make(settings.data / "employee-onboarding.yaml", onboarding.read_text(encoding="utf-8")),
        _make(settings.data / "workflow.v1.schema.json", _schema()),
    ]
    door.screen.data({"data": str(settings.data), "files": [str(path) for path in made]})
    for path in made:
        door.screen.print(f"Made {path}")
    door.screen.note("Next:")
    for words, what in (
        ("simulators", f"pretend systems to try it with; for real ones fill in {made[1]} instead"),
        (f"validate {made[2]}", "names line and column of every mistake"),
        (f"publish {made[2]}", "from now on events start it"),
        ("serve", "the engine, the console and the door for events"),
        ("doctor", "says what is missing, at any time"),
    ):
        door.screen.note(f"  {door.typed(words)}\n      {what}")


def _make(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConflictError(
            "exists", f"{path} is there already and was left as it is; choose another folder with --data"
        ) from None
    except OSError as error:
        message = (
            f"{path} cannot be made ({error.strerror}); choose another folder with --data, or correct its permissions"
        )
        raise OperatorError("folder-unwritable", message) from None
    return path


def _schema() -> str:
    from topstitch.language.export import schema_json

    return schema_json()
