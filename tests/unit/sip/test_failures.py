"""One sentence for each failure."""

from __future__ import annotations

import pytest
from sipmessage import Response

from agi_xmpp.sip.failures import Failures


def failures(*, has_password: bool = True) -> Failures:
    return Failures("127.0.0.1:5060", "agi-xmpp", 5.0, has_password)


@pytest.mark.parametrize(
    ("code", "has_password", "number", "words"),
    [
        (401, False, "6000", "there is no endpoint agi-xmpp of pjsip.conf, or it has auth="),
        (401, True, "6000", "the password is not that of its auth"),
        (407, True, "6000", "the password is not that of its auth"),
        (403, True, "6000", "acl"),
        (404, True, "6000", "has no extension 6000"),
        (421, True, "6000", "100rel"),
        (488, True, "6000", "allow=ulaw"),
    ],
)
def test_a_refusal_says_what_to_do(code, has_password, number, words):
    error = failures(has_password=has_password).refused(Response(code, "No\x07pe"), "the call to 6000", number)
    assert error.code == code
    assert str(error).startswith(f"Asterisk at 127.0.0.1:5060 refuses the call to 6000 ({code} No pe)")
    assert words in str(error)


@pytest.mark.parametrize(("code", "number"), [(503, "6000"), (404, "")])
def test_where_there_is_no_advice_the_answer_stands_alone(code, number):
    error = failures().refused(Response(code, "Nope"), "a text", number)
    assert str(error) == f"Asterisk at 127.0.0.1:5060 refuses a text ({code} Nope)"


def test_the_others_name_place_and_time():
    assert "127.0.0.1:5060" in str(failures().nobody_listens())
    for error in (failures().silent(), failures().unknown()):
        assert "within 5 s" in str(error)
    assert "extension 6000" in str(failures().no_answer("6000"))
    assert failures().no_answer("6000").code == 408
