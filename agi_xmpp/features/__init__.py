"""What the service can do: one file a capability.

To add a verb: write its file, its test, its row in docs/dialplan.md, and one line here.
"""

from agi_xmpp.features import ask, invite, lookup, receive, rooms, send, status
from agi_xmpp.features.verb import Verb
from agi_xmpp.features.voicemail import verb as voicemail

#: Every verb that a dialplan can call.
VERBS: tuple[Verb, ...] = (
    send.VERB,
    status.VERB,
    receive.VERB,
    ask.VERB,
    lookup.VERB,
    voicemail.VERB,
    rooms.JOIN,
    rooms.LEAVE,
    rooms.SEND_GROUP,
    invite.VERB,
)
