"""The administrator's own programs. That they end with their children: also features/phone/book/test_command.py."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agi_xmpp import program
from agi_xmpp.program import MAX_COMPLAINT, ProgramError

LIMIT = 1000


async def sh(script: str, stdin: bytes | None = None, limit: int = LIMIT) -> bytes:
    return await program.run(["/bin/sh", "-c", script], stdin=stdin, limit=limit)


def test_programs_are_found_by_name_and_by_path() -> None:
    assert program.find("sh") is not None
    assert program.find("/bin/sh") == "/bin/sh"
    assert program.find("/no/such") is None


async def test_words_are_no_shell() -> None:
    assert await program.run(["/bin/echo", "$HOME; `id`", "two words"], limit=LIMIT) == b"$HOME; `id` two words\n"


async def test_nothing_to_read() -> None:
    assert await sh("cat; echo end") == b"end\n"


@pytest.mark.parametrize("size", [0, 1, 300_000], ids=["empty", "one", "more than a pipe holds"])
async def test_it_reads_all_its_input(size: int) -> None:
    assert await sh("wc -c", b"x" * size) == f"{size}\n".encode()


async def test_it_need_not_read_its_input() -> None:
    assert await sh("exec <&-; echo done", b"x" * 300_000) == b"done\n"


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
async def test_output_up_to_the_limit(size: int) -> None:
    assert len(await sh(f"head -c {size} /dev/zero")) == size


@pytest.mark.parametrize(("limit", "words"), [(LIMIT, "1000 bytes"), (2048, "2 KiB")])
async def test_output_over_the_limit(limit: int, words: str) -> None:
    with pytest.raises(ProgramError, match=f"^printed more than {words}$"):
        await sh(f"head -c {limit + 1} /dev/zero", limit=limit)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "ended with exit code 3"),
        ("echo first >&2; printf 'no \\033codec\\n' >&2; exit 1", "ended with exit code 1: no codec"),
        ("kill -9 $$", "was ended by signal 9"),
    ],
)
async def test_failures_are_said(script: str, words: str) -> None:
    with pytest.raises(ProgramError) as caught:
        await sh(script)
    assert str(caught.value) == words


async def test_a_long_complaint_is_cut() -> None:
    with pytest.raises(ProgramError) as caught:
        await sh("head -c 10000 /dev/zero | tr '\\0' x >&2; exit 1")
    assert str(caught.value) == "ended with exit code 1: " + "x" * MAX_COMPLAINT


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(ProgramError, match=r"^could not be started: No such file or directory$"):
        await program.run(["/no/such"], limit=LIMIT)


async def test_a_deadline_ends_it_with_its_children(tmp_path: Path) -> None:
    """Whoever has the other end of the pipe is gone when its end is read."""
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    reader = asyncio.StreamReader()
    file = os.fdopen(os.open(alive, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    script = f"exec 3>'{alive}'; echo ready >&3; trap '' TERM; sleep 1000 & sleep 1000"
    running = asyncio.create_task(sh(script, b"x" * 300_000))
    assert await asyncio.wait_for(reader.readline(), 10) == b"ready\n"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.wait_for(reader.read(), 10) == b""
    transport.close()


def test_uvloop_runs_programs_too() -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(sh("wc -c", b"x" * 300_000)) == b"300000\n"
        assert runner.run(sh("exec <&-; echo done", b"x" * 300_000)) == b"done\n"
        for _ in range(30):  # one in three has ended before its input is there
            assert runner.run(program.run(["/bin/echo", "x"], stdin=b"x" * 300_000, limit=LIMIT)) == b"x\n"
