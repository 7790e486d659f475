"""A recording in the spool: found only where it may be, opened once, with what Asterisk wrote beside it."""

from __future__ import annotations

import configparser
import contextlib
import dataclasses
import errno
import io
import os
import re
import stat
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path

from agi_xmpp.errors import AgiXmppError, UsageError

#: What a recording may be, by the ending of its name, in the order in which they are tried for a name without one: what
#: chat clients play stands first. Asterisk writes one file for each ``format`` of voicemail.conf; ``WAV`` is GSM.
CONTENT_TYPES = {
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "WAV": "audio/wav",
    "flac": "audio/flac",
    "gsm": "audio/gsm",
}

#: Bytes of the file beside a recording that are read. Asterisk writes some 500.
MAX_DETAILS = 64 * 1024

#: Characters of a caller's name: more than any client has a place for.
MAX_NAME = 100


class Unreadable(AgiXmppError):
    """There is a recording, but it cannot be sent; the text says why. Its owner is told of it all the same."""


@dataclasses.dataclass(frozen=True, slots=True)
class Details:
    """What is known about a recording.

    Attributes:
        name, number: of the caller; "" if unknown.
        withheld: the caller does not want to be known.
        seconds: how long it is; None if unknown.
    """

    name: str = ""
    number: str = ""
    withheld: bool = False
    seconds: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """A recording in memory.

    Attributes:
        data: the file.
        suffix: the ending of its name, which says what it is: a key of `CONTENT_TYPES`.
    """

    data: bytes = dataclasses.field(repr=False)
    suffix: str

    @property
    def content_type(self) -> str:
        """What it is, as a type of media (RFC 6838)."""
        return CONTENT_TYPES[self.suffix]

    @property
    def seconds(self) -> float | None:
        """How long it is, if its own head says so: a WAV file of samples does."""
        try:
            with wave.open(io.BytesIO(self.data)) as file:
                return float(file.getnframes() / file.getframerate())
        except (wave.Error, EOFError, ArithmeticError, RuntimeError):  # the last: a part longer than the file
            return None


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a recording lies.

    Attributes:
        root: the directory of the spool, without symbolic links.
        folders: from there on.
        name: of the file; perhaps without its ending.
    """

    root: Path
    folders: tuple[str, ...]
    name: str


def locate(path: str, spool: Iterable[Path]) -> Place:
    """Say where ``path`` leads, if that is in the spool.

    Args:
        path: absolute.
        spool: the directories that recordings may lie in.

    Raises:
        UsageError: it leads elsewhere, by ``..`` or a symbolic link, or is none.
    """
    if not path.startswith("/") or "\0" in path:
        raise UsageError(f"{_shown(path)} is no absolute path of a recording")
    try:
        real = Path(path).resolve()
        for directory in spool:
            root = directory.resolve()
            if real != root and real.is_relative_to(root):
                *folders, name = real.relative_to(root).parts
                return Place(root, tuple(folders), name)
    except (OSError, RuntimeError):  # links in a circle; a name that is too long
        raise UsageError(f"{_shown(path)} leads nowhere") from None
    known = ", ".join(str(directory) for directory in spool)
    raise UsageError(f"{_shown(path)} is not in the voicemail spool ({known}); voicemail.spool says what is")


def read(path: str, spool: Iterable[Path], max_size: int) -> tuple[Recording, Details]:
    """Read a recording of the spool. Blocks on the disk.

    The way to it is gone once, from the spool's directory on and over no symbolic link, so that nobody can exchange
    anything between the check and the reading.

    Args:
        path: absolute; the ending of the name may be missing, as in ``VM_MESSAGEFILE``.
        spool: the directories that it may lie in.
        max_size: bytes of the recording at the most.

    Raises:
        UsageError: it lies elsewhere, is no recording, or there is no such file.
        Unreadable: it is there, but we may not read it, or it is empty or too long.
    """
    place = locate(path, spool)
    with _folder(place, path) as folder:
        for name, suffix in _names(place.name, path):
            try:
                file = _open(name, folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _failure(error, path) from None
            if file is None:
                raise UsageError(f"{_shown(path)} is no file")
            with file:
                recording = Recording(_content(file, path, max_size), suffix)
            return recording, _details(folder, name.removesuffix(f".{suffix}"))
    raise UsageError(f"{_shown(path)}: there is no such recording")


@contextlib.contextmanager
def _folder(place: Place, path: str) -> Iterator[int]:
    """Open the folder that a recording lies in, step by step."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder = os.open(place.root, flags)
        for part in place.folders:
            outer, folder = folder, -1
            try:
                folder = os.open(part, flags, dir_fd=outer)
            finally:
                os.close(outer)
    except OSError as error:
        raise _failure(error, path) from None
    try:
        yield folder
    finally:
        os.close(folder)


def _names(name: str, path: str) -> list[tuple[str, str]]:
    """Return the names that a recording may have, with their endings."""
    suffix = name.rpartition(".")[2]
    if suffix in CONTENT_TYPES and suffix != name:
        return [(name, suffix)]
    if "." in name:
        raise UsageError(f"{_shown(path)} is no recording: its name must end in {', '.join(CONTENT_TYPES)}")
    return [(f"{name}.{suffix}", suffix) for suffix in CONTENT_TYPES]


def _open(name: str, folder: int) -> io.BufferedReader | None:
    """Open a file in a folder that is open; None if it is something else, such as a pipe. No link is followed."""
    # O_NONBLOCK: not to wait for the other end, should it be a pipe.
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return os.fdopen(file, "rb")
    os.close(file)
    return None


def _content(file: io.BufferedReader, path: str, max_size: int) -> bytes:
    size = os.fstat(file.fileno()).st_size
    if size > max_size:
        raise Unreadable(f"the recording has {size} bytes; voicemail.max_size allows {max_size}")
    try:
        data = file.read(max_size + 1)
    except OSError as error:
        raise _failure(error, path) from None
    if len(data) > max_size:  # it has grown meanwhile
        raise Unreadable(f"the recording has more than {max_size} bytes; voicemail.max_size allows no more")
    if not data:
        raise Unreadable("the recording is empty")
    return data


def _failure(error: OSError, path: str) -> AgiXmppError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        return UsageError(f"{_shown(path)}: there is no such recording")
    return Unreadable(f"the recording cannot be read: {error.strerror}")


def _details(folder: int, stem: str) -> Details:
    """Read what Asterisk wrote beside a recording; nothing is known if that cannot be read."""
    try:
        file = _open(f"{stem}.txt", folder)
        if file is None:
            return Details()
        with file:
            return parse_details(file.read(MAX_DETAILS).decode(errors="replace"))
    except OSError:
        return Details()


def parse_details(text: str) -> Details:
    """Return what ``msgXXXX.txt`` beside a recording says (app_voicemail); what it does not say is unknown."""
    parser = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=(";",), strict=False, allow_no_value=True, default_section=""
    )
    try:
        parser.read_string(text)
        message = parser["message"]
    except (configparser.Error, KeyError, AttributeError):  # the last: a line that goes on one without "=" (3.11, 3.12)
        return Details()
    name, number = split_caller(message.get("callerid") or "")
    return Details(name, number, seconds=parse_seconds(message.get("duration") or ""))


def split_caller(text: str) -> tuple[str, str]:
    """Return name and number of a caller as Asterisk writes both: ``"Ann" <201>``. It calls nobody ``Unknown``."""
    match = re.fullmatch(r'\s*"?(.*?)"?\s*<([^<>]*)>\s*', text)
    name, number = match.groups() if match else ("", text)
    return clean_name(name), clean_name(number)


def clean_name(text: str) -> str:
    """Return a name or number as one line that can be shown; "" for Asterisk's words for nobody."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return "" if line.casefold() in ("unknown", "anonymous", "<unknown>") else line[:MAX_NAME]


def parse_seconds(text: str) -> float | None:
    """Return a whole number of seconds; None if it is none."""
    number = text.strip()
    return float(number) if number.isascii() and number.isdigit() and len(number) < 7 else None


def _shown(path: str) -> str:
    """Return a path as it can stand in a sentence."""
    return repr(path if len(path) <= 200 else f"{path[:200]}…")
