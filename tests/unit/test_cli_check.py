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


def test_import_ends_with_what_to_do_next(tmp_path: Path) -> None:
    source, target = tmp_path / "xmpp.conf", tmp_path / "agi-xmpp.toml"
    source.write_text("[p]\nusername=a@b.c\nsecret=x\nautoprune=yes\n")
    lines = run("import", source, "-o", target).output.splitlines()
    assert lines[0].startswith("note: ")
    assert lines[-1] == f"wrote {target}; now run: agi-xmpp check -c {target} --online"
