"""What clients can do: hashes that are checked, the old form, and what is remembered."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from types import SimpleNamespace
from typing import Any

import aioxmpp
import aioxmpp.disco.xso
import aioxmpp.errors
import aioxmpp.forms.xso
import aioxmpp.xml
import pytest
from aioxmpp.entitycaps.caps115 import hash_query

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp import caps as module
from agi_xmpp.xmpp.caps import CapsReader
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Caps
from tests.unit.xmpp.house import lines

BOB = parse("bob@x.org/pc")
EVE = parse("eve@x.org/pc")
AUDIO = "urn:xmpp:jingle:apps:rtp:audio"


def info(*features: str, kind: str = "pc") -> Any:
    identity = aioxmpp.disco.xso.Identity(category="client", type_=kind, name="Client")
    return aioxmpp.disco.xso.InfoQuery(identities=[identity], features=features)


def caps_of(query: Any, algorithm: str = "sha-1") -> Caps:
    return Caps(algorithm, "urn:client", hash_query(query, algorithm.replace("-", "")))


class World:
    """A reader, and the clients that it asks.

    Attributes:
        answers: by full JID; an exception is an error, None is silence.
        asked: who was asked, and for which node.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.replies: list[asyncio.Future[Any]] = []
        self.reader = CapsReader("main", self._request, lambda: self.now)

    def _request(self, iq: Any) -> asyncio.Future[Any]:
        self.asked.append((str(iq.to), iq.payload.node))
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.replies.append(reply)
        answer = self.answers.get(str(iq.to))
        if isinstance(answer, NotConnected):
            raise answer
        if isinstance(answer, Exception):
            reply.set_exception(answer)
        elif answer is not None:
            reply.set_result(SimpleNamespace(payload=answer))
        return reply

    async def voice(self, caps: Caps | None, who: Any = BOB, timeout: float = 5.0) -> bool | None:
        return await self.reader.voice(who, caps, timeout)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("algorithm", ["sha-1", "sha-224", "sha-256", "sha-384", "sha-512"])
@pytest.mark.parametrize(
    ("features", "voice"),
    [
        ([AUDIO], True),
        (["urn:xmpp:jingle-message:0"], True),
        (["urn:xmpp:jingle-message:1"], True),
        (["http://www.google.com/xmpp/protocol/voice/v1"], True),
        (["urn:xmpp:jingle:1", "urn:xmpp:jingle:apps:rtp:video"], False),
        ([], False),
    ],
)
async def test_a_hash_that_is_true(world: World, algorithm: str, features: list[str], voice: bool) -> None:
    query = info(*features)
    caps = caps_of(query, algorithm)
    world.answers = {str(BOB): query}
    assert await world.voice(caps) is voice
    assert world.asked == [(str(BOB), f"urn:client#{caps.version}")]


async def test_a_version_is_asked_for_once_however_many_have_it(world: World) -> None:
    query = info(AUDIO)
    world.answers = {str(BOB): query}
    for who in (BOB, EVE, parse("carol@x.org/pad")):
        assert await world.voice(caps_of(query), who) is True
    assert len(world.asked) == 1


async def test_a_hash_that_is_forged_is_rejected_and_harms_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    honest, lie = info(), info(AUDIO)
    world.answers = {str(EVE): lie, str(BOB): honest}
    assert await world.voice(caps_of(honest), EVE) is None
    assert "the capabilities of eve@x.org/pc are not those that their hash says" in lines(caplog)[-1]
    assert await world.voice(caps_of(honest), BOB) is False
    assert await world.voice(caps_of(honest), EVE) is False  # now the hash is known


async def test_an_answer_that_no_hash_fits(world: World) -> None:
    """XEP-0115 section 5.4: ill-formed are two identities alike, and two forms of one type."""
    twice = info(AUDIO)
    twice.identities.append(twice.identities[0])
    nameless = info(AUDIO)
    form = aioxmpp.forms.xso.Data(type_=aioxmpp.forms.xso.DataType.RESULT)
    form.fields.append(aioxmpp.forms.xso.Field(var="FORM_TYPE", values=["x"], type_=aioxmpp.forms.xso.FieldType.HIDDEN))
    form.fields.append(aioxmpp.forms.xso.Field(var=None, values=["x"], type_=aioxmpp.forms.xso.FieldType.FIXED))
    nameless.exts.append(form)
    for number, broken in enumerate((twice, nameless)):
        world.answers = {str(BOB): broken}
        assert await world.voice(Caps("sha-1", "urn:client", f"v{number}")) is None


@pytest.mark.parametrize(
    ("attribute", "hashed"),
    [("", "client/pc//<"), ("xml:lang='en'", "client/pc/en/<"), ("xml:lang='de'", "client/pc/de/<")],
)
async def test_the_language_of_the_stanza_is_not_hashed(world: World, attribute: str, hashed: str) -> None:
    """Prosody sends an answer on like this."""
    query = f"<query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc' {attribute}/>"
    query += f"<feature var='{AUDIO}'/></query>"
    iq = f"<iq xmlns='jabber:client' type='result' from='{BOB}' id='i' xml:lang='en'>{query}</iq>"
    answer = aioxmpp.xml.read_single_xso(io.BytesIO(iq.encode()), aioxmpp.IQ)
    world.answers = {str(BOB): answer.payload}
    digest = hashlib.sha1(f"{hashed}{AUDIO}<".encode()).digest()
    assert await world.voice(Caps("sha-1", "urn:client", base64.b64encode(digest).decode())) is True


@pytest.mark.parametrize("algorithm", ["md5", "shake_128", "sha-1 ", "nonsense"])
async def test_a_hash_that_we_do_not_check_counts_for_that_client_alone(world: World, algorithm: str) -> None:
    caps = Caps(algorithm, "urn:client", "v")
    world.answers = {str(BOB): info(AUDIO), str(EVE): info()}
    assert await world.voice(caps, BOB) is True
    assert await world.voice(caps, EVE) is False
    assert world.asked == [(str(BOB), None), (str(EVE), None)]


class TestOldForm:
    async def test_voice_is_a_word(self, world: World) -> None:
        talk = Caps("", "http://www.google.com/xmpp/client/caps", "1.0.0.104", ("share-v1", "voice-v1"))
        assert await world.voice(talk) is True
        assert world.asked == []

    @pytest.mark.parametrize("extensions", [(), ("share-v1",), ("voice-v10",)])
    async def test_other_words_tell_nothing(self, world: World, extensions: tuple[str, ...]) -> None:
        world.answers = {str(BOB): info()}
        assert await world.voice(Caps("", "urn:client", "1.0", extensions)) is False
        assert world.asked == [(str(BOB), None)]

    async def test_beside_a_hash_the_hash_counts(self, world: World) -> None:
        query = info()
        world.answers = {str(BOB): query}
        both = Caps("sha-1", "urn:client", caps_of(query).version, ("voice-v1",))
        assert await world.voice(both) is False


class TestNoCapabilities:
    async def test_the_client_is_asked_and_again_after_a_while(self, world: World) -> None:
        world.answers = {str(BOB): info(AUDIO)}
        assert await world.voice(None) is True
        world.answers = {str(BOB): info()}
        world.now = module.CLIENT_TIME - 1
        assert await world.voice(None) is True
        world.now = module.CLIENT_TIME + 1
        assert await world.voice(None) is False
        assert world.asked == [(str(BOB), None)] * 2

    @pytest.mark.parametrize(
        "error",
        [
            aioxmpp.errors.XMPPCancelError(aioxmpp.ErrorCondition.SERVICE_UNAVAILABLE),
            ConnectionError("the session ended"),
            NotConnected("no session"),
        ],
    )
    async def test_an_error_is_remembered_for_a_while(self, world: World, error: Exception) -> None:
        world.answers = {str(BOB): error}
        assert await world.voice(None) is None
        world.answers = {str(BOB): info(AUDIO)}
        assert await world.voice(None) is None
        world.now = module.CLIENT_TIME + 1
        assert await world.voice(None) is True

    async def test_an_answer_of_another_kind(self, world: World) -> None:
        world.answers = {str(BOB): aioxmpp.disco.xso.ItemsQuery()}
        assert await world.voice(None) is None


class TestSilence:
    async def test_an_answer_that_comes_late_serves_the_next(self, world: World) -> None:
        assert await world.voice(None, timeout=0.0) is None
        assert await world.voice(None, timeout=0.0) is None
        waiting = asyncio.ensure_future(world.voice(None))
        while not world.replies:
            await asyncio.sleep(0)
        world.replies[0].set_result(SimpleNamespace(payload=info(AUDIO)))
        assert await waiting is True
        assert len(world.asked) == 1

    async def test_it_ends(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "ANSWER_TIME", 0.01)
        assert await world.voice(None) is None

    async def test_the_session_stops(self, world: World) -> None:
        waiting = asyncio.ensure_future(world.voice(None))
        while not world.replies:
            await asyncio.sleep(0)
        world.reader.stop()
        assert await waiting is None

    async def test_not_too_many_are_asked_at_once(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "QUERIES", 2)
        for name in ("a", "b", "c"):
            await world.voice(None, parse(f"{name}@x.org/r"), timeout=0.0)
        await asyncio.sleep(0)
        assert len(world.asked) == 2
        world.reader.stop()


@pytest.mark.parametrize("extra", [0, 1])
async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, extra: int) -> None:
    monkeypatch.setattr(module, "VERSIONS", 3)
    world = World()
    queries = [info(AUDIO, f"urn:{number}") for number in range(3 + extra)]
    for query in queries:
        world.answers = {str(BOB): query}
        await world.voice(caps_of(query))
    world.asked.clear()
    world.answers = {str(BOB): queries[0]}
    assert await world.voice(caps_of(queries[0])) is True
    assert len(world.asked) == extra  # the oldest one had to go
