"""What the other rooms see of a leg."""

from __future__ import annotations

from agi_xmpp.sip.agent import Leg
from agi_xmpp.sip.call import Watcher
from agi_xmpp.sip.model import LegListener


def test_a_leg_passes_on_all_that_its_listener_is_told():
    told = {name for name in vars(LegListener) if not name.startswith("_")}
    assert told == {"text_came", "ended"}
    assert told <= {name for name in vars(Leg) if not name.startswith("_")}
    assert LegListener in Watcher.__mro__
