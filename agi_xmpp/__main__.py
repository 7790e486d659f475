"""``python -m agi_xmpp`` is ``agi-xmpp``."""

from agi_xmpp.cli import main

main()
