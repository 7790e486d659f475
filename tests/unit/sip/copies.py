"""Copies of SIP packets as Asterisk's res_hep sends them, for tests."""

from __future__ import annotations

import struct

ASTERISK = bytes([127, 0, 0, 1])


def chunk(kind: int, value: bytes, vendor: int = 0) -> bytes:
    return struct.pack("!HHH", vendor, kind, 6 + len(value)) + value


def hep(*chunks: bytes) -> bytes:
    inside = b"".join(chunks)
    return b"HEP3" + struct.pack("!H", 6 + len(inside)) + inside


def copy(packet: bytes) -> bytes:
    """Return the datagram that res_hep of Asterisk 22 makes of a packet: its chunks in its order."""
    return hep(
        chunk(0x01, b"\x02"),
        chunk(0x02, b"\x11"),
        chunk(0x03, ASTERISK),
        chunk(0x04, ASTERISK),
        chunk(0x07, struct.pack("!H", 6010)),
        chunk(0x08, struct.pack("!H", 5060)),
        chunk(0x09, struct.pack("!I", 1_700_000_000)),
        chunk(0x0A, struct.pack("!I", 42)),
        chunk(0x0B, b"\x01"),
        chunk(0x0C, struct.pack("!I", 1)),
        chunk(0x0F, packet),
        chunk(0x11, b"call-1@127.0.0.1\0"),
    )


def message(
    text: str | bytes = "hello",
    *,
    display: str = "Alice A",
    call_id: str = "call-1@127.0.0.1",
    tags: tuple[str, str] = ("phone-1", "asterisk-1"),
    sequence: int = 2,
    kind: str = "text/plain;charset=UTF-8",
    target: str = "sip:127.0.0.1:5060",
    length: bool = True,
) -> bytes:
    """Return a MESSAGE of a phone; an empty tag is left out."""
    body = text.encode() if isinstance(text, str) else text
    sender, receiver = (f";tag={tag}" if tag else "" for tag in tags)
    name = f'"{display}" ' if display else ""
    lines = [
        f"MESSAGE {target} SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:6010;rport;branch=z9hG4bK{sequence}",
        f"From: {name}<sip:101@127.0.0.1>{sender}",
        f"To: <sip:6000@127.0.0.1>{receiver}",
        f"Call-ID: {call_id}",
        f"CSeq: {sequence} MESSAGE",
        f"Content-Type: {kind}",
        *([f"Content-Length: {len(body)}"] if length else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
