"""Elements that aioxmpp does not know: one file a protocol.

Each file adds its elements to `aioxmpp.Message` as an attribute named after the XEP, as the library does with its own.
That has to happen before the first message is parsed: `agi_xmpp.xmpp.stanzas` and `phone_stanzas` import them all.
"""
