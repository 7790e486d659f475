from __future__ import annotations

from xml.etree.ElementTree import Element

from agi_xmpp.features.conference.phones_host import PhonesHost
from tests.unit.features.conference.fakes import stanza


class Host:
    def __init__(self, takes: bool) -> None:
        self.takes = takes
        self.seen: list[object] = []

    def stanza_came(self, stanza: Element) -> bool:
        self.seen.append(stanza)
        return self.takes

    def stream_began(self) -> None:
        self.seen.append("began")

    def stream_ended(self) -> None:
        self.seen.append("ended")


MESSAGE = stanza("<message/>")


def test_the_first_who_takes_a_stanza_has_it():
    first, second, third = Host(False), Host(True), Host(True)
    assert PhonesHost(first, second, third).stanza_came(MESSAGE)
    assert (first.seen, second.seen, third.seen) == ([MESSAGE], [MESSAGE], [])


def test_what_nobody_takes_is_left():
    assert not PhonesHost(Host(False), Host(False)).stanza_came(MESSAGE)
    assert not PhonesHost().stanza_came(MESSAGE)


def test_all_are_told_of_the_stream():
    hosts = Host(True), Host(False)
    phones = PhonesHost(*hosts)
    phones.stream_began()
    phones.stream_ended()
    assert [host.seen for host in hosts] == [["began", "ended"]] * 2
