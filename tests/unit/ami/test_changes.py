from __future__ import annotations

import dataclasses

import pytest

from agi_xmpp.ami.changes import Call, Party, Phase


@pytest.mark.parametrize(
    ("party", "known"),
    [(Party(), False), (Party("101"), True), (Party("", "Ann"), True), (Party("101", "Ann"), True)],
)
def test_a_party_without_number_and_name_is_nobody(party, known):
    assert bool(party) is known


def test_what_was_told_of_a_call_stays_as_it_was_told():
    call = Call("c-1", "bob", Phase.RINGING, True, False, "PJSIP/102", Party("101"), "PJSIP/102-1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        call.phase = Phase.OVER  # type: ignore[misc]
