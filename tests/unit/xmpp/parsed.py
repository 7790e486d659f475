"""Stanzas as the library reads them from the wire."""

from __future__ import annotations

import io
from typing import Any

import aioxmpp
import aioxmpp.xml

from agi_xmpp.xmpp import tuning

tuning.apply()


def presence(xml: str) -> Any:
    return _read(xml, aioxmpp.Presence)


def message(xml: str) -> Any:
    return _read(xml, aioxmpp.Message)


def _read(xml: str, kind: Any) -> Any:
    tag, _, rest = xml.partition(" ")
    return aioxmpp.xml.read_single_xso(io.BytesIO(f"{tag} xmlns='jabber:client' {rest}".encode()), kind)
