"""No file names a package registry's host, a mirror, or a place on somebody's machine.

The same tree must install from any mirror and run in any folder. The patterns are written in
pieces, so that this file does not find itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from support.tree import Finding, pieced, texts, verdict

HOSTS = pieced(
    r"pypi\.-org", r"python-hosted\.org", r"registry\.npm-js\.org", r"deb\.deb-ian\.org",
    r"proxy\.go-lang\.org", r"crates\.-io\b", r"registry\.yarn-pkg\.com",
)  # fmt: skip
MACHINE = pieced("/ro-ot/", "/ho-me/[a-z]", "/Us-ers/[A-Za-z]", "/wo-rk/", "/op-t/(pypi|wheels)")
ADDRESS = re.compile(HOSTS)
PLACE = re.compile(rf"(?<![\w.~:-])({MACHINE})")
LOCKED_ADDRESS = re.compile(r"https?:|--(extra-)?index|--find-links|\s@\s|file:")


def test_no_file_names_a_registry_or_a_machine() -> None:
    assert not verdict("addresses", (finding for path, text in texts() for finding in addresses(path, text)))


@pytest.mark.parametrize(
    "planted",
    [
        pieced("index = https://py-pi.org/simple"),
        pieced("see files.python-hosted.org"),
        pieced("cd /ro-ot/project"),
        pieced("open('/ho-me/ada/x')"),
        pieced("cat '/wo-rk/main/x'"),
    ],
)
def test_a_planted_address_is_caught(planted: str) -> None:
    assert list(addresses("docs/x.md", planted))


@pytest.mark.parametrize(
    "innocent", ["https://example.org/", "a pypi package", "GET /api/work/items", "docs/how-to/x.md"]
)
def test_ordinary_text_passes(innocent: str) -> None:
    assert not list(addresses("docs/x.md", innocent))


def test_a_planted_address_in_a_lock_is_caught() -> None:
    assert list(addresses("requirements.lock", "six @ https://mirror.example/six.whl"))
    assert list(addresses("requirements.lock", "--index-url x"))
    assert not list(addresses("requirements.lock", "six==1.17.0 \\\n    --hash=sha256:00\n    # via topstitch"))


def addresses(path: str, text: str) -> Iterator[Finding]:
    """Yield every line that names a host or a place it should not."""
    for number, line in enumerate(text.splitlines(), 1):
        match = (
            ADDRESS.search(line)
            or PLACE.search(line)
            or (LOCKED_ADDRESS.search(line) if path.endswith(".lock") else None)
        )
        if match:
            yield Finding(path, match[0].strip(), number, "names a host or a place that others do not have")
