"""What the documents show a dialplan writer loads in a real Asterisk."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.testbed.asterisk import Asterisk
from tests.testbed.conference import ConferenceExchange
from tests.testbed.rootfs import Rootfs
from tests.testbed.telephony import Exchange

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(language: str, holding: str = "") -> list[object]:
    found: list[object] = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for number, block in enumerate(re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)):
            if holding in block:
                found.append(pytest.param(block, id=f"{path.name}-{number}"))
    return found


def manager_classes(document: str) -> list[dict[str, set[str]]]:
    """Return what the manager user of each sample of a document may read and write."""
    samples = re.findall(r"^```ini\n(.*?)^```", (ROOT / document).read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = [re.findall(r"^(read|write) = (\S+)$", sample, flags=re.M) for sample in samples if "read = " in sample]
    return [{name: set(classes.split(",")) for name, classes in sample} for sample in lines]


async def granted(asterisk: Asterisk, user: str) -> dict[str, set[str]]:
    shown = await asterisk.cli(f"manager show user {user}")
    return {name: set(re.split(r"[,\s]+", line)) for name, line in re.findall(r"(read|write) perm: (.*)", shown)}


async def test_the_manager_user_of_phones_is_the_one_that_the_tests_use(exchange: Exchange) -> None:
    """The rights in docs/phone.md are those with which every test of phones runs."""
    assert manager_classes("docs/phone.md") == [await granted(exchange, exchange.phone_user)]


async def test_the_manager_user_of_conferences_is_the_one_that_the_tests_use(
    rootfs: Rootfs, conference_exchange: ConferenceExchange
) -> None:
    """The rights in docs/conference.md are those with which every test of conferences runs, with and without texts
    outside of calls.
    """
    usual = await granted(conference_exchange, conference_exchange.manager_user)
    async with ConferenceExchange(rootfs, outside_calls=["103"]) as exchange:
        more = await granted(exchange, exchange.manager_user)
    assert manager_classes("docs/conference.md") == [usual, more]


@pytest.mark.parametrize("block", blocks("asterisk"))
async def test_dialplan_samples_load(asterisk: Asterisk, block: str) -> None:
    header = "" if block.lstrip().startswith("[") else "[sample]\n"
    assert await asterisk.dialplan(header + block) == []
    shown = await asterisk.cli("dialplan show")
    assert "agi://127.0.0.1/" in shown


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd-analyze")
@pytest.mark.parametrize("block", blocks("ini", "[Unit]"))
def test_the_systemd_unit_is_right(tmp_path: Path, block: str) -> None:
    unit = tmp_path / "agi-xmpp.service"
    unit.write_text(block.replace("/opt/agi-xmpp/bin/agi-xmpp", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "agi-xmpp.service" in line]
    assert complaints == []
