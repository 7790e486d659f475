"""Real Asterisk and real XMPP servers for tests and the demo.

They run from a Debian tree in the user's cache (`rootfs`), each with its own configuration, ports and spool, and on
loopback only: `asterisk.Asterisk`, `xmpp.Prosody`, `xmpp.Ejabberd`. Beside them stand `client.Buddy` (an independent
XMPP client), `proxy.Proxy` (a network that can be cut) and `service.Service` (the program under test).
"""
