"""One table of settings: flags before environment before file before default."""

from __future__ import annotations

from pathlib import Path

import pytest

from topstitch.foundation.errors import OperatorError
from topstitch.settings import FILE, SETTINGS, Settings, load


def written(folder: Path, text: str) -> dict[str, str]:
    (folder / FILE).write_text(text)
    return {"data": str(folder)}


def test_defaults_follow_from_the_folder(tmp_path: Path):
    settings = load({"data": str(tmp_path)}, {})
    assert settings.database == str(tmp_path / "topstitch.db")
    assert settings.connections == tmp_path / "connections.toml"
    assert (settings.port, settings.environment, settings.is_sqlite) == (8700, "prod", True)
    assert settings.person


def test_flags_beat_environment_beats_file(tmp_path: Path):
    flags = written(tmp_path, 'port = 1\nhost = "file"\nenvironment = "file"\n')
    settings = load({**flags, "port": "3"}, {"TOPSTITCH_PORT": "2", "TOPSTITCH_HOST": "env"})
    assert (settings.port, settings.host, settings.environment) == (3, "env", "file")


def test_the_folder_itself_may_come_from_the_environment(tmp_path: Path):
    assert load({"data": None}, {"TOPSTITCH_DATA": str(tmp_path)}).data == tmp_path


def test_a_server_is_no_sqlite(tmp_path: Path):
    assert not load({"data": str(tmp_path), "database": "postgresql://me@host/x"}, {}).is_sqlite


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("port = 70000", "port"),
        ('lease_seconds = "1"', "lease_seconds"),
        ('log_level = "loud"', "log_level"),
        ('environment = "a b"', "environment"),
        ("prot = 1", "prot"),
        ('data = "x"', "data"),
        ("port = ", FILE),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, named: str):
    with pytest.raises(OperatorError) as refused:
        load(written(tmp_path, text), {})
    assert named in refused.value.message
    assert FILE in refused.value.message


def test_a_bad_flag_and_a_bad_variable_are_named_as_they_were_given(tmp_path: Path):
    with pytest.raises(OperatorError, match="--port"):
        load({"data": str(tmp_path), "port": "x"}, {})
    with pytest.raises(OperatorError, match="TOPSTITCH_PORT"):
        load({"data": str(tmp_path)}, {"TOPSTITCH_PORT": "x"})
    with pytest.raises(OperatorError, match="no setting"):
        load({"colour": "red"}, {})


def test_every_setting_is_described_and_typed():
    assert [s.name for s in SETTINGS] == list(dict.fromkeys(s.name for s in SETTINGS))
    for setting in SETTINGS:
        assert setting.doc.endswith(".")
        assert setting.kind
        assert setting.read(setting.default) is not None or setting.default == ""
    assert {s.name for s in SETTINGS} == set(Settings.__dataclass_fields__)
