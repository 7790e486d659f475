"""Temporary presence: whom we ask, whom we answer, and that each ends by one unavailable presence."""

from __future__ import annotations

import asyncio
from typing import Any

import aioxmpp
import aioxmpp.entitycaps.xso
import pytest

from agi_xmpp.errors import BadJid
from agi_xmpp.xmpp import decloak as module
from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.decloak import AllowList, Answers, Asking
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Caps, Jid, Show
from tests.unit.xmpp.house import lines

JULIET = parse("juliet@capulet.lit")
BALCONY = parse("juliet@capulet.lit/balcony")
GARDEN = parse("juliet@capulet.lit/garden")
OURS = parse("4930123@phone.test/phone")
CAPS = aioxmpp.entitycaps.xso.Caps115("urn:ours", "hash", "sha-1")


def words(stanza: Any) -> tuple[str, str]:
    asks = stanzas.asked_for(stanza)
    return str(stanza.to), stanza.type_.value or ("here" if asks is None else f"asks for {asks}")


class Out:
    """What was sent."""

    def __init__(self) -> None:
        self.stanzas: list[Any] = []

    def post(self, stanza: Any) -> None:
        self.stanzas.append(stanza)

    def take(self) -> list[tuple[str, str]]:
        taken = [words(stanza) for stanza in self.stanzas]
        self.stanzas.clear()
        return taken


@pytest.fixture
def out() -> Out:
    return Out()


ASKED = [("juliet@capulet.lit", "asks for media")]
HIDDEN = [("juliet@capulet.lit", "unavailable")]


class TestAsking:
    @pytest.fixture
    def friends(self) -> set[Jid]:
        return set()

    @pytest.fixture
    def asking(self, out: Out, friends: set[Jid]) -> Asking:
        return Asking(
            "main",
            out.post,
            lambda who, reason: stanzas.minimal_presence(None, who, CAPS, asking_for=reason),
            lambda who: None if who in friends else stanzas.hiding(None, who),
        )

    async def test_somebody_answers(self, asking: Asking, out: Out) -> None:
        share = asking.begin(JULIET, "media")
        assert share is not None
        assert out.take() == ASKED
        waiting = asyncio.ensure_future(share.presence(20))
        await asyncio.sleep(0)
        asking.available(parse("romeo@montague.lit/x"), Show.DND, "", 0, None)
        asking.available(BALCONY, Show.ONLINE, "", 0, Caps("sha-1", "n", "v"))
        seen = await waiting
        assert (seen.show, seen.resource, seen.caps) == (Show.ONLINE, "balcony", Caps("sha-1", "n", "v"))
        assert [each.resource for each in asking.resources(JULIET)] == ["balcony"]
        assert out.take() == []
        share.end()
        share.end()
        assert out.take() == HIDDEN
        assert asking.resources(JULIET) == []
        assert (await share.presence(20)).show is Show.OFFLINE

    async def test_the_request_goes_to_the_bare_jid_and_the_resource_that_was_asked_for_counts(
        self, asking: Asking, out: Out
    ) -> None:
        share = asking.begin(BALCONY, "media")
        assert share is not None
        assert out.take() == ASKED
        asking.available(GARDEN, Show.ONLINE, "", 0, None)
        assert (await share.presence(0)).show is Show.OFFLINE
        asking.available(BALCONY, Show.AWAY, "", 0, None)
        assert (await share.presence(0)).show is Show.AWAY
        asking.unavailable(BALCONY)
        assert (await share.presence(0)).show is Show.OFFLINE
        share.end()

    async def test_silence(self, asking: Asking, out: Out) -> None:
        share = asking.begin(JULIET, "media")
        assert share is not None
        assert (await share.presence(0.01)).show is Show.OFFLINE
        share.end()
        assert out.take() == ASKED + HIDDEN

    async def test_an_error_ends_the_wait(self, asking: Asking) -> None:
        share = asking.begin(JULIET, "media")
        assert share is not None
        waiting = asyncio.ensure_future(share.presence(3600))
        await asyncio.sleep(0)
        asking.unavailable(JULIET, refused=True)
        async with asyncio.timeout(5):
            assert (await waiting).show is Show.OFFLINE

    async def test_several_calls_share_it(self, asking: Asking, out: Out) -> None:
        first, second = asking.begin(JULIET, "media"), asking.begin(BALCONY, "text")
        assert first is not None
        assert second is not None
        assert out.take() == ASKED
        asking.available(BALCONY, Show.ONLINE, "", 0, None)
        first.end()
        first.end()
        assert out.take() == []
        assert (await second.presence(0)).show is Show.ONLINE
        second.end()
        assert out.take() == HIDDEN
        third = asking.begin(JULIET, "media")
        assert third is not None
        assert out.take() == ASKED
        assert (await third.presence(0)).show is Show.OFFLINE  # what was learnt is forgotten

    async def test_who_has_been_silent_to_another_call_is_not_waited_for_again(self, asking: Asking) -> None:
        first = asking.begin(JULIET, "media")
        assert first is not None
        await first.presence(0.01)
        second = asking.begin(JULIET, "media")
        assert second is not None
        async with asyncio.timeout(5):
            assert (await second.presence(0.01)).show is Show.OFFLINE

    async def test_who_sees_us_in_any_case_does_not_see_us_go(
        self, asking: Asking, out: Out, friends: set[Jid]
    ) -> None:
        share = asking.begin(JULIET, "media")
        assert share is not None
        friends.add(JULIET)
        share.end()
        assert out.take() == ASKED

    async def test_the_account_stops(self, asking: Asking, out: Out) -> None:
        share = asking.begin(JULIET, "media")
        assert share is not None
        waiting = asyncio.ensure_future(share.presence(3600))
        await asyncio.sleep(0)
        asking.stop()
        async with asyncio.timeout(5):
            assert (await waiting).show is Show.OFFLINE
        share.end()
        assert out.take() == ASKED + HIDDEN

    async def test_the_session_ends(self, asking: Asking, out: Out, friends: set[Jid]) -> None:
        shares = [asking.begin(JULIET, "media"), asking.begin(parse("bob@x.org"), "media")]
        friends.add(parse("bob@x.org"))
        out.take()
        assert [words(stanza) for stanza in asking.session_ended()] == HIDDEN
        for share in shares:
            assert share is not None
            share.end()
        assert out.take() == []
        assert asking.session_ended() == []

    @pytest.mark.parametrize("limit", [1, 2, 3])
    async def test_the_limit(
        self, asking: Asking, monkeypatch: pytest.MonkeyPatch, limit: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(module, "SHARES", limit)
        shares = [asking.begin(parse(f"p{number}@x.org"), "media") for number in range(3)]
        assert [share is not None for share in shares] == [number < limit for number in range(3)]
        assert len(lines(caplog)) == 3 - limit
        assert asking.begin(parse("p0@x.org"), "media") is not None  # one of those that are asked


class World:
    """Answers, with a clock."""

    def __init__(self, out: Out, *reasons: str) -> None:
        self.now = 0.0
        self.out = out
        self.answers = Answers("main", out.post, lambda: self.now, reasons or ("media",))

    def asked(self, who: Jid = BALCONY, reason: str = "media", sender: Jid | None = None) -> list[tuple[str, str]]:
        self.answers.answer(who, reason, CAPS, sender)
        return self.out.take()


HERE = [("juliet@capulet.lit/balcony", "here")]
GONE = [("juliet@capulet.lit/balcony", "unavailable")]


class TestAnswers:
    @pytest.fixture
    def world(self, out: Out) -> World:
        return World(out)

    async def test_one_presence_with_nothing_but_capabilities_to_the_full_jid(self, world: World) -> None:
        world.answers.answer(BALCONY, "media", CAPS)
        (answer,) = world.out.stanzas
        assert words(answer) == HERE[0]
        assert answer.xep0115_caps is CAPS
        assert (answer.show, dict(answer.status), answer.priority) == (aioxmpp.PresenceShow.NONE, {}, 0)
        assert (answer.from_, list(answer.xep0276_requests)) == (None, [])

    @pytest.mark.parametrize(
        ("reasons", "reason", "answered"),
        [
            (("media",), "media", True),
            (("media",), "", True),
            (("media",), "file", False),
            (("media",), "carrier pigeon", False),
            (("text", "file"), "file", True),
            (("carrier pigeon",), "carrier pigeon", True),
        ],
    )
    async def test_the_reason(self, out: Out, reasons: tuple[str, ...], reason: str, answered: bool) -> None:
        world = World(out, *reasons)
        assert world.asked(reason=reason) == (HERE if answered else [])
        world.answers.stop()
        assert out.take() == (GONE if answered else [])

    async def test_no_reasons_at_all(self, out: Out) -> None:
        answers = Answers("main", out.post, lambda: 0.0, [])
        assert not answers.answer(BALCONY, "media", CAPS)

    async def test_they_go(self, world: World) -> None:
        assert world.asked() == HERE
        world.answers.theirs_ended(GARDEN)
        world.answers.theirs_ended(BALCONY, "other")
        assert world.out.take() == []
        world.answers.theirs_ended(BALCONY)
        world.answers.theirs_ended(BALCONY)
        assert world.out.take() == GONE

    async def test_all_their_clients_go(self, world: World) -> None:
        world.asked()
        world.asked(GARDEN)
        world.answers.theirs_ended(JULIET)
        assert sorted(world.out.take()) == [*GONE, ("juliet@capulet.lit/garden", "unavailable")]

    async def test_it_ends_by_itself(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SHARE_TIME", 0.0)
        sent = asyncio.Event()

        def post(stanza: Any) -> None:
            world.out.post(stanza)
            if stanza.type_ is aioxmpp.PresenceType.UNAVAILABLE:
                sent.set()

        monkeypatch.setattr(world.answers, "_post", post)
        world.answers.answer(BALCONY, "media", CAPS)
        async with asyncio.timeout(5):
            await sent.wait()
        assert world.out.take() == HERE + GONE
        world.answers.theirs_ended(BALCONY)
        assert world.out.take() == []

    async def test_a_subscription_takes_its_place(self, world: World) -> None:
        world.asked()
        world.answers.replaced(JULIET)
        world.answers.theirs_ended(BALCONY)
        world.answers.stop()
        assert world.out.take() == []

    async def test_addresses_of_ours_are_apart(self, world: World) -> None:
        world.answers.answer(BALCONY, "media", CAPS, OURS)
        assert str(world.out.stanzas[0].from_) == str(OURS)
        assert world.out.take() == HERE
        assert world.asked() == HERE
        world.answers.theirs_ended(BALCONY)
        assert world.out.take() == GONE
        world.answers.theirs_ended(BALCONY, OURS.local)
        assert str(world.out.stanzas[0].from_) == str(OURS)
        assert world.out.take() == GONE

    async def test_not_too_often_for_one_person(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "ANSWERS_EACH", 2)
        assert world.asked() == HERE
        assert world.asked() == HERE
        assert world.asked() == []
        assert world.asked(GARDEN) == []  # another client of the same person
        assert world.asked(parse("romeo@montague.lit/x")) != []
        world.now = module.PERIOD - 0.001
        assert world.asked() == []
        world.now = module.PERIOD
        assert world.asked() == HERE
        world.answers.stop()
        assert sorted(world.out.take()) == [*GONE, ("romeo@montague.lit/x", "unavailable")]

    @pytest.mark.parametrize("limit", [1, 2, 3])
    async def test_not_too_many_people(
        self, world: World, monkeypatch: pytest.MonkeyPatch, limit: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(module, "SHARES", limit)
        answers = [world.asked(parse(f"p{number}@x.org/r")) for number in range(3)]
        assert [bool(answer) for answer in answers] == [number < limit for number in range(3)]
        assert len(lines(caplog)) == 3 - limit
        assert world.asked(parse("p0@x.org/r")) != []
        world.answers.stop()

    async def test_the_session_ends(self, world: World) -> None:
        world.asked()
        assert [words(stanza) for stanza in world.answers.session_ended()] == GONE
        assert world.answers.session_ended() == []
        world.answers.stop()
        assert world.out.take() == []


class TestAllowList:
    @pytest.mark.parametrize(
        ("who", "allowed"),
        [
            ("juliet@capulet.lit/balcony", True),
            ("nurse@capulet.lit", False),
            ("romeo@montague.lit/x", True),
            ("montague.lit", True),
            ("romeo@evil.montague.lit", False),
            ("montague.lit@evil.lit", False),
        ],
    )
    def test_addresses_and_domains(self, who: str, allowed: bool) -> None:
        assert (parse(who) in AllowList(["Juliet@Capulet.lit", "montague.lit"])) is allowed

    def test_empty_is_nobody(self) -> None:
        assert JULIET not in AllowList([])

    def test_what_is_neither(self) -> None:
        with pytest.raises(BadJid):
            AllowList(["a@b@c"])
