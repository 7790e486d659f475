from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import threading

import pytest

from agi_xmpp.agi import pyst2 as bridge_module
from agi_xmpp.agi.channel import Channel
from agi_xmpp.agi.pyst2 import load_callable, run_pyst2
from agi_xmpp.errors import AgiError, AgiHangup, ConfigError
from tests.unit.agi.fake_asterisk import DEAD, HEADERS, Dialplan, FakeAsterisk
from tests.unit.agi.test_server import call, serving

SCRIPTS = "tests.unit.agi.pyst2_scripts"


@pytest.fixture
def scripts():
    load_callable(f"{SCRIPTS}:program")
    module = importlib.import_module(SCRIPTS)
    module.SEEN.clear()
    module.RELEASE.clear()
    yield module
    module.RELEASE.set()


def script(name: str, outcome: list | None = None):
    """Return a handler that runs a script, and notes the error that it ended with."""
    function = load_callable(f"{SCRIPTS}:{name}")

    async def handler(channel: Channel) -> None:
        try:
            await run_pyst2(channel, function)
        except BaseException as error:
            if outcome is not None:
                outcome.append(error)
            raise

    return handler


async def play(asterisk: FakeAsterisk, dialplan: Dialplan) -> str:
    """Answer all commands by the dialplan; return AGISTATUS."""
    while type(event := await asterisk.event()).__name__ == "Command":
        words = event.words  # type: ignore[union-attr]
        asterisk.reply("200 result=0" if words[0] == "EXEC" else dialplan.reply(words))
    status = "FAILURE" if type(event).__name__ == "Failure" else "SUCCESS"
    await asterisk.close()
    return status


async def test_whole_program_unchanged(scripts, capfd):
    dialplan = Dialplan(WORD="hangup")
    async with serving(script("program")) as server:
        assert await play(await call(server), dialplan) == "SUCCESS"
    assert dialplan.text("GREETING") == 'say "hi" to unknown'
    assert capfd.readouterr().err == "", "pyst2 echoes its commands"


async def test_function_with_an_argument_gets_the_agi_object(scripts):
    async with serving(script("with_argument")) as server:
        assert await (await call(server)).status() == "SUCCESS"
    assert scripts.SEEN == [("BridgedAgi", True, False)]


async def test_subclass_of_agi(scripts):
    async with serving(script("subclass")) as server:
        await play(await call(server), Dialplan(WORD="hello"))
    assert scripts.SEEN == ["hello"]


async def test_static_method_of_a_class(scripts):
    async with serving(script("Script.run")) as server:
        asterisk = await call(server)
        assert await asterisk.answer("200 result=0") == ("NOOP",)
        assert await asterisk.status() == "SUCCESS"


async def test_errors_are_pyst2s_own(scripts):
    async with serving(script("errors")) as server:
        asterisk = await call(server)
        replies = [
            ("510 Invalid or unknown command", ("NONSENSE",)),
            ("520-Invalid command syntax.\nUsage: SAY\n520 End of proper usage.", ("SAY", "x")),
            ("200 result=-2", ("EXEC", "NoSuchApp", "")),
            ("200 result=-1 endpos=0", ("STREAM", "FILE", "missing", "", "0")),
            ("200 result=0", ("NOOP",)),  # was it a hangup?
            ("200 result=0", ("DATABASE", "GET", "family", "key")),
            (DEAD, ("ANSWER",)),
        ]
        for reply, words in replies:
            assert await asterisk.answer(reply) == words
        assert await asterisk.status() == "SUCCESS"
    assert scripts.SEEN == [
        ("AGIInvalidCommand", "Asterisk refused NONSENSE: 510 Invalid or unknown command"),
        ("AGIUsageError", "Asterisk refused SAY: 520 520-Invalid command syntax."),
        ("AGIAppError", "Unable to find application: NoSuchApp"),
        ("AGIAppError", "Error executing application"),
        ("AGIDBError", "Key not found in database: family=family, key=key"),
        ("AGIUsageError", "an AGI command cannot carry a newline"),
        ("AGIUsageError", "not the name of a channel variable for text: 'A B'"),
        ("AGIUsageError", "the text holds a NUL, which no channel variable can hold"),
        ("AGIHangup", "AGIResultHangup"),
        ("AGIUnknownError", ""),
    ]


async def test_hangup_reaches_a_blocked_script(scripts):
    outcome: list = []
    async with serving(script("waits", outcome), hangup_grace=30) as server:
        asterisk = await call(server)
        assert await asterisk.command() == ("WAIT", "FOR", "DIGIT", "60000")
        asterisk.hangup()
        asterisk.reply("200 result=-1")
        assert await asterisk.answer() == ("SET", "VARIABLE", "REASON", "AGISIGHUPHangup")
        assert await asterisk.status() == "SUCCESS"
        assert server.stats.failed == 0
    assert isinstance(outcome[0], AgiHangup)


async def test_hangup_that_comes_after_the_failed_command(scripts):
    async with serving(script("waits")) as server:
        asterisk = await call(server)
        await asterisk.answer("200 result=-1")
        assert await asterisk.command() == ("NOOP",)
        asterisk.hangup()
        asterisk.reply("200 result=0")
        assert await asterisk.answer() == ("SET", "VARIABLE", "REASON", "AGISIGHUPHangup")
        assert await asterisk.status() == "SUCCESS"


async def test_connection_lost_reaches_a_blocked_script(scripts):
    outcome: list = []
    async with serving(script("waits", outcome), hangup_grace=30) as server:
        asterisk = await call(server)
        await asterisk.command()
        await asterisk.close()
        while server._sessions:
            await asyncio.sleep(0.001)
    assert isinstance(outcome[0], AgiHangup)


async def test_database(scripts):
    dialplan = Dialplan()
    async with serving(script("database")) as server:
        assert await play(await call(server), dialplan) == "SUCCESS"
    assert scripts.SEEN == ['a "b"', "Unable to delete tree from database: family=fam ily, key="]
    assert dialplan.database == {}


async def test_texts_of_any_kind(scripts):
    dialplan = Dialplan(LONG="é" * 3000)
    async with serving(script("texts")) as server:
        assert await play(await call(server), dialplan) == "SUCCESS"
    assert dialplan.text("TEXT") == "a\nb :-) c:\n"
    assert dialplan.text("CHANNEL(language)") == "de"
    assert scripts.SEEN == ["é" * 3000]


async def test_results(scripts):
    async with serving(script("digits")) as server:
        asterisk = await call(server)
        assert await asterisk.answer("200 result=53") == ("WAIT", "FOR", "DIGIT", "1000")
        assert await asterisk.answer("200 result=1 (a) (b)") == ("GET", "FULL", "VARIABLE", "${A} (b)")
        assert await asterisk.answer("200 result=6") == ("CHANNEL", "STATUS")
        assert await asterisk.status() == "SUCCESS"
    assert scripts.SEEN == ["5", "a) (b", 6]


async def test_words_that_pyst2_does_not_quote(scripts):
    async with serving(script("file")) as server:
        asterisk = await call(server)
        # pyst2 does not quote the file's name, so that its blank separates: as with pyst2 itself
        assert await asterisk.answer("200 result=0 endpos=5") == ("STREAM", "FILE", "my", "file", "12", "0")
        assert await asterisk.status() == "SUCCESS"
    assert scripts.SEEN == [""]


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("fails", ZeroDivisionError, ""),
        ("exits_with_1", AgiError, "exit code 1"),
        ("exits_with_text", AgiError, "exit code no good"),
    ],
)
async def test_script_that_fails(scripts, name, kind, text, caplog):
    outcome: list = []
    async with serving(script(name, outcome)) as server:
        assert await (await call(server)).status() == "FAILURE"
    assert type(outcome[0]) is kind
    assert text in str(outcome[0])


async def test_stuck_script_holds_up_nobody(scripts):
    """It is left behind after the grace, and told at its next command."""
    stuck = load_callable(f"{SCRIPTS}:stuck")
    threads: list[threading.Thread] = []

    async def handler(channel: Channel) -> None:
        if channel.environment.script == "verb":
            return
        await run_pyst2(channel, stuck)

    async with serving(handler, hangup_grace=0.05) as server:
        asterisk = await call(server, {**HEADERS, "agi_network_script": "stuck"})
        while not scripts.SEEN:
            await asyncio.sleep(0.001)
        threads += [thread for thread in threading.enumerate() if thread.name.startswith("pyst2")]
        assert await (await call(server)).status() == "SUCCESS"
        asterisk.hangup()
        assert await asterisk.status() == "FAILURE"
        scripts.RELEASE.set()
        (thread,) = threads
        await asyncio.to_thread(thread.join)
    assert scripts.SEEN == ["stuck", "hung up"]


async def test_number_of_scripts_is_limited(scripts, monkeypatch):
    monkeypatch.setattr(bridge_module, "_slots", threading.BoundedSemaphore(2))
    monkeypatch.setattr(bridge_module, "MAX_SCRIPTS", 2)
    outcome: list = []
    async with serving(script("waits", outcome)) as server:
        calls = [await call(server) for _ in range(2)]
        for asterisk in calls:
            await asterisk.command()
        assert await (await call(server)).status() == "FAILURE"
        assert str(outcome.pop()) == "2 pyst2 scripts run already"
        for asterisk in calls:
            asterisk.reply("200 result=49")
            assert await asterisk.status() == "SUCCESS"
        again = await call(server)
        await again.answer("200 result=49")
        assert await again.status() == "SUCCESS"


# load_callable


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("no_such_module:main", "module no_such_module: there is no such module"),
        (f"{SCRIPTS}.deeper:main", "there is no such module"),
        (f"{SCRIPTS}:nothing", f"module {SCRIPTS} has no callable nothing"),
        (f"{SCRIPTS}:Script.nothing", "has no callable Script.nothing"),
        (f"{SCRIPTS}:NUMBER", "has no callable NUMBER"),
        (f"{SCRIPTS}:coroutine", "coroutine is a coroutine function"),
        ("broken_script:main", r"module broken_script fails at import: ZeroDivisionError\('x'\)"),
        ("needy_script:main", "module needy_script: it needs no_such_thing"),
    ],
)
def test_callable_that_cannot_be_loaded(reference, complaint, tmp_path, monkeypatch):
    (tmp_path / "broken_script.py").write_text("raise ZeroDivisionError('x')\n")
    (tmp_path / "needy_script.py").write_text("import no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_callable(reference)
    assert "\n" not in str(caught.value)


def test_without_pyst2(monkeypatch):
    monkeypatch.setitem(sys.modules, "asterisk.agi", None)
    monkeypatch.delitem(sys.modules, "agi_xmpp.agi.pyst2_agi", raising=False)
    monkeypatch.delattr("agi_xmpp.agi.pyst2_agi", raising=False)
    with pytest.raises(ConfigError, match=r"needs the module asterisk.agi; install agi-xmpp\[pyst2\]"):
        load_callable(f"{SCRIPTS}:program")


async def test_script_texts_are_not_logged(scripts, caplog):
    with caplog.at_level(logging.INFO):
        async with serving(script("texts")) as server:
            await play(await call(server), Dialplan(LONG="secret"))
    assert "secret" not in caplog.text
