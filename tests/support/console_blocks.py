"""Carries out the shell sessions of a document, and compares what is said with what the document says.

A ``console`` block is a session: a line that begins with ``$`` is typed, the lines under it are what is answered.
Compared is loosely: ``...`` stands for any text (alone on a line, for any lines), white space is one blank, times,
dates, durations and digests are all the same, and an id in the document stands for whichever id comes, the same one
from there on: a later command may name it. A block with a file's name as its caption is that file. A comment above a
block says what is unusual:

    <!-- stays -->      the last command goes on; the document says Ctrl-C later
    <!-- ctrl-c -->     stop the newest that goes on, or the newest ``<!-- ctrl-c serve -->``; ``kill`` kills it
    <!-- until -->      repeat the block until it agrees: it waits for something
    <!-- exit 3 -->     it ends with this code

Everything happens in one temporary folder, on a port of its own. The tests of the documents call ``Session``.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from support.tree import ROOT

BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<directive>[^>]*?) -->\n)?"
    r"^(?P<fence>```|:::)\{?(?P<kind>console|code-block[^\n]*)\}?\n(?P<body>.*?)^(?P=fence)$"
    r"|^<!-- (?P<lone>(?:ctrl-c|kill)(?: [a-z]+)?) -->$",
    re.MULTILINE | re.DOTALL,
)
CAPTION: Final = re.compile(r"\A(?::[a-z-]+:[^\n]*\n)*?:caption: *(?P<name>\S+)\n(?::[a-z-]+:[^\n]*\n)*\n?")
PORTS: Final = range(8700, 8900)
"""The ports that documents name; a session takes others."""
PORT: Final = re.compile(r"\b8[78]\d\d\b")
TAKEN: Final = re.compile(r"(?<=:)\d{5}\b")
SECONDS_MAX: Final = 60
PAUSE_SECONDS: Final = 0.3
ID: Final = re.compile(r"\b(?P<kind>[a-z]{3})_[0-9A-HJKMNP-TV-Z]{8,26}\b")
LOOSE: Final = (
    (re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?Z?)?"), "#when#"),
    (re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d{2}:\d{2}\b"), "#when#"),
    (re.compile(r"\b\d{2}:\d{2}:\d{2}\b"), "#when#"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|m|h|d)\b( \d+ (ms|s|m|h)\b)*"), "#long#"),
    (re.compile(r"\bsha256:[0-9a-f]{8,64}\b"), "#digest#"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True, slots=True)
class Typed:
    """One command, and what the document says it answers."""

    command: str
    answer: str
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """A session, a file, or a lone directive, in the order of the document."""

    line: int
    directive: str = ""
    typed: tuple[Typed, ...] = ()
    file: str = ""
    text: str = ""


class DocumentError(AssertionError):
    """The document says something else than what happens."""


def blocks(document: str) -> Iterator[Block]:
    """Yield what a document carries out."""
    for match in BLOCK.finditer(document):
        line = document.count("\n", 0, match.start("body") if match["body"] is not None else match.start()) + 1
        if match["lone"]:
            yield Block(line, directive=match["lone"])
        elif match["kind"] == "console":
            yield Block(line, directive=match["directive"] or "", typed=tuple(_typed(match["body"], line)))
        elif caption := CAPTION.match(match["body"]):
            yield Block(line, file=caption["name"], text=match["body"][caption.end() :])


def _typed(body: str, first: int) -> Iterator[Typed]:
    command, answer, line = "", list[str](), first
    for number, text in enumerate(body.splitlines(), first):
        if command.endswith("\\"):
            command = f"{command[:-1]} {text.removeprefix('> ').strip()}"
        elif text.startswith("$ "):
            if command:
                yield Typed(command, "\n".join(answer), line)
            command, answer, line = text.removeprefix("$ "), [], number
        else:
            answer.append(text)
    if command:
        yield Typed(command, "\n".join(answer), line)


def agrees(said: str, happened: str, known: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """Return which id stands for which when what happened is what is said, else nothing."""
    bound: dict[str, str] = dict(known or {})
    names: dict[str, str] = {}
    lines = _loosened(said).splitlines()
    parts = ["(?:[^\n]*\n)*?" if line == "..." else _pattern(line, bound, names) + "\n" for line in lines]
    if not (match := re.fullmatch("".join(parts) + r"\s*", _loosened(happened) + "\n")):
        return None
    return bound | {written: match[name] for written, name in names.items()}


def _loosened(text: str) -> str:
    for pattern, stand_in in LOOSE:
        text = pattern.sub(stand_in, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _pattern(line: str, bound: Mapping[str, str], names: dict[str, str]) -> str:
    found, position = [], 0
    for match in ID.finditer(line):
        found.append(_any(line[position : match.start()]))
        found.append(_id(match, bound, names))
        position = match.end()
    return "".join(found) + _any(line[position:])


def _id(match: re.Match[str], bound: Mapping[str, str], names: dict[str, str]) -> str:
    if match[0] in bound:
        return re.escape(bound[match[0]])
    if match[0] in names:
        return f"(?P={names[match[0]]})"
    names[match[0]] = f"id{len(names)}"
    return f"(?P<{names[match[0]]}>{match['kind']}_[0-9A-Z]+)"


def _any(text: str) -> str:
    return "[^\n]*?".join(re.escape(part) for part in text.split("..."))


@dataclass(slots=True)
class Going:
    """A command that stays."""

    command: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    path: Path

    def said(self) -> str:
        """Return what it has said so far."""
        return self.path.read_text(encoding="utf-8", errors="replace")


@dataclass(slots=True)
class Session:
    """One document, carried out in one folder."""

    folder: Path
    port: int
    """What stands for the first of ``PORTS``."""
    path: str
    ids: dict[str, str] = field(default_factory=dict)
    going: list[Going] = field(default_factory=list)

    def carry_out(self, document: str) -> int:
        """Carry out every block; return how many commands that were; raise ``DocumentError`` at a difference."""
        count = 0
        try:
            for block in blocks(document):
                count += self._block(block)
        finally:
            while self.going:
                self._stop(signal.SIGKILL)
        return count

    def _block(self, block: Block) -> int:
        if block.file:
            target = self.folder / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self._meant(block.text), encoding="utf-8")
            return 0
        how, _, which = block.directive.partition(" ")
        if how in ("ctrl-c", "kill"):
            self._stop(signal.SIGINT if how == "ctrl-c" else signal.SIGKILL, which)
            return 0
        code = int(which) if how == "exit" else 0
        for number, each in enumerate(block.typed):
            if how == "stays" and number == len(block.typed) - 1:
                self._stay(each)
            else:
                self._run(each, code, again=how == "until")
        return len(block.typed)

    def _run(self, typed: Typed, code: int, *, again: bool) -> None:
        command = self._meant(typed.command)
        if command.startswith("cd "):
            self.folder /= command.removeprefix("cd ").strip()
            return
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder, env=self._environment(), capture_output=True, timeout=SECONDS_MAX, check=False,
            )  # fmt: skip
            happened = (done.stdout + done.stderr).decode(errors="replace")
            trouble = self._trouble(typed, happened, done.returncode, code)
            if not trouble:
                return
            if not again or time.monotonic() > deadline:
                raise DocumentError(trouble)
            time.sleep(PAUSE_SECONDS)

    def _stay(self, typed: Typed) -> None:
        path = self.folder / f".going-{typed.line}"
        output = path.open("wb")
        process = subprocess.Popen(
            ["bash", "-c", f"exec {self._meant(typed.command)}"],
            cwd=self.folder, env=self._environment(), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        going = Going(typed.command, process, output, path)
        self.going.append(going)
        deadline = time.monotonic() + SECONDS_MAX
        while trouble := self._trouble(typed, going.said(), 0, 0):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DocumentError(trouble)
            time.sleep(PAUSE_SECONDS)

    def _stop(self, how: signal.Signals, which: str = "") -> None:
        going = next(each for each in reversed(self.going) if which in each.command)
        self.going.remove(going)
        if going.process.poll() is None:
            going.process.send_signal(how)
        try:
            going.process.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            going.process.kill()
            going.process.wait()
        going.output.close()

    def _trouble(self, typed: Typed, happened: str, code: int, wanted: int) -> str:
        """Return what is wrong, and keep the ids when nothing is."""
        shown = TAKEN.sub(self._written, happened)
        here = f"line {typed.line}: $ {typed.command}\n"
        if code != wanted:
            return f"{here}ended with {code}, not {wanted}:\n{shown}"
        if not typed.answer.strip():
            return ""
        found = agrees(typed.answer, shown, self.ids)
        if found is None:
            return f"{here}should have said:\n{typed.answer}\nand said:\n{shown}"
        self.ids = found
        return ""

    def _meant(self, command: str) -> str:
        """Return a command with the ids that there are, and the port that was taken."""
        known = ID.sub(lambda match: self.ids.get(match[0], match[0]), command)
        return PORT.sub(lambda match: str(int(match[0]) - PORTS.start + self.port), known)

    def _written(self, port: re.Match[str]) -> str:
        """Return the port as the document writes it."""
        number = int(port[0]) - self.port + PORTS.start
        return str(number) if number in PORTS else port[0]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TOPSTITCH_")}
        return kept | {
            "PATH": f"{self.path}:{os.environ['PATH']}",
            "TOPSTITCH_PORT": str(self.port),
            "HOME": str(self.folder),
            "USER": "you",
            "LOGNAME": "you",
            "COLUMNS": "200",
            "PYTHONPATH": str(ROOT / "src"),
        }
