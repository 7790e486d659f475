"""Recordings in the spool: only those, read once, with what stands beside them."""

from __future__ import annotations

import io
import os
import wave
from pathlib import Path

import pytest

from agi_xmpp.errors import UsageError
from agi_xmpp.features.voicemail import recording as module
from agi_xmpp.features.voicemail.recording import (
    CONTENT_TYPES,
    MAX_NAME,
    Details,
    Recording,
    Unreadable,
    clean_name,
    locate,
    parse_details,
    parse_seconds,
    read,
    split_caller,
)

LIMIT = 1000

#: As Asterisk 22.10 writes it.
DETAILS = """
;
; Message Information file
;
[message]
origmailbox=1234
context=testbed
exten=s
rdnis=unknown
priority=3
callerchan=Local/s@testbed-00000001;2
callerid="Ann" <201>
origdate=Sat Nov 21 02:37:44 PM UTC 2026
origtime=1795271864
category=
msg_id=1795271864-00000000
flag=
duration=15
"""


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    inbox = tmp_path / "spool/default/1234/INBOX"
    inbox.mkdir(parents=True)
    (inbox / "msg0000.wav").write_bytes(b"RIFF")
    (tmp_path / "secret.wav").write_bytes(b"secret")
    return tmp_path / "spool"


@pytest.fixture
def inbox(spool: Path) -> Path:
    return spool / "default/1234/INBOX"


def get(path: Path | str, spool: Path, limit: int = LIMIT) -> tuple[Recording, Details]:
    return read(str(path), [spool], limit)


def test_a_recording_and_what_stands_beside_it(spool: Path, inbox: Path) -> None:
    (inbox / "msg0000.txt").write_text(DETAILS)
    assert get(inbox / "msg0000.wav", spool) == (Recording(b"RIFF", "wav"), Details("Ann", "201", seconds=15.0))


def test_a_name_without_its_ending_is_what_asterisk_gives(spool: Path, inbox: Path) -> None:
    (inbox / "msg0000.txt").write_text(DETAILS)
    (inbox / "msg0000.gsm").write_bytes(b"gsm")
    recording, details = get(inbox / "msg0000", spool)
    assert (recording.suffix, details.name) == ("wav", "Ann"), "wav before gsm, which few clients play"


@pytest.mark.parametrize("suffix", CONTENT_TYPES)
def test_kinds(spool: Path, inbox: Path, suffix: str) -> None:
    (inbox / f"x.{suffix}").write_bytes(b"x")
    for name in ("x", f"x.{suffix}"):
        recording, details = get(inbox / name, spool)
        assert (recording.suffix, recording.content_type, details) == (suffix, CONTENT_TYPES[suffix], Details())


def test_several_spools_and_links_to_them(spool: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.wav").write_bytes(b"other")
    (tmp_path / "link").symlink_to(other)
    assert read(str(other / "x.wav"), [spool, other], LIMIT)[0].data == b"other"
    assert read(str(other / "x.wav"), [spool, tmp_path / "link"], LIMIT)[0].data == b"other"
    assert read(str(tmp_path / "link/x.wav"), [other], LIMIT)[0].data == b"other"
    assert locate(str(tmp_path / "link/x.wav"), [other]).root == other


def test_a_link_within_the_spool(spool: Path, inbox: Path) -> None:
    (spool / "link.wav").symlink_to(inbox / "msg0000.wav")
    assert get(spool / "link.wav", spool)[0].data == b"RIFF"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc/passwd", "is not in the voicemail spool"),
        ("{spool}/../secret.wav", "is not in the voicemail spool"),
        ("{spool}/default/../../secret.wav", "is not in the voicemail spool"),
        ("{spool}", "is not in the voicemail spool"),
        ("{spool}/", "is not in the voicemail spool"),
        ("{spool}2/x.wav", "is not in the voicemail spool"),
        ("{spool}/out.wav", "is not in the voicemail spool"),
        ("{spool}/folder/secret.wav", "is not in the voicemail spool"),
        ("secret.wav", "is no absolute path"),
        ("../spool/default/1234/INBOX/msg0000.wav", "is no absolute path"),
        ("{spool}/a\0b.wav", "is no absolute path"),
        ("{spool}/circle.wav", "leads nowhere|no such recording"),
        ("{spool}/default/1234/INBOX/msg0001.wav", "there is no such recording"),
        ("{spool}/default/1234/INBOX/msg0001", "there is no such recording"),
        ("{spool}/default/1234/INBOX/msg0000.wav/x.wav", "there is no such recording"),
        ("{spool}/default/1234/INBOX/msg0000.txt", "its name must end in ogg, opus,"),
        ("{spool}/default/1234/INBOX/.wav.", "its name must end in"),
        ("{spool}/" + "x" * 300 + ".wav", "no such recording|leads nowhere"),
        ("{spool}/" + "x/" * 5000 + "y.wav", "no such recording|leads nowhere"),
        ("{spool}/folder.wav", "is no file"),
        ("{spool}/pipe.wav", "is no file"),
    ],
)
def test_what_is_refused(spool: Path, tmp_path: Path, path: str, words: str) -> None:
    (spool / "out.wav").symlink_to(tmp_path / "secret.wav")
    (spool / "folder").symlink_to(tmp_path)
    (spool / "circle.wav").symlink_to(spool / "circle.wav")
    (spool / "folder.wav").mkdir()
    os.mkfifo(spool / "pipe.wav")
    with pytest.raises(UsageError, match=words) as caught:
        get(path.format(spool=spool), spool)
    assert len(str(caught.value)) < 600


def test_a_link_that_appears_after_the_check_is_not_followed(
    spool: Path, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody exchanges the file, or a folder on the way, between the look at the path and the opening."""
    place = locate(str(inbox / "msg0000.wav"), [spool])
    monkeypatch.setattr(module, "locate", lambda path, spool: place)
    (inbox / "msg0000.wav").unlink()
    (inbox / "msg0000.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(UsageError, match="no such recording"):
        get(inbox / "msg0000.wav", spool)
    (tmp_path / "msg0000.wav").write_bytes(b"secret")
    (spool / "default/1234").rename(tmp_path / "moved")
    (spool / "default/1234").mkdir()
    inbox.symlink_to(tmp_path)
    with pytest.raises(UsageError, match="no such recording"):
        get(inbox / "msg0000.wav", spool)


@pytest.mark.parametrize("size", [1, LIMIT - 1, LIMIT])
def test_sizes_up_to_the_limit(spool: Path, inbox: Path, size: int) -> None:
    (inbox / "x.wav").write_bytes(bytes(size))
    assert len(get(inbox / "x.wav", spool)[0].data) == size


@pytest.mark.parametrize(
    ("size", "words"), [(LIMIT + 1, f"has {LIMIT + 1} bytes; voicemail.max_size allows {LIMIT}"), (0, "is empty")]
)
def test_sizes_that_cannot_be_sent(spool: Path, inbox: Path, size: int, words: str) -> None:
    (inbox / "x.wav").write_bytes(bytes(size))
    with pytest.raises(Unreadable, match=words):
        get(inbox / "x.wav", spool)


def test_a_recording_that_grows(spool: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inbox / "x.wav").write_bytes(bytes(LIMIT + 1))
    smaller = (inbox / "msg0000.wav").stat()
    monkeypatch.setattr(os, "fstat", lambda _file: smaller)
    with pytest.raises(Unreadable, match=f"more than {LIMIT} bytes"):
        get(inbox / "x.wav", spool)


def test_without_permission(spool: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def refuse(path: str, flags: int, *args: int, **kwargs: int) -> int:
        if path == "msg0000.wav":
            raise PermissionError(13, "Permission denied")
        return really(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Unreadable, match="cannot be read: Permission denied"):
        get(inbox / "msg0000.wav", spool)


def test_no_file_stays_open(spool: Path, inbox: Path) -> None:
    def still_open() -> set[str]:
        return {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}

    (inbox / "folder.wav").mkdir()
    (inbox / "msg0000.txt").write_text(DETAILS)
    get(inbox / "msg0000", spool)
    for path in (inbox / "no", inbox / "no/no/no", spool / "default", inbox / "folder"):
        with pytest.raises(UsageError):
            get(path, spool)
    assert not [place for place in still_open() if place.startswith(str(spool))]


def test_what_stands_beside_is_read_only_if_it_is_a_file(spool: Path, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(DETAILS)
    (inbox / "msg0000.txt").symlink_to(tmp_path / "elsewhere")
    assert get(inbox / "msg0000", spool)[1] == Details()
    (inbox / "msg0000.txt").unlink()
    os.mkfifo(inbox / "msg0000.txt")
    assert get(inbox / "msg0000", spool)[1] == Details()


@pytest.mark.parametrize(
    ("text", "details"),
    [
        (DETAILS, Details("Ann", "201", seconds=15.0)),
        ("[message]\nduration=0\n", Details(seconds=0.0)),
        ('[message]\ncallerid="Müller; Söhne % <x> " <+4930>\n', Details("Müller; Söhne % <x>", "+4930")),
        ("[message]\ncallerid=Unknown\nduration=\n", Details()),
        ("[message]\ncallerid\n", Details()),
        ("[other]\nduration=3\n", Details()),
        ("duration=3\n", Details()),
        ("", Details()),
        ("\0\0\0", Details()),
        ("[message]\nduration=3\nduration=4\n", Details(seconds=4.0)),
        ("[message]\nflag\n more\nduration=3\n", Details()),
    ],
)
def test_details(text: str, details: Details) -> None:
    assert parse_details(text) == details


@pytest.mark.parametrize(
    ("text", "caller"),
    [
        ('"Ann" <201>', ("Ann", "201")),
        ("Ann <201>", ("Ann", "201")),
        ('"" <201>', ("", "201")),
        ("201", ("", "201")),
        ("<201>", ("", "201")),
        ('"Ann" <>', ("Ann", "")),
        ('"Unknown" <Unknown>', ("", "")),
        ('"Ann "the" Boss" <201>', ('Ann "the" Boss', "201")),
        ("", ("", "")),
    ],
)
def test_callers(text: str, caller: tuple[str, str]) -> None:
    assert split_caller(text) == caller


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" Ann \t\n Smith ", "Ann Smith"),
        ("A\x1b[31mnn\u202e", "A [31mnn"),
        ("ANONYMOUS", ""),
        ("x" * MAX_NAME, "x" * MAX_NAME),
        ("x" * (MAX_NAME + 1), "x" * MAX_NAME),
        ("😀 Jörg", "😀 Jörg"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 15 ", 15.0),
        ("999999", 999999.0),
        ("1000000", None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
    ],
)
def test_seconds(text: str, seconds: float | None) -> None:
    assert parse_seconds(text) == seconds


def test_a_wav_file_says_how_long_it_is() -> None:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * 8000 * 3))
    assert Recording(target.getvalue(), "wav").seconds == 3.0


#: A head of a WAV file whose first part claims to be longer than the file.
TORN = b"RIFF\xb4\x01\0\0WAVEfmt \x10\xfe\0\0\x01\0\x01\0@\x1f\0\0\x80>\0\0\x02\0\x10\0data\x90\x01\0\0" + bytes(400)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"OggS" * 100, b"RIFF\0\0\0\0WAVEfmt ", TORN])
def test_others_do_not(data: bytes) -> None:
    assert Recording(data, "wav").seconds is None


def test_the_recording_itself_is_in_no_log() -> None:
    assert "secret" not in repr(Recording(b"secret", "wav"))
