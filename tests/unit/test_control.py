"""The control socket."""

from __future__ import annotations

import asyncio
import socket
import stat

import pytest

from agi_xmpp.control import ControlServer, NoAnswer, NoService, ask
from agi_xmpp.errors import AgiXmppError, ConfigError, UnknownAccount


async def echo(request):
    return {"got": request["text"]}


async def refuse(request):
    raise UnknownAccount("no account 'x'")


@pytest.fixture
async def server(tmp_path):
    server = ControlServer(tmp_path / "control.sock", {"echo": echo, "refuse": refuse})
    await server.start()
    yield server
    await server.stop()
    assert not server.path.exists()


async def asked(server, **request):
    return await asyncio.to_thread(ask, str(server.path), request)


async def test_question_and_answer(server):
    assert await asked(server, do="echo", text="😀\n" * 20_000) == {"got": "😀\n" * 20_000}


async def test_a_refusal_is_its_sentence(server):
    with pytest.raises(AgiXmppError, match="no account 'x'"):
        await asked(server, do="refuse")


@pytest.mark.parametrize("request_", [{}, {"do": "fly"}, {"do": "echo"}])
async def test_a_question_of_another_version(server, request_):
    with pytest.raises(AgiXmppError, match="another version"):
        await asked(server, **request_)


@pytest.mark.parametrize("garbage", [b"\n", b"[]\n", b"\xff\n", b"{\n", b"null\n"])
async def test_garbage_is_answered_and_harms_nobody(server, garbage):
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(garbage)
    assert b"another version" in await reader.readline()
    writer.close()
    assert await asked(server, do="echo", text="still here") == {"got": "still here"}


async def test_only_owner_and_group_may_ask(server):
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o660


async def test_a_second_service_is_refused(server):
    with pytest.raises(ConfigError, match="another agi-xmpp is running"):
        await ControlServer(server.path, {}).start()
    assert await asked(server, do="echo", text="x") == {"got": "x"}


async def test_a_question_that_waits_is_dropped_at_the_end_without_noise(tmp_path, caplog):
    asked_for = asyncio.Event()

    async def wait(_request):
        asked_for.set()
        await asyncio.Event().wait()

    server = ControlServer(tmp_path / "control.sock", {"wait": wait})
    await server.start()
    waiting = asyncio.create_task(asked(server, do="wait"))
    await asked_for.wait()
    await server.stop()
    with pytest.raises(NoAnswer, match="closed the connection"):
        await waiting
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_what_a_crash_left_is_replaced(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = ControlServer(path, {"echo": echo})
    await server.start()
    assert await asked(server, do="echo", text="x") == {"got": "x"}
    await server.stop()


async def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        await ControlServer(tmp_path / "no" / "no" / "control.sock", {}).start()


def test_nobody_there(tmp_path):
    with pytest.raises(NoService, match="no service is running"):
        ask(str(tmp_path / "control.sock"), {"do": "status"})


async def test_a_service_that_hangs(tmp_path):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    path = str(tmp_path / "s")
    server = await asyncio.start_unix_server(silent, path)
    with pytest.raises(NoAnswer, match="did not answer"):
        await asyncio.to_thread(ask, path, {"do": "status"}, 0.05)
    server.close()


async def test_a_service_that_ends_in_the_middle(tmp_path):
    async def rude(reader, writer):
        writer.close()

    path = str(tmp_path / "s")
    server = await asyncio.start_unix_server(rude, path)
    with pytest.raises(NoAnswer, match="without an answer"):
        await asyncio.to_thread(ask, path, {"do": "status"})
    server.close()
