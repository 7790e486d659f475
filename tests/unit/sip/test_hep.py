"""Copies of SIP packets: what is read of them, and that no datagram does any harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.sip.hep import MAX_PACKETS, SentText, is_copy, payload, texts_in
from tests.unit.sip.copies import chunk, copy, hep, message


def texts(datagram: bytes) -> list[SentText]:
    return list(texts_in(datagram))


def test_a_text_of_a_phone():
    expected = SentText("call-1@127.0.0.1", "phone-1", "asterisk-1", 2, "Alice A", "hello\nphones ✓")
    assert texts(copy(message("hello\nphones ✓"))) == [expected]
    assert is_copy(copy(message()))


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        (message("<p>Hi <b>you</b></p>", kind="text/html"), "Hi you"),
        # Asterisk hands on the bytes without the character set: so it is read at the other end.
        (message("ä".encode("latin-1"), kind="text/plain;charset=iso-8859-1"), "\ufffd"),
        (message(b"a picture", kind="image/png"), "[image/png]"),
        (message("hello", target="sip:pbx1"), "hello"),
        (message("hello", target="SIP:6000@[::1]:5060;transport=tcp"), "hello"),
        (message("to the end", length=False), "to the end"),
    ],
)
def test_what_people_read_is_what_the_leg_hears(told, heard):
    assert [text.text for text in texts(copy(told))] == [heard]


@pytest.mark.parametrize(
    "packet",
    [
        message(tags=("phone-1", "")),  # outside of calls
        message(tags=("", "asterisk-1")),
        message(""),
        message("  \r\n"),
        message("{}", kind="application/im-iscomposing+xml"),
        message().replace(b"MESSAGE", b"INFO"),
        message().replace(b"CSeq: 2 MESSAGE", b"CSeq: 2 INFO"),
        message().replace(b"Call-ID", b"No-ID"),
        message().replace(b"\r\n\r\n", b"\r\n"),
        b"SIP/2.0 202 Accepted\r\n" + message().partition(b"\r\n")[2],
        b"",
    ],
)
def test_what_is_no_text_within_a_call(packet):
    assert texts(copy(packet)) == []


def test_a_name_is_read_as_the_leg_reads_it():
    assert [text.display for text in texts(copy(message(display="  Mal\tlory ")))] == ["Mal lory"]
    assert [text.display for text in texts(copy(message(display="")))] == [""]


class TestStreams:
    """Of a stream Asterisk copies all that it has just read."""

    def test_each_packet_is_taken(self):
        stream = message("one") + b"\r\n\r\n" + message("two", sequence=3) + message("three", sequence=4)
        assert [text.text for text in texts(copy(stream))] == ["one", "two", "three"]

    def test_others_in_between(self):
        ack = message("").replace(b"MESSAGE", b"ACK")
        assert [text.text for text in texts(copy(ack + message("one")))] == ["one"]

    def test_a_packet_that_is_cut(self):
        assert [text.text for text in texts(copy(message("one") + message("two")[:-1]))] == ["one"]

    @pytest.mark.parametrize("count", [MAX_PACKETS - 1, MAX_PACKETS, MAX_PACKETS + 1])
    def test_not_without_end(self, count):
        stream = b"".join(message(str(number), sequence=number) for number in range(count))
        assert len(texts(copy(stream))) == min(count, MAX_PACKETS)

    def test_a_body_is_no_packet(self):
        forged = message("I am bob", call_id="call-2", tags=("phone-2", "asterisk-2"))
        assert [text.call_id for text in texts(copy(message(forged)))] == ["call-1@127.0.0.1"]


class TestBrokenDatagrams:
    def test_lengths(self):
        packet = message()
        whole = copy(packet)
        assert payload(whole) == packet
        assert payload(whole + b"x") == b""
        for end in range(len(whole)):
            assert texts(whole[:end]) == []

    @pytest.mark.parametrize("length", [0, 5, 6, 7, 0xFFFF])
    def test_a_chunk_that_lies(self, length):
        bad = b"\0\0\0\1" + length.to_bytes(2, "big")
        found = payload(hep(bad, chunk(0x0F, b"x")))
        assert found == (b"x" if length == 6 else b"")

    def test_other_chunks_are_no_packets(self):
        assert payload(hep(chunk(0x0F, b"x", vendor=1), chunk(0x10, b"zipped"))) == b""

    def test_the_older_version(self):
        assert texts(b"\x02\x10" + message()) == []
        assert not is_copy(b"\x02\x10")

    @given(st.binary(max_size=300))
    def test_anything(self, data):
        assert texts(data) == []
        assert texts(hep(chunk(0x0F, b"MESSAGE " + data))) == []

    @given(st.data())
    def test_a_text_with_some_bytes_changed(self, data):
        packet = bytearray(message())
        for _ in range(data.draw(st.integers(1, 5))):
            packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
        assert len(texts(copy(bytes(packet)))) <= 1
