"""Phone contacts: who may see them, what they are shown, and what is left after a restart."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from agi_xmpp.xmpp import contacts as module
from agi_xmpp.xmpp.contacts import Contacts
from agi_xmpp.xmpp.decloak import Answers
from agi_xmpp.xmpp.model import Show
from agi_xmpp.xmpp.phone_model import ContactState
from tests.unit.xmpp.house import lines
from tests.unit.xmpp.parsed import presence
from tests.unit.xmpp.phone_house import FakeHost

BOB = "bob@fake.test"
ALICE = "alice@phone.test"
TALKING = ContactState(Show.AWAY, "On the phone", on_phone=True, device="PJSIP/101")
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class World:
    """A component's contacts, and what they send."""

    def __init__(self, table: dict[str, str] | None = None) -> None:
        self.host = FakeHost()
        self.answers = Answers("phone", self._post, lambda: 0.0, ["media"])
        self.table: dict[str, str] = {} if table is None else table
        self.sent: list[tuple[str, str, str]] = []
        self.contacts = Contacts("phone.test", self.host, self.table, self._post, self.answers)

    def _post(self, stanza: object) -> None:
        kind = stanza.type_.value or stanza.show.value or ""  # type: ignore[attr-defined]
        self.sent.append((kind, str(stanza.from_), str(stanza.to)))  # type: ignore[attr-defined]

    def hears(
        self, kind: str, sender: str = f"{BOB}/a", to: str = ALICE, inner: str = ""
    ) -> list[tuple[str, str, str]]:
        """Return what is sent because of a presence."""
        self.sent.clear()
        attribute = f"type='{kind}'" if kind else ""
        self.contacts.presence_came(presence(f"<presence from='{sender}' to='{to}' {attribute}>{inner}</presence>"))
        return self.sent

    def shows(self, state: ContactState | None, local: str = "alice") -> list[tuple[str, str, str]]:
        """Return what is sent because a contact shows something else."""
        self.sent.clear()
        if state is None:
            del self.host.states[local]
        else:
            self.host.states[local] = state
        self.contacts.changed(local)
        return self.sent


@pytest.fixture
def world() -> World:
    return World()


class TestSubscriptions:
    def test_one_that_is_allowed(self, world: World) -> None:
        assert world.hears("subscribe") == [
            ("subscribed", ALICE, BOB),
            ("", f"{ALICE}/PJSIP-101", BOB),
        ]
        assert world.table == {"alice bob@fake.test": ""}
        assert world.shows(TALKING) == [("away", f"{ALICE}/PJSIP-101", BOB)]

    @pytest.mark.parametrize(
        ("sender", "to"),
        [("eve@fake.test/a", ALICE), ("bob@fake.test.evil/a", ALICE), (f"{BOB}/a", "nobody@phone.test")],
    )
    def test_one_that_is_not(self, world: World, sender: str, to: str) -> None:
        bare = sender.partition("/")[0]
        assert world.hears("subscribe", sender, to) == [("unsubscribed", to, bare)]
        assert world.hears("probe", sender, to) == [("unsubscribed", to, bare)]
        assert not world.table

    def test_it_ends(self, world: World) -> None:
        world.hears("subscribe")
        assert world.hears("unsubscribe") == [("unavailable", ALICE, BOB)]
        assert not world.table
        assert world.shows(TALKING) == []

    def test_a_probe_is_answered_to_who_sent_it(self, world: World) -> None:
        world.hears("subscribe")
        assert world.hears("probe") == [("", f"{ALICE}/PJSIP-101", f"{BOB}/a")]
        world.shows(ContactState(Show.OFFLINE))
        assert world.hears("probe", BOB) == [("unavailable", f"{ALICE}/phone", BOB)]

    def test_a_probe_brings_back_a_subscription_that_was_lost(self, world: World) -> None:
        assert world.hears("probe") == [("", f"{ALICE}/PJSIP-101", f"{BOB}/a")]
        assert world.shows(TALKING) == [("away", f"{ALICE}/PJSIP-101", BOB)]

    def test_a_probe_ends_what_is_no_longer_allowed(self, world: World) -> None:
        world.hears("subscribe")
        world.host.watchers.clear()
        assert world.shows(TALKING) == []
        assert world.hears("probe") == [("unsubscribed", ALICE, BOB)]
        assert not world.table

    @pytest.mark.parametrize(
        ("condition", "gone"),
        [("item-not-found", True), ("gone", True), ("remote-server-timeout", False), ("service-unavailable", False)],
    )
    def test_a_presence_that_comes_back(self, world: World, condition: str, gone: bool) -> None:
        world.hears("subscribe")
        error = f"<error type='cancel'><{condition} xmlns='{STANZAS}'/></error>"
        assert world.hears("error", BOB, inner=error) == []
        assert world.table == ({} if gone else {"alice bob@fake.test": ""})
        assert len(world.shows(TALKING)) == (0 if gone else 1)

    @pytest.mark.parametrize("kind", ["", "unavailable", "subscribed", "unsubscribed", "error"])
    def test_what_means_nothing_here(self, world: World, kind: str) -> None:
        world.hears("subscribe")
        assert world.hears(kind) == []
        assert world.table

    @pytest.mark.parametrize(("limit", "count"), [("SUBSCRIBERS_EACH", 3), ("SUBSCRIPTIONS", 3)])
    def test_the_limits(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limit: str, count: int
    ) -> None:
        monkeypatch.setattr(module, limit, count)
        world.host.watchers = {"*"}
        for n in range(count):
            assert world.hears("subscribe", f"u{n}@x.org")[0][0] == "subscribed"
        assert world.hears("subscribe", "u0@x.org")[0][0] == "subscribed"  # that one is there already
        assert world.hears("subscribe", "late@x.org") == [("unsubscribed", ALICE, "late@x.org")]
        assert "too many subscriptions" in lines(caplog)[-1]
        world.hears("unsubscribe", "u0@x.org")
        assert world.hears("subscribe", "late@x.org")[0][0] == "subscribed"


MEDIA = "<temppres xmlns='urn:xmpp:temppres:0' reason='media'/>"


class TestTemporaryPresence:
    """XEP-0276 section 4: who has no subscription asks for a moment."""

    async def test_a_phone_contact_and_a_number(self, world: World) -> None:
        assert world.hears("", inner=MEDIA) == [("", f"{ALICE}/PJSIP-101", f"{BOB}/a")]
        number = "+4930123@phone.test"
        assert world.hears("", to=number, inner=MEDIA) == [("", f"{number}/phone", f"{BOB}/a")]
        assert world.hears("unavailable") == [("unavailable", f"{ALICE}/PJSIP-101", f"{BOB}/a")]
        assert world.hears("unavailable") == []
        assert world.hears("unavailable", to=number) == [("unavailable", f"{number}/phone", f"{BOB}/a")]
        assert not world.table

    async def test_a_busy_one_shows_no_more_than_that_it_is_there(self, world: World) -> None:
        world.shows(TALKING)
        assert world.hears("", inner=MEDIA) == [("", f"{ALICE}/PJSIP-101", f"{BOB}/a")]
        assert world.shows(ContactState(Show.DND)) == []  # and nothing is told of changes
        world.answers.stop()

    @pytest.mark.parametrize(
        ("sender", "to", "inner"),
        [
            ("eve@fake.test/a", ALICE, MEDIA),
            ("bob@fake.test.evil/a", ALICE, MEDIA),
            ("eve@fake.test/a", "+4930123@phone.test", MEDIA),
            (f"{BOB}/a", "+900@phone.test", MEDIA),
            (f"{BOB}/a", "nobody@phone.test", MEDIA),
            (f"{BOB}/a", ALICE, ""),
            (f"{BOB}/a", ALICE, MEDIA.replace("media", "file")),
        ],
        ids=["stranger", "other domain", "stranger's number", "forbidden", "nobody", "no request", "reason"],
    )
    async def test_who_gets_nothing(self, world: World, sender: str, to: str, inner: str) -> None:
        assert world.hears("", sender, to, inner) == []
        assert world.hears("unavailable", sender, to) == []

    async def test_one_that_is_offline(self, world: World) -> None:
        world.shows(ContactState(Show.OFFLINE))
        assert world.hears("", inner=MEDIA) == []

    async def test_a_subscriber_sees_more_already(self, world: World) -> None:
        world.hears("subscribe")
        assert world.hears("", inner=MEDIA) == []

    async def test_it_becomes_a_subscription(self, world: World) -> None:
        world.hears("", inner=MEDIA)
        assert world.hears("subscribe")[0] == ("subscribed", ALICE, BOB)
        assert world.hears("unavailable") == []

    async def test_a_subscription_that_asks_as_well_is_a_subscription(self, world: World) -> None:
        assert world.hears("subscribe", inner=MEDIA) == [
            ("subscribed", ALICE, BOB),
            ("", f"{ALICE}/PJSIP-101", BOB),
        ]
        assert world.hears("subscribe", "eve@fake.test/a", inner=MEDIA) == [("unsubscribed", ALICE, "eve@fake.test")]

    async def test_one_that_comes_back(self, world: World) -> None:
        world.hears("", inner=MEDIA)
        assert world.hears("error") == []
        assert world.hears("unavailable") == []


class TestChanges:
    @pytest.fixture
    def world(self) -> World:
        return World({"alice bob@fake.test": ""})

    def test_what_is_the_same_is_not_sent_again(self, world: World) -> None:
        assert len(world.shows(TALKING)) == 1
        assert world.shows(TALKING) == []
        assert len(world.shows(dataclasses.replace(TALKING, status="Away"))) == 1

    def test_another_device_takes_the_place_of_the_first(self, world: World) -> None:
        world.shows(TALKING)
        assert world.shows(dataclasses.replace(TALKING, device="PJSIP/102")) == [
            ("unavailable", f"{ALICE}/PJSIP-101", BOB),
            ("away", f"{ALICE}/PJSIP-102", BOB),
        ]

    def test_offline_and_back(self, world: World) -> None:
        world.shows(TALKING)
        assert world.shows(ContactState(Show.OFFLINE, device="PJSIP/101")) == [
            ("unavailable", f"{ALICE}/PJSIP-101", BOB)
        ]
        assert world.shows(dataclasses.replace(TALKING, device="PJSIP/102")) == [("away", f"{ALICE}/PJSIP-102", BOB)]

    def test_a_contact_that_is_no_longer_there(self, world: World) -> None:
        world.shows(TALKING)
        assert ("unavailable", f"{ALICE}/PJSIP-101", BOB) in world.shows(None)
        assert world.table  # it may come back

    def test_nobody_else_hears_of_it(self, world: World) -> None:
        assert world.shows(TALKING, "bob") == []

    def test_the_end(self, world: World) -> None:
        world.shows(TALKING)
        world.sent.clear()
        world.contacts.leave()
        assert world.sent == [("unavailable", f"{ALICE}/PJSIP-101", BOB)]
        world.sent.clear()
        world.contacts.leave()
        assert world.sent == []


class TestRestart:
    async def test_everybody_is_shown_everything_again(self) -> None:
        first = World()
        first.host.watchers = {"*"}
        for who, to in itertools.product(("bob@fake.test", "carol@x.org"), ("alice", "d\\27artagnan")):
            first.host.states["d\\27artagnan"] = TALKING
            first.hears("subscribe", who, f"{to}@phone.test")
        second = World(first.table)
        second.host.watchers = {"*"}
        second.host.states["d\\27artagnan"] = TALKING
        for _ in range(2):  # each session anew
            second.sent.clear()
            await second.contacts.session_began()
            assert sorted(second.sent) == [
                ("", f"{ALICE}/PJSIP-101", "bob@fake.test"),
                ("", f"{ALICE}/PJSIP-101", "carol@x.org"),
                ("away", "d\\27artagnan@phone.test/PJSIP-101", "bob@fake.test"),
                ("away", "d\\27artagnan@phone.test/PJSIP-101", "carol@x.org"),
            ]

    async def test_what_is_not_ours_in_the_table_is_left_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        world = World({"alice": "", "alice @": "", "alice bob@fake.test": ""})
        await world.contacts.session_began()
        assert [to for _, _, to in world.sent] == [BOB]
        assert len(world.table) == 3
        assert len(lines(caplog)) == 2
