from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agi_xmpp.errors import ConfigError
from agi_xmpp.features.phone.book.command import MAX_ANSWER, MAX_RUNNING, CommandSource
from agi_xmpp.features.phone.book.model import Entry, SourceError
from agi_xmpp.features.phone.book.number import Number

Make = Callable[[str], CommandSource]
ANN = Number("101")


@pytest.fixture
def program(tmp_path: Path) -> Make:
    """Makes a source of a shell script, which runs in the test's directory."""

    def make(script: str) -> CommandSource:
        path = tmp_path / "lookup"
        path.write_text(f"#!/bin/sh\ncd '{tmp_path}'\n{script}\n")
        path.chmod(0o755)
        return CommandSource([str(path), "--first", "two words; $(reboot)"])

    return make


class Fifo:
    """Lines from programs; the end comes when the last of them that has it open is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.reader = asyncio.StreamReader()

    async def __aenter__(self) -> asyncio.StreamReader:
        file = os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self.reader), file)
        return self.reader

    async def __aexit__(self, *_error: object) -> None:
        self.transport.close()


async def test_the_program_gets_its_words_and_the_number(program, tmp_path):
    source = program('printf "%s|" "$@" > arguments; echo \'{"name": "Ann"}\'')
    assert await source.find(Number("0301234567", "+49301234567")) == Entry("Ann", source=source.name)
    assert (tmp_path / "arguments").read_text() == "--first|two words; $(reboot)|+49301234567|"
    await source.find(Number("*21"))
    assert (tmp_path / "arguments").read_text().endswith("|*21|")


@pytest.mark.parametrize(
    ("answer", "entry"),
    [
        ("", None),
        ("\n", None),
        ("null", None),
        ("{}", None),
        ('{"name": "", "link": "https://example.org"}', None),
        ('{"name": null, "company": "Ltd", "id": 7}', ("Ltd", "", "", "")),
        (
            '{"name": "Ann\\n", "company": "Ltd", "link": "https://example.org/1", "avatar": "https://example.org/a"}',
            ("Ann", "Ltd", "https://example.org/1", "https://example.org/a"),
        ),
        ('{"name": "Ann", "link": "javascript:x"}', ("Ann", "", "", "")),
    ],
)
async def test_what_it_prints_is_the_entry(program, tmp_path, answer, entry):
    (tmp_path / "answer").write_text(answer)
    source = program("cat answer")
    found = await source.find(ANN)
    assert (found and (found.name, found.company, found.link, found.avatar)) == entry


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo hello", "printed something that is not JSON"),
        (r"printf '\377'", "printed something that is not JSON"),
        ("head -c 60000 /dev/zero | tr '\\0' '['", "printed something that is not JSON"),
        ("echo '[]'", "printed no JSON object"),
        ("echo '7'", "printed no JSON object"),
        ('echo \'{"name": ["Ann"]}\'', "printed name that is not a text"),
        ('echo \'{"name": "Ann", "link": 7}\'', "printed link that is not a text"),
        ("exit 3", "ended with exit code 3"),
        ("echo a >&2; printf 'no \\033database\\n' >&2; exit 1", "ended with exit code 1: no database"),
        ("kill -9 $$", "was ended by signal 9"),
        ('echo \'{"name": "Ann"}\'; exit 1', "ended with exit code 1"),
    ],
)
async def test_what_goes_wrong_is_said(program, script, complaint):
    source = program(script)
    with pytest.raises(SourceError) as caught:
        await source.find(ANN)
    assert str(caught.value) == f"{source.name} {complaint}"


async def test_what_it_complains_of_does_not_stop_it(program):
    source = program('head -c 1000000 /dev/zero >&2; echo \'{"name": "Ann"}\'')
    assert await source.find(ANN) == Entry("Ann", source=source.name)


@pytest.mark.parametrize("size", [MAX_ANSWER - 1, MAX_ANSWER])
async def test_an_answer_up_to_the_limit_is_taken(program, tmp_path, size):
    (tmp_path / "answer").write_text(json.dumps({"name": "Ann"}).ljust(size))
    assert await program("cat answer").find(ANN) is not None


async def test_an_answer_over_the_limit_is_refused(program, tmp_path):
    (tmp_path / "answer").write_text(json.dumps({"name": "Ann"}).ljust(MAX_ANSWER + 1))
    with pytest.raises(SourceError, match="printed more than 64 KiB"):
        await program("cat answer").find(ANN)


async def test_an_endless_answer_ends_the_program(program, tmp_path):
    async with Fifo(tmp_path / "alive") as alive:
        with pytest.raises(SourceError, match="printed more than 64 KiB"):
            await program("exec 3>alive; yes").find(ANN)
        assert await asyncio.wait_for(alive.read(), 10) == b""


@pytest.mark.parametrize(
    "script",
    [
        "exec 3>alive; echo ready >&3; sleep 1000 & sleep 1000",
        "exec 3>alive; trap '' TERM INT HUP; echo ready >&3; while :; do sleep 1000; done",
        # The program has ended, and its child still has our pipe.
        "exec 3>alive; (echo ready >&3; exec sleep 1000) &",
    ],
)
async def test_who_does_not_wait_any_more_ends_it_with_its_children(program, tmp_path, script):
    async with Fifo(tmp_path / "alive") as alive:
        running = asyncio.create_task(program(script).find(ANN))
        assert await asyncio.wait_for(alive.readline(), 10) == b"ready\n"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await asyncio.wait_for(alive.read(), 10) == b"", "all who had the other end are gone"


async def test_only_so_many_run_at_once(program, tmp_path):
    os.mkfifo(tmp_path / "go")
    go = os.open(tmp_path / "go", os.O_RDWR)
    async with Fifo(tmp_path / "said") as said:
        keep = os.open(tmp_path / "said", os.O_WRONLY)  # so that it does not end between two programs
        source = program('echo start > said; read word < go; echo end > said; echo \'{"name": "Ann"}\'')
        running = [asyncio.create_task(source.find(ANN)) for _ in range(MAX_RUNNING + 1)]

        async def line() -> str:
            return (await asyncio.wait_for(said.readline(), 10)).decode().strip()

        assert [await line() for _ in range(MAX_RUNNING)] == ["start"] * MAX_RUNNING
        os.write(go, b"\n")
        assert [await line(), await line()] == ["end", "start"]
        os.write(go, b"\n" * MAX_RUNNING)
        assert all(await asyncio.gather(*running))
        os.close(keep)
    os.close(go)


def test_a_program_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"phone.book.command: no program '/no/such'"):
        CommandSource(["/no/such", "x"])


async def test_a_program_that_went_away_is_said(program, tmp_path):
    source = program("true")
    (tmp_path / "lookup").unlink()
    with pytest.raises(SourceError, match="No such file or directory"):
        await source.find(ANN)
