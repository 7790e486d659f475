"""What can be said, what the forms ask, and what comes of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.ami.calls import Party, Phase
from agi_xmpp.errors import Refused
from agi_xmpp.features.phone.command_set import COMMANDS, MAX_LIST, MAX_NUMBER, Asked, CallNames, command_set
from agi_xmpp.features.phone.people import People
from agi_xmpp.xmpp.model import Jid
from tests.unit.features.phone.house import ANN, BOB, CAROL, PEOPLE, Board, call, person, settings

PC = Jid("bob", "x.org", "pc")


class Stage(Board):
    """The commands on a switchboard."""

    def __init__(self, people: People = PEOPLE) -> None:
        super().__init__(people)
        self.commands = {command.node: command for command in command_set(self.switchboard)}

    def read(self, text: str) -> tuple[str, dict[str, str]] | None:
        """Return the command that a text is, and what it says; without what it does not say."""
        found = [(node, values) for node, c in self.commands.items() if (values := c.read(text)) is not None]
        assert len(found) < 2
        return (found[0][0], {key: value for key, value in found[0][1].items() if value}) if found else None

    async def say(self, text: str, who: Any = BOB) -> str:
        found = self.read(text)
        assert found, text
        return await self.commands[found[0]].run(Asked(person(who), found[1], PC))


RINGING = call()
TALKING = call(id="c-2", phase=Phase.TALKING, party=Party("103", "Carol"), began=940.0, answered=950.0, held=True)
DIALLING = call(id="c-3", phase=Phase.DIALLING, incoming=False, party=Party("601"), began=990.0)


class TestWords:
    @pytest.mark.parametrize(
        ("text", "command", "values"),
        [
            ("call 601", "dial", {"target": "601"}),
            ("CALL 601", "dial", {"target": "601"}),
            ("dial +49 (30) 12-34", "dial", {"target": "+49 (30) 12-34"}),
            ("call ann", "dial", {"target": "ann"}),
            ("call Ann Smith", "dial", {"target": "Ann Smith"}),
            ("call bob@example.org", "dial", {"target": "bob@example.org"}),
            ("call bob@example.org from PJSIP/201", "dial", {"target": "bob@example.org", "device": "PJSIP/201"}),
            ("call 601 FROM pjsip/201", "dial", {"target": "601", "device": "pjsip/201"}),
            ("calls", "calls", {}),
            ("my calls", "calls", {}),
            ("transfer 103", "forward", {"target": "103"}),
            ("forward to carol", "forward", {"target": "carol"}),
            ("transfer #2 103", "forward", {"call": "2", "target": "103"}),
            ("Transfer call #2 to 103", "forward", {"call": "2", "target": "103"}),
            ("hangup", "hangup", {}),
            ("hang up", "hangup", {}),
            ("Hang up #2", "hangup", {"call": "2"}),
            ("reject call #2", "hangup", {"call": "2"}),
            ("hangup 2", "hangup", {"call": "2"}),
            ("do not disturb on", "dnd", {"state": "on"}),
            ("call 601 from 202", "dial", {"target": "601", "device": "202"}),
            ("dnd", "dnd", {}),
            ("DND On", "dnd", {"state": "On"}),
            ("dnd off", "dnd", {"state": "off"}),
            ("devices", "devices", {}),
            ("my phones", "devices", {}),
            ("notes on", "notes", {"state": "on"}),
            ("notes", "notes", {}),
            ("tell me when ann is free", "notify", {"person": "ann"}),
            ("notify me when Ann Smith is available again", "notify", {"person": "Ann Smith"}),
            ("notify off", "notify", {"state": "off"}),
            ("help", "help", {}),
            ("?", "help", {}),
        ],
    )
    def test_what_is_a_command(self, text, command, values):
        assert Stage().read(text) == (command, values)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "call",
            "call me back later",
            "call from",
            "call 5 minutes later",
            "call 1;2",
            "please call 601",
            "calls 601",
            "transfer",
            "transfer #2",
            "forward the mail to me",
            "hangup now",
            "dnd maybe",
            "devices PJSIP/101",
            "tell me when ann is back from lunch",
            "tell me when is free",
            "help me",
            "1",
            "yes",
            "busy",
            "free",
        ],
    )
    def test_what_is_none(self, text):
        assert Stage().read(text) is None

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_example_is_what_it_says(self, command):
        stage = Stage()
        assert command.examples
        for text, _ in command.examples:
            found = stage.read(text)
            assert found is not None, text
            assert found[0] == command.node, text

    @given(st.text(max_size=60))
    def test_a_text_is_at_most_one_command(self, text):
        Stage().read(" ".join(text.split()))

    @given(st.sampled_from(["call ", "transfer ", "tell me when "]), st.text(max_size=40), st.text(max_size=40))
    def test_endless_texts_take_no_time(self, word, left, right):
        Stage().read(" ".join(f"{word}{left * 20} from is free to {right * 20}".split()))


class TestDial:
    @pytest.mark.parametrize(
        ("text", "target", "whom"),
        [
            ("call 601", "601", "601"),
            ("call 101", "101", "101"),
            ("call an", "101", "Ann Smith"),
            ("call ann@x.org", "101", "Ann Smith"),
            ("call a@b.org", "a@b.org", "a@b.org"),
        ],
    )
    async def test_whom(self, text, target, whom):
        stage = Stage()
        answer = await stage.say(text)
        assert stage.acting.done == [("dial", BOB, target, "")]
        assert answer == f"Your phone PJSIP/102 rings. Pick it up, and {whom} is called."

    async def test_with_which_phone(self):
        stage = Stage()
        assert "PJSIP/201 rings" in await stage.say("call 601 from PJSIP/201", ANN)
        assert stage.acting.done == [("dial", ANN, "601", "PJSIP/201")]

    async def test_somebody_of_several(self):
        users = {"ann@x.org": {"devices": ["PJSIP/1"]}, "anna@x.org": {"devices": ["PJSIP/2"]}}
        stage = Stage(People(settings(user=users)))
        with pytest.raises(Refused, match=r"could be ann \(1\), anna \(2\)"):
            await stage.say("call an")

    async def test_nobody(self):
        with pytest.raises(Refused, match="Whom"):
            await Stage().commands["dial"].run(Asked(person(BOB), {"target": " "}, PC))

    def test_form(self):
        commands = Stage().commands
        form = commands["dial"].form(person(ANN))
        assert form is not None
        target, device = form.fields
        assert (target.var, target.options, target.required) == ("target", (), True)
        assert (device.var, device.value, len(device.options)) == ("device", "PJSIP/101", 2)
        one = commands["dial"].form(person(BOB))
        assert one is not None
        assert [field.var for field in one.fields] == ["target"]


class TestCalls:
    async def test_none(self):
        stage = Stage()
        assert await stage.say("calls") == "You have no calls now."
        assert stage.commands["calls"].form(person(BOB)) is None

    async def test_several(self):
        stage = Stage()
        stage.clock.now = 1000.0
        stage.calls["bob@x.org"] = [RINGING, DIALLING, TALKING]
        stage.calls["ann@x.org"] = [call(ANN, id="c-9")]
        stage.calls["bob@x.org"][0] = call(began=998.0)
        assert await stage.say("calls") == (
            "#1 Carol, 103: talking for 0:50 on PJSIP/102, on hold\n"
            "#2 601: is being called for 0:10 on PJSIP/102\n"
            "#3 Ann Smith, 101: rings for 0:02 on PJSIP/102"
        )


class TestForward:
    async def test_the_only_one(self):
        stage = Stage()
        stage.calls["bob@x.org"] = [DIALLING, RINGING]
        assert await stage.say("transfer carol") == "Forwarded to Carol: Ann Smith, 101."
        assert stage.acting.done == [("forward", BOB, "c-1", "103")]

    async def test_one_of_several(self):
        stage = Stage()
        stage.calls["bob@x.org"] = [RINGING, TALKING]
        with pytest.raises(Refused) as caught:
            await stage.say("transfer 103")
        assert str(caught.value).splitlines() == [
            "You have 2 calls. Which one? Say for example “transfer #1 103”.",
            "#1 Ann Smith, 101: rings for 16:40 on PJSIP/102",
            "#2 Carol, 103: talking for 0:50 on PJSIP/102, on hold",
        ]
        await stage.say("transfer #2 103")
        assert stage.acting.done == [("forward", BOB, "c-2", "103")]

    async def test_what_was_typed_is_no_pattern_for_us(self):
        stage = Stage()
        stage.calls["bob@x.org"] = [RINGING, TALKING]
        with pytest.raises(Refused, match=re.escape("“transfer #1 {0.__class__} {number")):
            await stage.commands["forward"].run(Asked(person(BOB), {"target": "{0.__class__} {number"}, PC))

    @pytest.mark.parametrize("text", ["transfer 103", "transfer #1 103"])
    async def test_none(self, text):
        stage = Stage()
        stage.calls["bob@x.org"] = [DIALLING]
        with pytest.raises(Refused, match="no call for that") as caught:
            await stage.say(text)
        assert caught.value.condition == "item-not-found"
        with pytest.raises(Refused, match="could be forwarded"):
            stage.commands["forward"].form(person(BOB))

    @pytest.mark.parametrize("named", ["7", "c-9", "\n"])
    async def test_no_such_call(self, named):
        stage = Stage()
        stage.calls["bob@x.org"] = [RINGING]
        stage.calls["ann@x.org"] = [call(ANN, id="c-9")]
        with pytest.raises(Refused, match="You have no call"):
            await stage.commands["forward"].run(Asked(person(BOB), {"call": named, "target": "103"}, PC))
        assert stage.acting.done == []

    async def test_form(self):
        stage = Stage()
        stage.calls["bob@x.org"] = [DIALLING, RINGING, TALKING]
        form = stage.commands["forward"].form(person(BOB))
        assert form is not None
        which, target = form.fields
        assert ([key for key, _ in which.options], which.value) == (["c-1", "c-2"], "c-1")
        assert target.required
        await stage.commands["forward"].run(Asked(person(BOB), {"call": "c-2", "target": "103"}, PC))
        assert stage.acting.done == [("forward", BOB, "c-2", "103")]


class TestHangUp:
    async def test_the_only_one(self):
        stage = Stage()
        stage.calls["bob@x.org"] = [RINGING]
        assert stage.commands["hangup"].form(person(BOB)) is None
        assert await stage.say("hangup") == "Rejected: Ann Smith, 101."
        stage.calls["bob@x.org"] = [TALKING]
        assert await stage.say("hang up") == "Ended: Carol, 103."
        assert stage.acting.done == [("hangup", BOB, "c-1"), ("hangup", BOB, "c-2")]

    async def test_one_of_several(self):
        stage = Stage()
        stage.calls["bob@x.org"] = [RINGING, TALKING]
        with pytest.raises(Refused, match="“hangup #1”"):
            await stage.say("hangup")
        form = stage.commands["hangup"].form(person(BOB))
        assert form is not None
        assert [key for key, _ in form.fields[0].options] == ["c-1", "c-2"]

    async def test_none(self):
        with pytest.raises(Refused, match="You have no call"):
            Stage().commands["hangup"].form(person(BOB))
        with pytest.raises(Refused, match="You have no call"):
            await Stage().say("hangup")


@pytest.mark.parametrize(("command", "words"), [("dnd", "Do not disturb is"), ("notes", "Messages about calls are")])
async def test_switches(command, words):
    stage = Stage()
    assert await stage.say(f"{command} off") == f"{words} off now."
    assert await stage.say(f"{command} ON") == f"{words} on now."
    assert await stage.say(command) == f"{words} on."
    form = stage.commands[command].form(person(BOB))
    assert form is not None
    assert form.fields[0].value == "off"
    assert await stage.say(f"{command} off") == f"{words} off now."
    with pytest.raises(Refused, match="on or off"):
        await stage.commands[command].run(Asked(person(BOB), {"state": "perhaps"}, PC))
    await stage.switchboard.availability.stop()


async def test_devices():
    stage = Stage()
    stage.states = {"PJSIP/101": "NOT_INUSE", "PJSIP/201": "UNAVAILABLE", "PJSIP/102": "INUSE"}
    assert await stage.say("devices", ANN) == "PJSIP/101: free\nPJSIP/201: out of reach: not registered"
    stage.calls["bob@x.org"] = [RINGING, TALKING]
    assert await stage.say("devices") == "PJSIP/102: call #1, #2"
    assert await stage.say("devices", CAROL) == "PJSIP/103: not known"
    stage.states["PJSIP/103"] = "SOMETHING_NEW"
    assert await stage.say("devices", CAROL) == "PJSIP/103: something_new"


class TestNotify:
    async def test_on_and_off(self):
        stage = Stage()
        stage.calls["ann@x.org"] = [call(ANN)]
        assert "told when Ann Smith is free" in await stage.say("tell me when ann is free")
        form = stage.commands["notify"].form(person(BOB))
        assert form is not None
        assert form.instructions == "You wait for Ann Smith now."
        assert form.fields[0].options == (("ann@x.org", "Ann Smith"), ("carol@x.org", "Carol"))
        assert await stage.say("notify off") == "You wait for nobody any more (1 until now)."
        assert "free now" in await stage.say("tell me when carol is free")

    async def test_nobody(self):
        with pytest.raises(Refused, match="Nobody with a phone is called “zoe”"):
            await Stage().say("tell me when zoe is free")
        with pytest.raises(Refused, match="For whom"):
            await Stage().commands["notify"].run(Asked(person(BOB), {}, PC))

    @pytest.mark.parametrize(("others", "listed"), [(MAX_LIST - 1, True), (MAX_LIST, True), (MAX_LIST + 1, False)])
    def test_a_list_of_many_is_typed(self, others, listed):
        users = {f"u{n}@x.org": {"devices": [f"PJSIP/{n}"]} for n in range(others)}
        stage = Stage(People(settings(user=users | {"bob@x.org": {"devices": ["PJSIP/b"]}})))
        form = stage.commands["notify"].form(person(BOB))
        assert form is not None
        assert len(form.fields[0].options) == (others if listed else 0)


class TestConference:
    @pytest.mark.parametrize(
        ("text", "people"),
        [
            ("conf", ""),
            ("conf ann bob", "ann bob"),
            ("CONF 6000 ann", "6000 ann"),
            ("conf Ann Smith, bob", "Ann Smith, bob"),
        ],
    )
    async def test_who_is_to_come_is_passed_on(self, text, people):
        stage = Stage()
        assert await stage.say(text) == "Conference 6001 is the room 6001@conference.x.org."
        assert stage.convening is not None
        assert stage.convening.convened == [(PC, people)]

    @pytest.mark.parametrize("text", ["conference at five", "confirm ann", "configure", "confann"])
    def test_what_is_no_command(self, text):
        assert Stage().read(text) is None

    async def test_what_comes_of_it_later_is_told_in_chat(self):
        stage = Stage()
        await stage.say("conf ann")
        assert stage.convening is not None
        stage.convening.say("Ann Smith does not come: User busy (SIP 486).")
        assert stage.told == [(person(BOB), "Ann Smith does not come: User busy (SIP 486).")]

    async def test_a_refusal_is_passed_on(self):
        stage = Stage()
        assert stage.convening is not None
        stage.convening.refusal = Refused("You may not invite to 6000.", "forbidden")
        with pytest.raises(Refused, match="You may not invite"):
            await stage.say("conf 6000 ann")

    def test_the_form_asks_for_people(self):
        form = Stage().commands["conf"].form(person(BOB))
        assert form is not None
        assert [field.var for field in form.fields] == ["people"]

    async def test_it_is_not_offered_where_there_are_no_conferences(self):
        stage = Stage()
        stage.convening = None
        assert not stage.commands["conf"].is_offered
        assert stage.read("conf ann") is None
        assert "conf" not in await stage.say("help")
        with pytest.raises(Refused, match="no conferences"):
            await stage.commands["conf"].run(Asked(person(BOB), {}, PC))
        with pytest.raises(Refused, match="no conferences"):
            stage.commands["conf"].form(person(BOB))


async def test_help_lists_all():
    stage = Stage()
    text = await stage.say("help")
    assert all(example in text for command in COMMANDS for example, _ in command.examples)


class TestCallNames:
    def test_a_call_keeps_its_number(self):
        names = CallNames()
        first, second, third = (call(id=f"c-{n}", began=n) for n in range(3))
        assert names.name("bob", [second, first]) == [(1, first), (2, second)]
        assert names.name("bob", [second]) == [(2, second)]
        # The number of the first one names nobody now, so that nobody is hung up by mistake.
        assert names.name("bob", [third, second]) == [(2, second), (3, third)]
        assert names.name("ann", [first]) == [(1, first)]

    def test_numbers_begin_again_and_skip_those_in_use(self):
        names = CallNames()
        old = call(id="old")
        assert names.name("bob", [old]) == [(1, old)]
        for n in range(2, MAX_NUMBER + 1):
            assert names.name("bob", [old, call(id=f"c-{n}", began=1.0)])[1][0] == n
        assert names.name("bob", [old, call(id="new", began=1.0)])[1][0] == 2

    def test_more_calls_than_numbers(self):
        many = [call(id=f"c-{n}", began=n) for n in range(MAX_NUMBER + 2)]
        assert len(CallNames().name("bob", many)) == MAX_NUMBER + 2
