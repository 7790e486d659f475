"""What depends on the XMPP module and is no call of it."""

from __future__ import annotations

import pytest

from agi_xmpp.migrate.remarks import hint_remark, media_remark


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("Dial(Gtalk/pbx/bob@example.org)", "left Asterisk"),
        ("Dial(SIP/1&jingle/x)", "left Asterisk"),
        ("Dial(Motif/x/y)", "chan_motif needs res_xmpp"),
        ("Dial(SIP/1)", ""),
        ("NoOp(Gtalk)", ""),
    ],
)
def test_media(code, words):
    assert (words in media_remark(code)) if words else media_remark(code) == ""


@pytest.mark.parametrize(
    ("code", "words"), [("exten => 1,hint,XMPP/pbx/b@c", "XMPP/pbx/b@c: "), ("NoOp(xmpp:b@c)", ""), ("NoOp(XMPP)", "")]
)
def test_device_states(code, words):
    assert hint_remark(code).startswith(words)
    assert bool(hint_remark(code)) is bool(words)
