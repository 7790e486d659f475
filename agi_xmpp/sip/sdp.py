"""Descriptions of a session without voice (RFC 8866, RFC 3264): audio that is ``inactive`` in both directions. Pure."""

from __future__ import annotations

import re
from typing import Final

from agi_xmpp.sip.wire import Place

CONTENT_TYPE: Final = "application/sdp"

#: Codecs that we offer, so that there is one that the endpoint allows; none of them is ever used.
_OFFERED: Final = ((0, "PCMU/8000"), (8, "PCMA/8000"), (9, "G722/8000"), (3, "GSM/8000"), (107, "opus/48000/2"))
#: The port of a stream that nobody sends to: "discard" (RFC 863). A stream of port 0 would be a refused one.
_PORT: Final = 9
#: Lines of an offer that we look at: a media line for each of our answer's.
_MAX_MEDIA: Final = 20

#: Audio that is not encrypted. Keys for a stream that never flows would be the only use of the others.
_PROTOCOLS: Final = ("RTP/AVP", "RTP/AVPF")

_MEDIA = re.compile(r"^m=(\S{1,64}) (\d{1,5})(?:/\d{1,5})? (\S{1,64}) (\S[^\r\n]{0,500})\r?$", re.M)
_TOKEN = re.compile(r"[\w!#$%&'*+.^`{|}~-]+", re.ASCII)


class Description:
    """Our side of a session.

    Args:
        place: our own address.
        session: a number of this session's own.
    """

    def __init__(self, place: Place, session: int) -> None:
        self._place = place
        self._session = session
        self._version = 0
        self._media = ""

    def offer(self) -> bytes:
        """Return an offer of audio without sound."""
        formats = " ".join(str(number) for number, _name in _OFFERED)
        names = "".join(f"a=rtpmap:{number} {name}\r\n" for number, name in _OFFERED)
        return self._with(f"m=audio {_PORT} RTP/AVP {formats}\r\n{names}a=inactive\r\n")

    def answer(self, offer: bytes) -> bytes | None:
        """Return the answer to an offer: its first audio stream is inactive, all others are refused.

        Returns:
            None if there is no audio in it: such an offer is refused as a whole.
        """
        media = []
        accepted = False
        for kind, port, protocol, formats in _MEDIA.findall(offer.decode("utf-8", "replace"))[:_MAX_MEDIA]:
            words = _TOKEN.findall(formats)
            if kind == "audio" and int(port) and not accepted and words and protocol in _PROTOCOLS:
                accepted = True
                media.append(f"m=audio {_PORT} {protocol} {words[0]}\r\n{_rtpmap(words[0], offer)}a=inactive\r\n")
            elif _TOKEN.fullmatch(kind) and words:
                media.append(f"m={kind} 0 {protocol} {words[0]}\r\n")
        return self._with("".join(media)) if accepted else None

    def _with(self, media: str) -> bytes:
        """Return the whole description; a changed one has the next version (RFC 3264 section 8)."""
        if media != self._media:
            self._version += 1
            self._media = media
        net = f"IN {'IP6' if ':' in self._place.host else 'IP4'} {self._place.host}"
        head = f"v=0\r\no=- {self._session} {self._version} {net}\r\ns=agi-xmpp\r\nc={net}\r\nt=0 0\r\n"
        return f"{head}{media}".encode()


def _rtpmap(number: str, offer: bytes) -> str:
    """Return the line that names a codec, as the offer has it; numbers below 96 need none (RFC 3551)."""
    found = re.search(rb"^a=rtpmap:%s ([\w./-]{1,64})\r?$" % re.escape(number.encode()), offer, re.M)
    return f"a=rtpmap:{number} {found[1].decode('ascii', 'replace')}\r\n" if found else ""
