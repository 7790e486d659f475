"""Us and the XMPP network. The only room of the house that imports aioxmpp.

`model` holds the plain dataclasses and the `Session` interface that the rest of the package works with; it imports no
XMPP library, so features can be tested without one.
"""
