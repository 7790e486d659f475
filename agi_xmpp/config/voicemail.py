"""``[voicemail]``: recordings into chat."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from agi_xmpp.config.addresses import Jid
from agi_xmpp.config.base import Section

#: Bytes that `VoicemailSettings.max_size` allows at the most: more would not fit through the control socket.
MAX_RECORDING = 12_000_000


class VoicemailSettings(Section):
    """``[voicemail]``: recordings of Asterisk's voicemail into chat, by ``jabber_voicemail`` and `agi-xmpp mailcmd`.

    Attributes:
        spool: directories that recordings may lie in; a file elsewhere is refused.
        max_size: bytes of a recording at the most. It is in memory as a whole; a minute of WAV is a megabyte.
        upload_timeout: seconds for the upload, with all that is asked before it.
        convert: a program (a list of words, no shell) that makes what is sent of a recording, from its standard input
            to its standard output. Without one, the recording goes as Asterisk has written it.
        suffix: what the program makes: ``ogg``, ``opus``, ``mp3``, ``wav``, ``flac``.
        convert_timeout: seconds for it.
        transcribe: a program that writes what is said in a recording, from its standard input to its standard output,
            as UTF-8.
        transcribe_timeout: seconds for it.
        account: the one that sends what comes by mailcmd.
        people: whom a mail is for: the address that it goes to, and the Jabber ID. An address of the account's own
            domain needs no entry.
        fallback: a program that gets each mail of mailcmd that could not be delivered in chat, on its standard input.
        undelivered: a maildir for such mails, if there is no ``fallback`` or it fails, too.
    """

    spool: list[Path] = [Path("/var/spool/asterisk/voicemail")]
    max_size: Annotated[int, Field(ge=1, le=MAX_RECORDING)] = 10_000_000
    upload_timeout: Annotated[float, Field(gt=0, le=600)] = 30.0
    convert: list[str] = []
    suffix: Literal["ogg", "opus", "mp3", "wav", "flac"] = "ogg"
    convert_timeout: Annotated[float, Field(gt=0, le=600)] = 30.0
    transcribe: list[str] = []
    transcribe_timeout: Annotated[float, Field(gt=0, le=3600)] = 120.0
    account: str = ""
    people: dict[str, Jid] = {}
    fallback: list[str] = []
    undelivered: Path | None = None

    @field_validator("spool")
    @classmethod
    def _absolute(cls, value: list[Path]) -> list[Path]:
        for path in value:
            if not path.is_absolute() or path == Path("/"):
                raise ValueError(f"{str(path)!r} is no directory of recordings such as /var/spool/asterisk/voicemail")
        return value

    @field_validator("people")
    @classmethod
    def _people_differ(cls, value: dict[str, str]) -> dict[str, str]:
        if len({address.casefold() for address in value}) < len(value):
            raise ValueError("two addresses differ in case only, and mail does not tell them apart")
        return value
