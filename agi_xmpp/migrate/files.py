"""Reads the files of a dialplan, follows their includes, shows the difference and writes the result."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from agi_xmpp.errors import UsageError
from agi_xmpp.migrate.ael import includes as ael_includes
from agi_xmpp.migrate.ael import migrate_ael
from agi_xmpp.migrate.config_text import lines
from agi_xmpp.migrate.extensions import Dialplan, Document
from agi_xmpp.migrate.model import DEFAULT_SERVER, Outcome, Remark, Target

#: Files of one dialplan. Includes that include each other end there at the latest.
FILE_LIMIT = 1000

_CONF_INCLUDE = re.compile(r"\s*#\s*(include|tryinclude|exec)\s+(.+)", re.IGNORECASE)
_AEL_CONTEXT = re.compile(
    r"^\s*(?:(?:abstract|extend)\s+)*(?:context\s+\S+|macro\s+\S+\s*\(.*\)|globals)\s*\{", re.MULTILINE
)


def migrate(path: Path, *, server: str = DEFAULT_SERVER, follow: bool = False) -> list[Outcome]:
    """Migrate a file, and the files that it includes.

    Args:
        path: extensions.conf, extensions.ael, or a file that one of them includes.
        server: where the new dialplan finds agi-xmpp.
        follow: whether included files are migrated as well; otherwise they are listed.

    Returns:
        What becomes of each file; nothing is written.

    Raises:
        UsageError: a file cannot be read, or ``server`` is no address.
    """
    texts, remarks = _read_all(path, follow=follow)
    target = Target(server, message_status=any("MESSAGE_SEND_STATUS" in text for text in texts.values()))
    documents = [Document(str(file), text) for file, text in texts.items() if not is_ael(file, text)]
    outcomes = {outcome.file: outcome for outcome in Dialplan(documents, target).migrate()}
    for file, text in texts.items():
        if is_ael(file, text):
            outcomes[str(file)] = migrate_ael(str(file), text, target)
    for remark in remarks:
        outcomes[remark.file].remarks.append(remark)
        outcomes[remark.file].remarks.sort()
    return [outcomes[str(file)] for file in texts]


def is_ael(path: Path, text: str) -> bool:
    """Whether a file is AEL, by its name or else by what is in it."""
    if path.suffix in (".ael", ".conf"):
        return path.suffix == ".ael"
    return _AEL_CONTEXT.search(text) is not None


def difference(outcome: Outcome) -> str:
    """Return the change of a file as a unified difference, which ``patch`` takes."""
    before, after = ([line.raw for line in lines(text)] for text in (outcome.before, outcome.after))
    rows = difflib.unified_diff(before, after, outcome.file, outcome.file)
    return "".join(row if row.endswith("\n") else f"{row}\n\\ No newline at end of file\n" for row in rows)


def report(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Give the lines of the report: what was changed, what a human must look at, and how much there is of both."""
    changes = remarks = 0
    for outcome in outcomes:
        for change in outcome.changes:
            yield f"{change.file}:{change.line}: {' '.join(change.before.split())}"
            yield from (f"    now {step}" for step in change.after)
            yield from (f"    note: {note}" for note in change.notes)
        changes += len(outcome.changes)
    for outcome in outcomes:
        for remark in outcome.remarks:
            yield f"{remark.file}:{remark.line}: look at this: {remark.text}"
        remarks += len(outcome.remarks)
    yield f"{changes} changed, {remarks} to look at"


def write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all, with the permissions of the file that it replaces.

    Raises:
        UsageError: it cannot be written.
    """
    path = path.resolve()
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(text)
            if path.exists():
                shutil.copymode(path, name)
                status = path.stat()
                if os.geteuid() == 0:
                    os.chown(name, status.st_uid, status.st_gid)
            else:
                Path(name).chmod(0o640)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def back_up(path: Path) -> Path:
    """Copy a file beside itself, under a name that is free; return that name.

    Raises:
        UsageError: it cannot be copied.
    """
    for number in range(1, FILE_LIMIT):
        copy = path.with_name(f"{path.name}.bak" if number == 1 else f"{path.name}.bak{number}")
        try:
            with copy.open("xb") as file:
                file.write(path.read_bytes())
            shutil.copystat(path, copy)
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(f"{copy}: {error.strerror}") from None
        return copy
    raise UsageError(f"{path}: there are {FILE_LIMIT} backups of it already")


def _read_all(path: Path, *, follow: bool) -> tuple[dict[Path, str], list[Remark]]:
    """Read a file and what it includes; also return what is to say about the includes."""
    texts: dict[Path, str] = {}
    remarks: list[Remark] = []
    todo = [path]
    while todo:
        file = todo.pop(0)
        if file in texts:
            continue
        if len(texts) == FILE_LIMIT:
            raise UsageError(f"{path} includes more than {FILE_LIMIT} files")
        texts[file] = _read(file)
        for kind, name, line in _includes(file, texts[file]):
            if kind == "exec":
                remarks.append(Remark(str(file), line, f"what {name} prints is not looked at"))
            elif not follow:
                remarks.append(Remark(str(file), line, f"{name} is not looked at; --follow does that"))
            else:
                # As in Asterisk, names are relative to its configuration directory, wherever the #include stands.
                found = sorted(path.parent.glob(name)) if not name.startswith("/") else _absolute(name)
                files = [each for each in found if each.is_file()]
                if not files and kind != "tryinclude":
                    remarks.append(Remark(str(file), line, f"there is no file {name}"))
                todo += files
    return texts, remarks


def _absolute(name: str) -> list[Path]:
    return sorted(Path("/").glob(name.lstrip("/")))


def _includes(path: Path, text: str) -> Iterator[tuple[str, str, int]]:
    """Give the kind, the name and the line of every include."""
    if is_ael(path, text):
        yield from (("include", name, line) for name, line in ael_includes(text))
        return
    for line in lines(text):
        if match := _CONF_INCLUDE.match(line.code):
            yield match[1].lower(), match[2].strip().strip("\"'<>"), line.number


def _read(path: Path) -> str:
    try:
        # newline="" keeps line ends, surrogateescape keeps bytes that are not UTF-8.
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
