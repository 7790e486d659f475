"""Namespaces of what comes over a stream, worked out by us: no stranger's stanza may end our connection.

The parser that aioxmpp takes (expat, by way of `xml.sax`) refuses a namespace with a space in it, and XML's own under
another prefix than ``xml``; a stream is over with the first fault in it. Prosody 13 and ejabberd 26 send us both: they
hand on ``<x xmlns='a b'/>`` as it is, and write ``<xml:x/>`` with that namespace as the default one. So anybody who may
write to us could cut us off, again and again. expat without namespaces takes both.
"""

from __future__ import annotations

from typing import Any
from xml.sax.handler import ContentHandler, feature_namespaces
from xml.sax.xmlreader import AttributesNSImpl

from aioxmpp import errors

from agi_xmpp.xmpp.element import XML, Name


def read_with(parser: Any, handler: Any) -> None:
    """Let a parser that has not begun tell ``handler`` of elements and their namespaces."""
    parser.setFeature(feature_namespaces, False)
    parser.setContentHandler(_Namespaces(handler))


class _Namespaces(ContentHandler):
    """Works out the namespaces (Namespaces in XML 1.0) of what a parser tells without, and tells a handler."""

    def __init__(self, handler: Any) -> None:
        super().__init__()
        self._handler = handler
        self._bound: dict[str, str] = {"xml": XML}
        #: Of each open element: its name, and what its declarations have replaced.
        self._open: list[tuple[Name, dict[str, str | None]]] = []

    def startDocument(self) -> None:  # noqa: N802 - SAX
        self._handler.startDocument()

    def processingInstruction(self, target: str, data: str) -> None:  # noqa: N802 - SAX
        self._handler.processingInstruction(target, data)

    def characters(self, text: str) -> None:
        self._handler.characters(text)

    def startElement(self, name: str, attributes: Any) -> None:  # noqa: N802 - SAX
        replaced: dict[str, str | None] = {}
        others: list[tuple[str, str]] = []
        for key, value in attributes.items():
            if key == "xmlns" or key.startswith("xmlns:"):
                prefix = key[len("xmlns:") :]
                replaced[prefix] = self._bound.get(prefix)
                self._bound[prefix] = value
            else:
                others.append((key, value))
        # A name without a prefix is of the default namespace, an attribute's of none (section 6.2).
        full = self._name(name) if ":" in name else (self._bound.get("") or None, name)
        named = {self._name(key) if ":" in key else (None, key): value for key, value in others}
        self._open.append((full, replaced))
        self._handler.startElementNS(full, None, AttributesNSImpl(named, {}))

    def endElement(self, _name: str) -> None:  # noqa: N802 - SAX
        full, replaced = self._open.pop()
        for prefix, value in replaced.items():
            if value is None:
                del self._bound[prefix]
            else:
                self._bound[prefix] = value
        self._handler.endElementNS(full, None)

    def _name(self, name: str) -> Name:
        prefix, _, local = name.partition(":")
        namespace = self._bound.get(prefix)
        if not (prefix and namespace and local) or ":" in local:
            # No server lets it in from others.
            raise errors.StreamError(errors.StreamErrorCondition.BAD_NAMESPACE_PREFIX, "a prefix is not declared")
        return namespace, local
