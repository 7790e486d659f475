"""Mails of app_voicemail."""

from __future__ import annotations

import base64

import pytest

from agi_xmpp.errors import UsageError
from agi_xmpp.features.voicemail.mail import MAX_RECIPIENTS, Mail, parse
from agi_xmpp.features.voicemail.recording import Recording

AUDIO = b"RIFF" + bytes(range(256))

#: As Asterisk 22.10 writes it: the first line ends a broken mbox line, line ends are those of Unix.
MAIL = f"""Date: Sat, 21 Nov 2026 14:37:44 +0000
From: "Asterisk PBX" <asterisk@pbx.example.org>
To: "Bob" <bob@example.org>
Subject: Voicemail from Ann, 0:15
Message-ID: <Asterisk-1-1234-1235-99@pbx.example.org>
X-Asterisk-CallerID: 201
X-Asterisk-CallerIDName: Ann
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="----voicemail_11235991234"


This is a multi-part message in MIME format.

------voicemail_11235991234
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit

Dear Bob:

\tBox 1235, Grüße

\t\t\t\t--Asterisk

------voicemail_11235991234
Content-Type: audio/x-wav; name="msg0000.wav"
Content-Transfer-Encoding: base64
Content-Description: Voicemail sound attachment.
Content-Disposition: attachment; filename="msg0000.wav"

{base64.encodebytes(AUDIO).decode()}

------voicemail_11235991234--
.
""".encode()


def test_a_mail_of_asterisk() -> None:
    text = "Voicemail from Ann, 0:15\nDear Bob:\nBox 1235, Grüße"
    assert parse(MAIL) == Mail(("bob@example.org",), text, Recording(AUDIO, "wav"))


def test_a_page_without_a_recording() -> None:
    assert parse(b"To: bob@x.org\nSubject: New VM\n\nNew message\n") == Mail(
        ("bob@x.org",), "New VM\nNew message", None
    )


@pytest.mark.parametrize("charset", ["UTF-8", "ISO-8859-1", "us-ascii"])
def test_the_charset_that_asterisk_says_is_not_always_the_true_one(charset: str) -> None:
    subject = f"Subject: =?{charset}?Q?Gr=C3=BC=C3=9Fe?="
    raw = MAIL.replace(b"charset=UTF-8", f"charset={charset}".encode()).replace(b"Subject: Voice", subject.encode())
    lines = parse(raw).text.splitlines()
    if charset != "us-ascii":
        assert (lines[0][:5], lines[-1]) == ("Grüße", "Box 1235, Grüße")
    assert lines[-1].startswith("Box 1235, Gr")


def test_true_latin_1() -> None:
    raw = MAIL.replace(b"charset=UTF-8", b"charset=ISO-8859-1").replace("Grüße".encode(), "Grüße".encode("latin-1"))
    assert parse(raw).text.endswith("Box 1235, Grüße")


@pytest.mark.parametrize(
    ("header", "suffix"),
    [
        ('audio/x-wav; name="a.WAV"', "WAV"),
        ("audio/x-wav", "wav"),
        ("audio/x-gsm", "gsm"),
        ("audio/ogg", "ogg"),
        ('application/octet-stream; name="a.mp3"', "mp3"),
        ('audio/x-wav; name="../../etc/passwd"', "wav"),
    ],
)
def test_kinds_of_recordings(header: str, suffix: str) -> None:
    raw = MAIL.replace(b'audio/x-wav; name="msg0000.wav"', header.encode()).replace(b'filename="msg0000.wav"', b"x=y")
    assert parse(raw).recording == Recording(AUDIO, suffix)


@pytest.mark.parametrize(
    "header", ["text/html", "application/pdf", "image/png", "audio/x-unheard-of", 'audio/x"; boundary', "multipart/x"]
)
def test_other_attachments_are_none(header: str) -> None:
    raw = MAIL.replace(b'audio/x-wav; name="msg0000.wav"', header.encode()).replace(b'filename="msg0000.wav"', b"x=y")
    assert parse(raw).recording is None


@pytest.mark.parametrize(
    ("to", "addresses"),
    [
        ("bob@x.org", ("bob@x.org",)),
        ("bob@x.org, Ann <ann@x.org>, bob@x.org", ("bob@x.org", "ann@x.org")),
        ('"Bob, the boss" <bob@x.org>', ("bob@x.org",)),
        ("=?UTF-8?B?R3LDvMOfZQ==?= <bob@x.org>", ("bob@x.org",)),
        ("102@voicemail", ("102@voicemail",)),
        (
            ", ".join(f"u{n}@x.org" for n in range(MAX_RECIPIENTS + 1)),
            tuple(f"u{n}@x.org" for n in range(MAX_RECIPIENTS)),
        ),
    ],
)
def test_recipients(to: str, addresses: tuple[str, ...]) -> None:
    assert parse(f"To: {to}\nSubject: x\n\n".encode()).recipients == addresses


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n\n",
        b"no mail",
        b"\xff\xfe\0",
        b"Subject: x\n\nto nobody",
        b"To: \n\nx",
        b"To: Bob\n\nx",
        b"To: <>\n\nx",
    ],
)
def test_for_nobody(raw: bytes) -> None:
    with pytest.raises(UsageError, match=r"has no address in its To|no mail that can be read"):
        parse(raw)


def test_about_nothing() -> None:
    with pytest.raises(UsageError, match="neither a text nor a recording"):
        parse(b"To: bob@x.org\n\n\n")


def test_an_encoding_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="no mail that can be read: LookupError"):
        parse(b"To: bob@x.org\nContent-Type: text/plain; charset=no-such\n\n\xff\xff\n")


def test_characters_that_chat_cannot_carry_go() -> None:
    assert parse(b"To: bob@x.org\nSubject: a\x07b\n\n\x1b[31mred\x00\n").text == "ab\n[31mred"


def test_a_recording_without_a_word() -> None:
    raw = MAIL[: MAIL.index(b"Subject")] + MAIL[MAIL.index(b"Message-ID") :]
    raw = raw[: raw.index(b"Dear Bob")] + raw[raw.index(b"------voicemail_11235991234\nContent-Type: audio") :]
    assert parse(raw) == Mail(("bob@example.org",), "Voicemail", Recording(AUDIO, "wav"))
