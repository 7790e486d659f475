"""A list of commands in a message: a disco#items query (XEP-0030) that names nodes to execute (XEP-0050).

It stands in no XEP. Cheogram and its kin show each item as a button, and a tap executes the command.
"""

from __future__ import annotations

import aioxmpp
import aioxmpp.disco.xso
from aioxmpp import xso

COMMANDS = "http://jabber.org/protocol/commands"

aioxmpp.Message.command_list = xso.Child([aioxmpp.disco.xso.ItemsQuery])
