"""The command line: what a user meets first, ``--help``, ``check`` and ``import``."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agi_xmpp import cli


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words], terminal_width=80)


def test_the_list_of_commands_cuts_no_sentence() -> None:
    assert "..." not in run("--help").output.partition("Commands:")[2]


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), ("-", "it holds no certificate (PEM)")])
def test_check_finds_certificates_that_cannot_be_had(tmp_path: Path, content: str | None, words: str) -> None:
    authority = tmp_path / "ca.pem"
    if content is not None:
        authority.write_text(content)
    config = tmp_path / "agi-xmpp.toml"
    config.write_text(f'[account.pbx]\njid = "a@example.org"\npassword = "x"\nca_file = "{authority}"\n')
    result = run("check", "-c", config)
    assert result.exit_code == 2
    assert f"account.pbx: ca_file {authority}: {words}" in result.output


def test_check_warns_of_no_account(tmp_path: Path) -> None:
    config = tmp_path / "agi-xmpp.toml"
    config.write_text("")
    result = run("check", "-c", config)
    assert result.exit_code == 0
    assert "it has no [account.NAME]" in result.output


PHONES = """
[account.phone]
jid = "phone@example.org/asterisk"
password = "s3cr3t-word"
[ami]
username = "u"
password = "s3cr3t-word"
[phone]
account = "phone"
context = "internal"
"""


def test_check_warns_of_phones_without_people(tmp_path: Path) -> None:
    config = tmp_path / "agi-xmpp.toml"
    config.write_text(PHONES)
    result = run("check", "-c", config)
    assert result.exit_code == 0
    assert "phones of 0 users" in result.output
    assert "nobody has a phone" in result.output
    config.write_text(config.read_text() + '[phone.user."alice@example.org"]\ndevices = ["PJSIP/101"]\n')
    output = run("check", "-c", config).output
    assert "phones of 1 user\n" in output
    assert "nobody has a phone" not in output


@pytest.mark.parametrize("in_sight", [True, False])
def test_a_service_that_does_not_see_asterisks_calls_is_not_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_sight: bool
) -> None:
    def ask(*_request: object) -> dict[str, object]:
        phone = {"account": "phone", "users": 1, "in_sight": in_sight, "calls": [], "problems": ["no such module"]}
        about = {"version": "1", "pid": 1, "started": 0.0, "config": "x", "agi": {"listen": ""}, "accounts": []}
        return {**about, "phone": phone}

    monkeypatch.setattr("agi_xmpp.control.ask", ask)
    config = tmp_path / "agi-xmpp.toml"
    config.write_text("")
    result = run("status", "-c", config)
    assert result.exit_code == (0 if in_sight else 1)
    assert "  no such module\n" in result.output


def test_import_ends_with_what_to_do_next(tmp_path: Path) -> None:
    source, target = tmp_path / "xmpp.conf", tmp_path / "agi-xmpp.toml"
    source.write_text("[p]\nusername=a@b.c\nsecret=x\nautoprune=yes\n")
    lines = run("import", source, "-o", target).output.splitlines()
    assert lines[0].startswith("note: ")
    assert lines[-1] == f"wrote {target}; now run: agi-xmpp check -c {target} --online"
