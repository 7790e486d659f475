"""Dialplan fragments and what `agi-xmpp migrate` makes of them: ``tests/data/migrate/*.txt``.

A fragment begins with ``### name``. ``=== becomes`` separates the original from the result, which is the same if there
is none; ``=== look at`` begins the list of remarks, as ``line: beginning of the text``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agi_xmpp.migrate.ael import migrate_ael
from agi_xmpp.migrate.extensions import Dialplan, Document
from agi_xmpp.migrate.model import Outcome, Target

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Fragment:
    """One dialplan. ``kind`` is ``conf`` or ``ael``; ``remarks`` are of the form ``line: text``."""

    kind: str
    name: str
    before: str
    after: str
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"


def fragments(kind: str = "") -> Iterator[Fragment]:
    """Give all fragments, or those of one kind."""
    for path in sorted((DATA / "migrate").glob(f"{kind or '*'}.txt")):
        for text in re.split(r"^### ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            name, _, rest = text.partition("\n")
            rest, _, remarks = rest.partition("=== look at\n")
            before, _, after = rest.partition("=== becomes\n")
            before, after = (f"{part.rstrip(chr(10))}\n" for part in (before, after or before))
            listed = tuple(line for line in remarks.splitlines() if line)
            yield Fragment(path.stem, name, before, after, listed)


def documentation() -> dict[str, str]:
    """Return the AEL examples of res_jabber's own document by the names of their contexts, repaired as listed."""
    text = (DATA / "res_jabber.txt").read_text(encoding="utf-8")
    for repair in tomllib.loads((DATA / "res_jabber_repairs.toml").read_text(encoding="utf-8"))["repair"]:
        assert text.count(repair["old"]) == 1, repair
        text = text.replace(repair["old"], repair["new"])
    found = re.finditer(r"^context (\S+) \{.*?^\}(?: \})?$", text, flags=re.MULTILINE | re.DOTALL)
    return {match[1]: f"{match[0]}\n" for match in found}


def migrated(kind: str, text: str, server: str = "agi://127.0.0.1") -> Outcome:
    """Return what becomes of a text."""
    target = Target(server, message_status="MESSAGE_SEND_STATUS" in text)
    if kind == "ael":
        return migrate_ael("extensions.ael", text, target)
    return Dialplan([Document("extensions.conf", text)], target).migrate()[0]
