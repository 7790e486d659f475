"""The stanzas of the phones' addresses: several parts of a gateway take them, and the session the rest. Pure."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from agi_xmpp.xmpp.model import StanzaHost


class PhonesHost:
    """Offers each stanza to several hosts, one after the other. Implements `StanzaHost`.

    Args:
        hosts: the first one that takes a stanza has it.
    """

    def __init__(self, *hosts: StanzaHost) -> None:
        self._hosts = hosts

    def stanza_came(self, stanza: Element) -> bool:
        """See `StanzaHost.stanza_came`."""
        return any(host.stanza_came(stanza) for host in self._hosts)

    def stream_began(self) -> None:
        """See `StanzaHost.stream_began`."""
        for host in self._hosts:
            host.stream_began()

    def stream_ended(self) -> None:
        """See `StanzaHost.stream_ended`."""
        for host in self._hosts:
            host.stream_ended()
