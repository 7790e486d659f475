"""Where agi-xmpp is."""

from __future__ import annotations

import pytest

from agi_xmpp.errors import UsageError
from agi_xmpp.migrate.model import Target


@pytest.mark.parametrize("server", ["agi://127.0.0.1", "AGI://pbx.example.org:4573", "agi://[::1]:1", "agi://h:65535"])
def test_an_address(server):
    step = Target(server).agi("jabber_send", "pbx", "bob@example.org", "hi", options="wait=none")
    assert str(step) == f"AGI({server}/jabber_send?wait=none,pbx,bob@example.org,hi)"


@pytest.mark.parametrize(
    "server", ["127.0.0.1", "agi://", "agi://h/", "agi://h:0", "agi://h:65536", "hagi://h", "agi://h,x", "agi://h\n"]
)
def test_no_address(server):
    with pytest.raises(UsageError, match=r"agi://host:port"):
        Target(server)
