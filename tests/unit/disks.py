"""Disks and files that are not as they should be."""

from __future__ import annotations

import contextlib
from pathlib import Path


def fill(disk: Path) -> Path:
    """Leave no room on a file system; return the file to be deleted for more."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def damage(path: Path) -> None:
    """Spoil some pages of a file of SQLite; it must have eight."""
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 8] = b"\xa5" * (4096 * 5)
    path.write_bytes(data)
