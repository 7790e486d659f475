"""What people do from a keyboard: what reaches Asterisk, what they are told, and what stands in the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.ami.calls import Calls, Ended, How
from agi_xmpp.config import PhoneSettings
from agi_xmpp.errors import AmiArgumentError, AmiNotConnected, AmiRefused, AmiUnknown, Refused
from agi_xmpp.features.phone.actions import Actions
from agi_xmpp.features.phone.people import People
from agi_xmpp.xmpp.jid import parse
from tests.unit.clock import Clock
from tests.unit.features.phone.fakes import FakeAmi

USERS: Any = {
    "alice@example.org": {"devices": ["PJSIP/101", "PJSIP/201"], "name": 'Al "Ace" \\Archer'},
    "bob@example.org": {"devices": ["PJSIP/102"], "name": "Bob", "dial": ["_0[1-9]X.", "601"]},
    "carol@example.org": {"devices": ["PJSIP/103"]},
}
SPARK = parse("alice@example.org/Spark")


#: Of channelstate.h.
DOWN, RING, RINGING, UP = (
    {"ChannelStateDesc": text, "ChannelState": number}
    for text, number in (("Down", "0"), ("Ring", "4"), ("Ringing", "5"), ("Up", "6"))
)


def _block(prefix=""):
    """The headers about a channel that are in every event."""
    names = ("CallerIDNum", "CallerIDName", "ConnectedLineNum", "ConnectedLineName")
    return {
        **{f"{prefix}{name}": "<unknown>" for name in names},
        **{f"{prefix}{name}": "" for name in ("AccountCode", "Exten")},
        f"{prefix}ChannelState": "0",
        f"{prefix}ChannelStateDesc": "Down",
        f"{prefix}Context": "internal",
        f"{prefix}Priority": "1",
    }


class House:
    """Alice, Bob and Carol, their calls, and an Asterisk that does what the test says."""

    def __init__(self, *, early=60.0, variables=None, **answers):
        settings = PhoneSettings(
            account="pbx", context="internal", user=USERS, dial=["_6XX"], ring_time=12.5, variables=variables or {}
        )
        self.people = People(settings)
        self.clock = Clock()
        self.calls = Calls(
            lambda device: str(person.jid) if (person := self.people.by_device(device)) else "", self.clock
        )
        self.ami = FakeAmi(**answers)
        self.changes: list[Any] = []
        self.actions = Actions(self.people, settings, self.ami, self.calls, self.changes.extend, early)
        self.alice, self.bob, self.carol = self.people

    def happens(self, event, **headers):
        message = {**_block(), **(_block("Dest") if "DestChannel" in headers else {}), "Event": event, **headers}
        self.actions.ami_event(message)
        self.changes += self.calls.feed(message)

    def rings(self, caller="PJSIP/101-1", called="PJSIP/102-2"):
        """Somebody dials somebody whose phone rings."""
        self.happens("Newchannel", Channel=caller, **RING, Uniqueid="1", Linkedid="1", Exten="102")
        self.happens("Newchannel", Channel=called, **DOWN, Uniqueid="2", Linkedid="1")
        source = {"Channel": caller, "Uniqueid": "1", "Linkedid": "1", "Exten": "102", "Context": "internal"}
        dest = {"DestChannel": called, "DestUniqueid": "2", "DestLinkedid": "1", "DestConnectedLineNum": "101"}
        self.happens("DialBegin", **RING, **source, **dest)
        self.happens("Newstate", Channel=called, **RINGING, Uniqueid="2", Linkedid="1")

    def is_answered(self, caller="PJSIP/101-1", called="PJSIP/102-2"):
        self.happens("Newstate", Channel=called, **UP, Uniqueid="2", Linkedid="1")
        self.happens("Newstate", Channel=caller, **UP, Uniqueid="1", Linkedid="1")

    def call_of(self, person):
        (call,) = self.calls.of(str(person.jid))
        return call.id

    async def dialling(self, *args, **more):
        """Begin to dial; return the task and the ChannelId when Asterisk has been asked."""
        self.ami.came.clear()
        task = asyncio.create_task(self.actions.dial(*args, **more))
        came = asyncio.create_task(self.ami.came.wait())
        await asyncio.wait([task, came], return_when=asyncio.FIRST_COMPLETED)
        came.cancel()
        return task, self.ami.actions[-1][1]["ChannelId"]


async def refused(awaitable):
    """Return the condition, and what the person is told."""
    with pytest.raises(Refused) as caught:
        await awaitable
    text = str(caught.value)
    assert text.isprintable()
    return caught.value.condition, text


# dial


async def test_a_dialled_number_makes_the_own_phone_ring():
    house = House(variables={"PJSIP_HEADER(add,Alert-Info)": "<http://x>;info=alert-autoanswer"})
    task, channel_id = await house.dialling(house.alice, "601", by=SPARK)
    house.happens("Newchannel", Channel="PJSIP/101-1", **DOWN, Uniqueid=channel_id, Linkedid=channel_id)
    assert not task.done()
    house.happens("Newstate", Channel="PJSIP/101-1", **RINGING, Uniqueid=channel_id, Linkedid=channel_id)
    await task
    assert house.ami.actions == [
        (
            "Originate",
            {
                "Channel": "PJSIP/101",
                "Context": "internal",
                "Exten": "601",
                "Priority": "1",
                "Timeout": "12500",
                "CallerID": '"Al Ace Archer" <101>',
                "Async": "true",
                "ChannelId": channel_id,
            },
            {
                "PJSIP_HEADER(add,Alert-Info)": "<http://x>;info=alert-autoanswer",
                "__XMPP_JID": "alice@example.org",
            },
        )
    ]
    (call,) = house.calls.of("alice@example.org")
    assert (call.id, call.clicked, call.party.number) == (f"c-{channel_id}", True, "601")


async def test_channel_ids_cannot_be_guessed_and_do_not_come_twice():
    ids = set()
    for _ in range(20):
        house = House(early=0.0)
        await house.actions.dial(house.alice, "601")
        ids.add(house.ami.actions[0][1]["ChannelId"])
    assert len(ids) == 20
    assert all(re.fullmatch("xp-[0-9a-f]{32}", channel_id) for channel_id in ids)


@pytest.mark.parametrize(
    ("target", "number"),
    [
        ("102", "102"),
        (" 1 0 2 ", "102"),
        ("bob@example.org", "102"),
        ("Bob@Example.org/Spark", "102"),
        ("(6) 0-1", "601"),
    ],
)
async def test_who_is_meant_is_dialled(target, number):
    house = House(early=0.0)
    await house.actions.dial(house.alice, target)
    assert house.ami.actions[0][1]["Exten"] == number


async def test_the_phone_can_be_chosen_among_the_own_ones():
    house = House(early=0.0)
    await house.actions.dial(house.alice, "601", device="pjsip/201")
    assert house.ami.actions[0][1]["Channel"] == "PJSIP/201"


@pytest.mark.parametrize(
    "device", ["PJSIP/102", "PJSIP/201\r\nVariable: X=1", "Local/601@internal", "PJSIP/101&PJSIP/102"]
)
async def test_no_other_phone_rings(device):
    house = House()
    condition, text = await refused(house.actions.dial(house.alice, "601", device=device))
    assert (condition, text.partition(" is no phone of yours; ")[2]) == (
        "item-not-found",
        "you have PJSIP/101, PJSIP/201.",
    )
    assert house.ami.actions == []


@pytest.mark.parametrize(
    ("target", "condition", "text"),
    [
        ("101", "not-acceptable", "That is your own number."),
        ("alice@example.org", "not-acceptable", "That is your own number."),
        ("700", "forbidden", "You may not call 700."),
        ("0301234", "forbidden", "You may not call 0301234."),
        ("201", "forbidden", "You may not call 201."),  # a device of hers, and nobody's extension
        ("zoe@example.org", "item-not-found", "zoe@example.org has no phone here."),
        ("bob@evil.example", "item-not-found", "bob@evil.example has no phone here."),
        ("bob@", "bad-request", "'bob@' is not a Jabber ID: there is no domain behind the @."),
        ("", "bad-request", "There is no number to call."),
    ],
)
async def test_what_is_not_allowed_is_refused_before_asterisk_sees_it(target, condition, text):
    house = House()
    assert await refused(house.actions.dial(house.alice, target)) == (condition, text)
    assert house.ami.actions == []
    assert house.calls.all() == []


async def test_everybody_has_patterns_of_their_own():
    house = House(early=0.0)
    await house.actions.dial(house.bob, "0301234")
    assert house.ami.actions[0][1]["Exten"] == "0301234"
    house = House()
    assert await refused(house.actions.dial(house.bob, "600")) == ("forbidden", "You may not call 600.")
    assert await refused(house.actions.dial(house.bob, "00301234")) == ("forbidden", "You may not call 00301234.")


HOSTILE = st.text(alphabet="\r\n\0,&;/|${}()<>\"'\\@:=% 601aX_.!-+*#\u2028é", max_size=80)


@given(target=HOSTILE, device=HOSTILE, call_id=HOSTILE)
def test_nothing_that_was_typed_reaches_asterisk_but_clean_numbers(target, device, call_id):
    async def try_everything():
        house = House(early=0.0)
        house.rings()
        for person in house.people:
            for attempt in (
                house.actions.dial(person, target, device=device),
                house.actions.dial(person, target),
                house.actions.forward(person, call_id, target),
                house.actions.hangup(person, call_id),
            ):
                with contextlib.suppress(Refused):
                    await attempt
        with contextlib.suppress(Refused):
            await house.actions.forward(house.bob, house.call_of(house.bob), target)
        for name, headers, _variables in house.ami.actions:
            assert re.fullmatch(r"[0-9A-Za-z*#+._-]{1,64}", headers.get("Exten", "1")), (name, headers)
            assert headers.get("Channel", "PJSIP/101-1") in ("PJSIP/101", "PJSIP/102", "PJSIP/103", "PJSIP/101-1")
            asked = re.fullmatch(r"DIALPLAN_EXISTS\(internal,[0-9A-Za-z*#+._-]{1,64},1\)", headers.get("Variable", ""))
            assert bool(asked) == (name == "Getvar")

    asyncio.run(try_everything())


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        ("17", "Your phone PJSIP/101 is busy."),
        ("21", "Your phone PJSIP/101 rejects the call."),
        ("19", "Your phone PJSIP/101 cannot be reached."),
    ],
)
async def test_a_phone_that_does_not_ring_is_told_with_the_reason(cause, text):
    """As Asterisk 22.10 tells it: the failure first, without a reason, and then the Hangup with it."""
    house = House()
    task, channel_id = await house.dialling(house.alice, "601")
    channel = {"Channel": "PJSIP/101-1", "Uniqueid": channel_id, "Linkedid": channel_id, **DOWN}
    house.happens("Newchannel", **channel)
    house.happens("DialBegin", DestChannel="PJSIP/101-1", DestUniqueid=channel_id, DestLinkedid=channel_id)
    house.happens("OriginateResponse", Response="Failure", Reason="0", Uniqueid=channel_id, Channel="PJSIP/101")
    house.happens("Hangup", Cause=cause, **channel)
    assert await refused(task) == ("recipient-unavailable", text)
    assert [type(change) for change in house.changes] == [Ended]
    assert house.calls.all() == []


async def test_a_phone_that_is_not_there_is_told():
    house = House()
    task, channel_id = await house.dialling(house.alice, "601")
    house.happens("OriginateResponse", Response="Failure", Reason="0", Uniqueid=channel_id, Channel="PJSIP/101")
    assert await refused(task) == ("recipient-unavailable", "Your phone PJSIP/101 cannot be reached.")


async def test_a_phone_that_picks_up_by_itself_is_under_way():
    house = House()
    task, channel_id = await house.dialling(house.alice, "601")
    house.happens("OriginateResponse", Response="Success", Reason="4", Uniqueid=channel_id, Channel="PJSIP/101-1")
    await task


async def test_an_answer_is_not_waited_for():
    house = House(early=0.01)
    task, channel_id = await house.dialling(house.alice, "601")
    await task
    house.happens("OriginateResponse", Response="Failure", Reason="3", Uniqueid=channel_id, Channel="PJSIP/101")
    assert [change.how for change in house.changes] == [How.FAILED]


async def test_events_of_other_calls_say_nothing():
    house = House()
    task, channel_id = await house.dialling(house.alice, "601")
    house.happens("Newstate", Channel="PJSIP/101-1", **RINGING, Uniqueid="1700000000.1", Linkedid="1")
    house.happens("Hangup", Channel="PJSIP/101-1", Cause="17", Uniqueid="1700000000.1", Linkedid="1")
    house.happens("OriginateResponse", Response="Failure", Reason="0", Uniqueid="<unknown>", Channel="PJSIP/101")
    house.happens("FullyBooted")
    assert not task.done()
    house.happens("Newstate", Channel="PJSIP/101-2", **UP, Uniqueid=channel_id, Linkedid=channel_id)
    await task


@pytest.mark.parametrize(
    ("error", "condition", "text"),
    [
        (AmiRefused("Extension does not exist."), "item-not-found", "The telephone system knows no number 601."),
        (AmiRefused("No luck"), "internal-server-error", "The telephone system refuses: No luck"),
        (AmiNotConnected("x"), "remote-server-timeout", "The telephone system is out of reach: try again later."),
        (AmiArgumentError("x"), "internal-server-error", "The telephone system cannot be asked for that."),
    ],
)
async def test_what_asterisk_refuses_is_over_at_once(error, condition, text):
    house = House(Originate=error)
    assert await refused(house.actions.dial(house.alice, "601")) == (condition, text)
    assert house.ami.names == ["Originate"]
    assert [(change.call.clicked, change.how) for change in house.changes] == [(True, How.FAILED)]
    assert house.calls.all() == []


async def test_a_call_that_may_have_begun_is_not_begun_again_and_still_expected():
    house = House(Originate=AmiUnknown("no answer"))
    assert await refused(house.actions.dial(house.alice, "601")) == (
        "remote-server-timeout",
        "The telephone system does not answer; the phone may ring all the same.",
    )
    assert house.ami.names == ["Originate"]
    channel_id = house.ami.actions[0][1]["ChannelId"]
    house.happens("Newchannel", Channel="PJSIP/101-1", **DOWN, Uniqueid=channel_id, Linkedid=channel_id)
    (call,) = house.calls.of("alice@example.org")
    assert call.clicked


async def test_two_clicks_are_one_call():
    house = House()
    task, channel_id = await house.dialling(house.alice, "601")
    busy = ("resource-constraint", "Your phone rings for a call already: pick it up, or hang up.")
    assert await refused(house.actions.dial(house.alice, "601")) == busy
    channel = {"Channel": "PJSIP/101-1", "Uniqueid": channel_id, "Linkedid": channel_id}
    house.happens("Newchannel", **DOWN, **channel)
    house.happens("Newstate", **RINGING, **channel)
    await task
    assert await refused(house.actions.dial(house.alice, "602")) == busy
    assert house.ami.names == ["Originate"]
    other, _id = await house.dialling(house.bob, "601")
    other.cancel()
    house.happens("Hangup", Cause="16", **channel)
    third, _id = await house.dialling(house.alice, "602")
    third.cancel()
    assert house.ami.names == ["Originate"] * 3


async def test_whoever_asked_and_left_leaves_nothing_behind():
    house = House()
    task, channel_id = await house.dialling(house.alice, "601")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    house.happens("OriginateResponse", Response="Success", Reason="4", Uniqueid=channel_id, Channel="PJSIP/101-1")


# forward


async def test_a_call_is_forwarded_by_the_own_channel_while_people_talk():
    house = House(Getvar={"Value": "1"})
    house.rings()
    house.is_answered()
    await house.actions.forward(house.bob, house.call_of(house.bob), "103")
    assert house.ami.actions == [
        ("Getvar", {"Variable": "DIALPLAN_EXISTS(internal,103,1)"}, {}),
        ("BlindTransfer", {"Channel": "PJSIP/102-2", "Context": "internal", "Exten": "103"}, {}),
    ]
    await house.actions.forward(house.alice, house.call_of(house.alice), "carol@example.org")
    assert house.ami.actions[-1][1]["Channel"] == "PJSIP/101-1"


async def test_a_call_is_forwarded_by_the_callers_channel_while_it_rings():
    house = House(Getvar={"Value": "1"})
    house.rings()
    await house.actions.forward(house.bob, house.call_of(house.bob), "103")
    assert house.ami.actions[1] == (
        "Redirect",
        {"Channel": "PJSIP/101-1", "Priority": "1", "Context": "internal", "Exten": "103"},
        {},
    )


async def test_a_call_that_is_answered_while_the_number_is_checked_goes_on_as_it_is_then():
    house = House()

    def answers(_headers: dict[str, str]) -> dict[str, str]:
        house.is_answered()
        return {"Value": "1"}

    house.ami.answers["Getvar"] = answers
    house.rings()
    await house.actions.forward(house.bob, house.call_of(house.bob), "103")
    assert house.ami.actions[1][:1] == ("BlindTransfer",)
    assert house.ami.actions[1][1]["Channel"] == "PJSIP/102-2"


async def test_a_call_that_somebody_else_takes_while_the_number_is_checked_is_left_to_them():
    house = House()

    def taken(_headers: dict[str, str]) -> dict[str, str]:
        house.happens("Hangup", Channel="PJSIP/102-2", **DOWN, Uniqueid="2", Linkedid="1", Cause="26")
        return {"Value": "1"}

    house.ami.answers["Getvar"] = taken
    house.rings()
    call = house.call_of(house.bob)
    assert (await refused(house.actions.forward(house.bob, call, "103")))[0] == "item-not-found"
    assert house.ami.names == ["Getvar"]


async def test_who_dials_cannot_forward_yet():
    house = House()
    house.rings()
    assert await refused(house.actions.forward(house.alice, house.call_of(house.alice), "103")) == (
        "not-acceptable",
        "The other side has not answered yet: a call can be forwarded from then on.",
    )
    assert house.ami.actions == []


async def test_a_phone_that_rings_for_nobody_cannot_forward():
    house = House()
    house.happens("Newchannel", Channel="PJSIP/102-2", **DOWN, Uniqueid="2", Linkedid="2")
    house.happens("DialBegin", DestChannel="PJSIP/102-2", DestUniqueid="2", DestLinkedid="2")
    house.happens("Newstate", Channel="PJSIP/102-2", **RINGING, Uniqueid="2", Linkedid="2")
    condition, _text = await refused(house.actions.forward(house.bob, house.call_of(house.bob), "103"))
    assert condition == "not-acceptable"
    assert house.ami.actions == []


@pytest.mark.parametrize("what", ["forward", "hangup"])
async def test_calls_of_others_are_as_if_there_were_none(what):
    house = House()
    house.rings()
    call_id = house.call_of(house.bob)

    async def attempt(name):
        extra = ("103",) if what == "forward" else ()
        return await refused(getattr(house.actions, what)(house.carol, name, *extra))

    assert await attempt(call_id) == ("item-not-found", f"No such call: {call_id}")
    assert await attempt("c-1\r\n") == ("item-not-found", "No such call: c-1??")
    assert await attempt("") == ("item-not-found", "No such call: ")
    assert house.ami.actions == []


@pytest.mark.parametrize(
    ("target", "condition"),
    [("102", "not-acceptable"), ("700", "forbidden"), ("", "bad-request"), ("zoe@example.org", "item-not-found")],
)
async def test_the_rules_of_numbers_hold_for_forwarding(target, condition):
    house = House()
    house.rings()
    assert (await refused(house.actions.forward(house.bob, house.call_of(house.bob), target)))[0] == condition
    assert house.ami.actions == []


async def test_a_caller_is_never_sent_to_a_number_that_is_not_there():
    house = House(Getvar={"Value": "0"})
    house.rings()
    assert await refused(house.actions.forward(house.bob, house.call_of(house.bob), "601")) == (
        "item-not-found",
        "The telephone system knows no number 601.",
    )
    assert house.ami.names == ["Getvar"]


async def test_an_asterisk_that_cannot_tell_numbers_forwards_all_the_same():
    house = House(Getvar={"Value": ""})
    house.rings()
    await house.actions.forward(house.bob, house.call_of(house.bob), "601")
    assert house.ami.names == ["Getvar", "Redirect"]


@pytest.mark.parametrize(
    ("error", "condition", "text"),
    [
        (AmiRefused("Channel specified does not exist"), "item-not-found", "The call is over already."),
        (
            AmiRefused("Transfer invalid"),
            "not-acceptable",
            "The call cannot be forwarded now: nobody is connected on the other side.",
        ),
        (
            AmiRefused("Transfer not permitted"),
            "not-allowed",
            "The telephone system does not allow this call to be forwarded.",
        ),
        (AmiRefused("Transfer failed"), "internal-server-error", "The telephone system refuses: Transfer failed"),
        (
            AmiUnknown("x"),
            "remote-server-timeout",
            "The telephone system does not answer; the call may be forwarded all the same.",
        ),
    ],
)
async def test_what_asterisk_says_of_a_transfer_is_translated(error, condition, text):
    house = House(BlindTransfer=error)
    house.rings()
    house.is_answered()
    assert await refused(house.actions.forward(house.bob, house.call_of(house.bob), "103")) == (condition, text)


async def test_a_caller_who_has_hung_up_cannot_be_forwarded():
    house = House(Redirect=AmiRefused("Channel does not exist: PJSIP/101-1"))
    house.rings()
    assert await refused(house.actions.forward(house.bob, house.call_of(house.bob), "103")) == (
        "item-not-found",
        "The call is over already.",
    )


@pytest.mark.parametrize("error", [AmiNotConnected("x"), AmiUnknown("x"), AmiRefused("x")])
async def test_without_an_answer_about_the_number_nothing_is_forwarded(error):
    house = House(Getvar=error)
    house.rings()
    await refused(house.actions.forward(house.bob, house.call_of(house.bob), "103"))
    assert house.ami.names == ["Getvar"]


# hangup


async def test_a_ringing_call_is_rejected_as_busy():
    house = House(early=0.0)
    house.rings()
    await house.actions.hangup(house.bob, house.call_of(house.bob))
    assert house.ami.actions == [("Hangup", {"Channel": "PJSIP/102-2", "Cause": "17"}, {})]


def obeys(house):
    """Let Asterisk do what Hangup asks for."""

    def gone(headers):
        channel = headers["Channel"]
        end = {"Channel": channel, "Uniqueid": channel[-1], "Linkedid": "1", "Cause": headers["Cause"], **RINGING}
        asyncio.get_running_loop().call_soon(lambda: house.happens("Hangup", **end))
        return {"Response": "Success"}

    return gone


async def rings_twice():
    """Somebody calls Alice, and both her phones ring."""
    house = House()
    house.ami.answers["Hangup"] = obeys(house)
    house.rings(caller="PJSIP/103-1", called="PJSIP/101-2")
    house.happens("Newchannel", Channel="PJSIP/201-3", **DOWN, Uniqueid="3", Linkedid="1")
    source = {"Channel": "PJSIP/103-1", "Uniqueid": "1", "Linkedid": "1", **RING}
    house.happens("DialBegin", DestChannel="PJSIP/201-3", DestUniqueid="3", DestLinkedid="1", **source)
    house.happens("Newstate", Channel="PJSIP/201-3", **RINGING, Uniqueid="3", Linkedid="1")
    return house


async def test_a_call_is_rejected_on_all_phones_that_ring():
    house = await rings_twice()
    await house.actions.hangup(house.alice, house.call_of(house.alice))
    assert [headers["Channel"] for _name, headers, _variables in house.ami.actions] == ["PJSIP/101-2", "PJSIP/201-3"]
    assert house.calls.of("alice@example.org") == []


async def test_a_phone_that_picks_up_meanwhile_is_left_alone():
    house = await rings_twice()
    reject = obeys(house)

    def picked_up(headers):
        reject(headers)
        house.happens("Newstate", Channel="PJSIP/201-3", **UP, Uniqueid="3", Linkedid="1")
        return {"Response": "Success"}

    house.ami.answers["Hangup"] = picked_up
    await house.actions.hangup(house.alice, house.call_of(house.alice))
    assert house.ami.names == ["Hangup"]


async def test_a_call_is_ended_by_the_own_channel():
    house = House()
    house.rings()
    await house.actions.hangup(house.alice, house.call_of(house.alice))
    house.is_answered()
    await house.actions.hangup(house.bob, house.call_of(house.bob))
    assert [headers for _name, headers, _variables in house.ami.actions] == [
        {"Channel": "PJSIP/101-1", "Cause": "16"},
        {"Channel": "PJSIP/102-2", "Cause": "16"},
    ]


@pytest.mark.parametrize(
    ("error", "condition"),
    [
        (AmiRefused("No such channel"), "item-not-found"),
        (AmiRefused("Permission denied"), "internal-server-error"),
        (AmiUnknown("x"), "remote-server-timeout"),
        (AmiNotConnected("x"), "remote-server-timeout"),
    ],
)
async def test_a_hangup_that_fails_is_told(error, condition):
    house = House(Hangup=error)
    house.rings()
    assert (await refused(house.actions.hangup(house.bob, house.call_of(house.bob))))[0] == condition


# the log


def lines(caplog):
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "agi_xmpp.phone"]


async def test_each_action_is_one_line_of_the_log(caplog):
    caplog.set_level(logging.INFO, "agi_xmpp.phone")
    house = House(early=0.0, Getvar={"Value": "1"})
    await house.actions.dial(house.alice, "6 0 1", by=SPARK)
    channel_id = house.ami.actions[0][1]["ChannelId"]
    house.rings(caller="PJSIP/103-1")
    call_id = house.call_of(house.bob)
    await house.actions.forward(house.bob, call_id, "(6) 01")
    await house.actions.hangup(house.bob, call_id)
    assert lines(caplog) == [
        ("INFO", f"{SPARK}: dial '6 0 1' number=601 device=PJSIP/101 call=c-{channel_id} done"),
        ("INFO", f"bob@example.org: forward '(6) 01' call='{call_id}' number=601 channel=PJSIP/103-1 done"),
        ("INFO", f"bob@example.org: hangup call='{call_id}' channel=PJSIP/102-2 done"),
    ]


async def test_what_was_refused_is_a_warning_in_one_short_line(caplog):
    caplog.set_level(logging.INFO, "agi_xmpp.phone")
    house = House()
    await refused(house.actions.dial(house.alice, "700", by=SPARK))
    await refused(house.actions.dial(house.alice, "6\r\nAction: Logoff" + "x" * 10_000, by=SPARK))
    await refused(house.actions.forward(house.alice, "c-1\n" + "x" * 10_000, "601"))
    first, second, third = lines(caplog)
    assert first == ("WARNING", f"{SPARK}: dial '700' refused: forbidden, 'You may not call 700.'")
    for level, text in (second, third):
        assert level == "WARNING"
        assert text.isprintable()
        assert len(text) < 600


async def test_an_action_that_is_broken_off_is_a_warning(caplog):
    caplog.set_level(logging.INFO, "agi_xmpp.phone")
    house = House()
    task, _id = await house.dialling(house.alice, "601")
    task.cancel()
    await asyncio.wait([task])
    assert [(level, text.rpartition(" ")[0].endswith("broken")) for level, text in lines(caplog)] == [("WARNING", True)]
