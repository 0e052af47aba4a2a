"""The documents hold together: every relative link leads to a file, every anchor to a heading.

``make docs`` runs it with the other tests of the documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.tree import ROOT, files

LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^()\s]+)\)")
HEADING = re.compile(r"^#+ +(.*?) *#*$", re.MULTILINE)
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(r"^[a-z]+:")


def test_every_link_in_the_docs_leads_somewhere() -> None:
    documents = [path for path in files() if path.suffix == ".md"]
    broken = [f"{path.relative_to(ROOT)}: {each}" for path in documents for each in dead_links(path)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("target", ["nowhere.md", "there.md#no-such-heading", "#nor-here", "folder/nothing.md"])
def test_a_planted_dead_link_is_caught(tmp_path: Path, target: str) -> None:
    assert list(dead_links(document(tmp_path, target))) == [target]


@pytest.mark.parametrize("target", ["there.md", "there.md#the-floor-plan", "#here", "https://example.org/x", "folder"])
def test_a_living_link_passes(tmp_path: Path, target: str) -> None:
    assert not list(dead_links(document(tmp_path, target)))


def document(folder: Path, target: str) -> Path:
    (folder / "there.md").write_text("# The floor plan\n", encoding="utf-8")
    (folder / "folder").mkdir()
    path = folder / "here.md"
    path.write_text(f"# Here\n\nSee [that]({target}).\n\n```\n[not](a-link.md)\n```\n", encoding="utf-8")
    return path


def dead_links(path: Path) -> Iterator[str]:
    """Yield the relative links of a document that lead nowhere."""
    for match in LINK.finditer(FENCE.sub("", path.read_text(encoding="utf-8"))):
        target = match["target"]
        if not ELSEWHERE.match(target) and not leads_somewhere(path, target):
            yield target


def leads_somewhere(path: Path, target: str) -> bool:
    """Tell whether file and heading exist."""
    name, _, anchor = target.partition("#")
    there = (path.parent / name).resolve() if name else path
    if not there.exists():
        return False
    return not anchor or there.suffix != ".md" or anchor in anchors(there)


def anchors(path: Path) -> set[str]:
    """Return the anchors that the headings of a document make, as code hosts make them."""
    headings = HEADING.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
