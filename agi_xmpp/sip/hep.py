"""Copies of SIP packets as Asterisk's res_hep sends them (HEPv3), and the texts in them that phones have sent. Pure.

Source: "HEP3 Network Protocol Specification" of the sipcapture project, revision 36; and res_hep.c of Asterisk, which
sends one datagram for each packet, never compressed. No library for Python that is kept reads these packets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from sipmessage import Request

from agi_xmpp.sip.text import heard_name, plain_text
from agi_xmpp.sip.wire import BadMessage, parse, party

#: Packets of SIP that one copy holds at the most: of a stream (TCP, TLS) Asterisk copies all that it has just read.
MAX_PACKETS: Final = 50

_MAGIC: Final = b"HEP3"
_TOTAL = Struct("!H")  # behind the magic: length of the whole
_CHUNK = Struct("!HHH")  # vendor, type, length with these six bytes
_GENERIC: Final = 0
_PAYLOAD: Final = 0x0F
_MESSAGE: Final = b"MESSAGE "


@dataclass(frozen=True, slots=True)
class SentText:
    """A text within a call, as it was on the wire.

    Attributes:
        call_id: Call-ID.
        sender_tag, receiver_tag: of From and To.
        sequence: CSeq.
        display: the name that the sender gives; "" if none.
        text: what people read of it; never empty.
    """

    call_id: str
    sender_tag: str
    receiver_tag: str
    sequence: int
    display: str
    text: str


def texts_in(datagram: bytes) -> Iterator[SentText]:
    """Return the texts within calls of which a datagram is the copy; of anything else none.

    Most packets of a busy exchange are something else, and are told by one look.
    """
    if _MESSAGE not in datagram or not datagram.startswith(_MAGIC):
        return
    for request in _requests(payload(datagram)):
        text = _text(request)
        if text is not None:
            yield text


def is_copy(datagram: bytes) -> bool:
    """Tell whether a datagram looks like a copy of anything."""
    return datagram.startswith(_MAGIC)


def payload(datagram: bytes) -> bytes:
    """Return the packet of which a datagram is the copy; b"" if there is none, or the datagram is broken."""
    if len(datagram) < len(_MAGIC) + _TOTAL.size or _TOTAL.unpack_from(datagram, len(_MAGIC))[0] != len(datagram):
        return b""
    place = len(_MAGIC) + _TOTAL.size
    while place + _CHUNK.size <= len(datagram):
        vendor, kind, length = _CHUNK.unpack_from(datagram, place)
        if length < _CHUNK.size or place + length > len(datagram):
            return b""
        if (vendor, kind) == (_GENERIC, _PAYLOAD):
            return datagram[place + _CHUNK.size : place + length]
        place += length
    return b""


def _requests(packets: bytes) -> Iterator[Request]:
    """Return the requests MESSAGE of a datagram or a piece of a stream."""
    for _ in range(MAX_PACKETS):
        packets = packets.lstrip(b"\r\n")
        head, separator, rest = packets.partition(b"\r\n\r\n")
        if not separator:
            return
        try:
            message = parse(_with_plain_target(head) + separator + rest)
        except BadMessage:
            return
        if isinstance(message, Request) and message.method == "MESSAGE":
            yield message
        if message.content_length is None:
            return  # RFC 3261 section 18.3: all the rest of the datagram is its body
        packets = rest[len(message.body) :]


def _with_plain_target(head: bytes) -> bytes:
    """Return the headers of a MESSAGE with a target that the library reads: it does not know hosts such as ``pbx1``."""
    line, separator, others = head.partition(b"\r\n")
    if not line.startswith(_MESSAGE):
        return head
    return _MESSAGE + b"sip:192.0.2.1 SIP/2.0" + separator + others


def _text(request: Request) -> SentText | None:
    sender, receiver = party(request, "From"), party(request, "To")
    if not sender.tag or not receiver.tag:
        return None  # outside of calls
    # Asterisk hands a text on without the parameters of its type: the other end does not know the character set.
    kind = (request.headers.get("Content-Type") or "text/plain").partition(";")[0]
    text = plain_text(request.body, kind)
    if not text.strip():
        return None
    return SentText(
        call_id=request.call_id,
        sender_tag=sender.tag,
        receiver_tag=receiver.tag,
        sequence=request.cseq.sequence,
        display=heard_name(sender.name),
        text=text,
    )
