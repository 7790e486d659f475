"""The first thing that a new user runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.testbed.rootfs import Rootfs

ROOT = Path(__file__).parents[2]
LINES = (
    "Call from 5551234 - choose an option to process the call",
    "1 : forward to cellphone",
    "2 : forward to work phone",
    "Default action : forward to your voicemail",
)


def test_the_demo_by_itself(rootfs: Rootfs) -> None:
    done = subprocess.run(
        [ROOT / "scripts/demo", "--auto"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    calls = done.stdout.split("caller  5551234 dials 1234\n")[1:]
    assert len(calls) == 3
    for call, types, went in zip(
        calls,
        ("bob     types: 1", "bob     types: 2", "bob     says nothing"),
        ("goes to the cellphone", "goes to the work phone", "goes to the voicemail (TIMEOUT)"),
        strict=True,
    ):
        lines = call.splitlines()
        assert lines[:4] == [f"bob     reads: {line}" for line in LINES]
        assert lines[4] == types
        assert went in lines[5]


def test_the_demo_at_a_plain_prompt(rootfs: Rootfs) -> None:
    demo = subprocess.Popen(
        [ROOT / "scripts/demo", "--plain"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert demo.stdin is not None
    assert demo.stdout is not None
    try:
        seen = []
        for line in demo.stdout:
            seen.append(line)
            if "Default action" in line:
                demo.stdin.write("2\n")
            if "work phone (the answer 2)" in line:
                demo.stdin.close()
                break
        else:
            pytest.fail("".join(seen))
        rest = demo.stdout.read()
        assert demo.wait(60) == 0, rest
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()
