"""Reads recordings: events that a real Asterisk sent, in a compact form.

A recording is a file of traces/, or a section of a file that begins with ``##### name``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r"\s*(?P<seconds>\d+\.\d+) (?P<event>\w+)\s*(?P<headers>.*)")
#: Values may hold spaces, header names do not.
_NEXT_HEADER = re.compile(r" (?=[A-Za-z-]+=)")


@dataclass
class Trace:
    """One recording.

    Attributes:
        name: the first word of its title.
        events: seconds since the beginning, and the event as AMI sent it.
    """

    name: str
    events: list[tuple[float, dict[str, str]]] = field(default_factory=list)


def read(path: Path) -> dict[str, Trace]:
    """Return the recordings of a file by name: its sections, or itself under its own name."""
    traces: dict[str, Trace] = {}
    trace = Trace(path.stem)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#####"):
            trace = Trace(line.split()[1])
            assert trace.name not in traces, f"{path.name}:{number}: a second {trace.name}"
            traces[trace.name] = trace
        elif line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match is not None, f"{path.name}:{number}: no event"
            pairs = (pair.partition("=") for pair in _NEXT_HEADER.split(match["headers"]))
            event = {"Event": match["event"], **{name: value for name, _, value in pairs}}
            trace.events.append((float(match["seconds"]), event))
    return traces or {trace.name: trace}


def everything() -> dict[str, Trace]:
    """Return all recordings of calls by name."""
    here = Path(__file__).parent
    traces = read(here / "recordings.txt")
    for path in sorted(here.glob("traces/*.txt")):
        assert path.stem not in traces, f"a second {path.stem}"
        traces |= read(path)
    return traces
