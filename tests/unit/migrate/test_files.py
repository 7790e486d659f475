"""Files, and the command."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from agi_xmpp import cli
from agi_xmpp.errors import UsageError
from agi_xmpp.migrate import files

OLD = b"[a]\r\nexten => 1,1,JabberSend(pbx,b@c,Gr\xfc\xdfe) ; \xe4\r\n same => n,Hangup"
NEW = b"[a]\r\nexten => 1,1,AGI(agi://127.0.0.1/jabber_send,pbx,b@c,Gr\xfc\xdfe) ; \xe4\r\n same => n,Hangup"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "extensions.conf"
    path.write_bytes(OLD)
    return path


def run(*words):
    return CliRunner().invoke(cli.main, ["migrate", *map(str, words)])


def test_the_difference_is_shown_and_nothing_written(conf):
    result = run(conf)
    assert result.exit_code == 0
    assert result.stdout_bytes.startswith(f"--- {conf}\n+++ {conf}\n".encode())
    assert b"+exten => 1,1,AGI(agi://127.0.0.1/jabber_send,pbx,b@c,Gr\xfc\xdfe) ; \xe4\r\n" in result.stdout_bytes
    assert result.stdout_bytes.endswith(b" same => n,Hangup\n\\ No newline at end of file\n")
    assert f"{conf}:2: JabberSend(pbx,b@c," in result.stderr
    assert "1 changed, 0 to look at" in result.stderr
    assert conf.read_bytes() == OLD


@pytest.mark.skipif(not shutil.which("patch"), reason="there is no patch program")
def test_patch_takes_the_difference(conf):
    difference = run(conf).stdout_bytes
    subprocess.run(["patch", "--binary", "-s", conf], input=difference, check=True, cwd=conf.parent)
    assert conf.read_bytes() == NEW


def test_output_to_a_file(conf, tmp_path):
    target = tmp_path / "new.conf"
    assert run(conf, "-o", target).exit_code == 0
    assert target.read_bytes() == NEW
    again = run(conf, "-o", target)
    assert again.exit_code == 2
    assert "--force overwrites it" in again.output
    assert run(conf, "-o", target, "--force").exit_code == 0


def test_in_place_with_a_copy(conf, tmp_path):
    conf.chmod(0o604)
    link = tmp_path / "link.conf"
    link.symlink_to(conf)
    assert run(link, "--in-place").exit_code == 0
    assert link.is_symlink()
    assert conf.read_bytes() == NEW
    assert stat.S_IMODE(conf.stat().st_mode) == 0o604
    assert (tmp_path / "link.conf.bak").read_bytes() == OLD
    again = run(link, "--in-place")
    assert "0 changed" in again.output
    assert not (tmp_path / "link.conf.bak2").exists()


def test_an_older_copy_is_kept(conf, tmp_path):
    (tmp_path / "extensions.conf.bak").write_text("older")
    run(conf, "--in-place")
    assert (tmp_path / "extensions.conf.bak").read_text() == "older"
    assert (tmp_path / "extensions.conf.bak2").read_bytes() == OLD


def test_check(conf):
    assert run(conf, "--check").exit_code == 1
    assert run(conf, "--check").stdout == ""
    conf.write_bytes(NEW)
    assert run(conf, "--check").exit_code == 0


def test_another_address(conf):
    assert b"+exten => 1,1,AGI(agi://pbx:5000/jabber_send" in run(conf, "--agi", "agi://pbx:5000").stdout_bytes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--agi", "http://pbx"], "must be agi://host"),
        (["--check", "--in-place"], "exclude each other"),
        (["--follow", "-o", "x"], "use --in-place"),
        (["-o", "/nowhere/x"], "/nowhere/x: No such file"),
    ],
)
def test_wrong_use_is_one_sentence(conf, options, words):
    result = run(conf, *options)
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output
    assert conf.read_bytes() == OLD


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    main = tmp_path / "extensions.conf"
    main.write_text(
        '#include "sub/*.conf"\n#tryinclude none.conf\n#include <lost.conf>\n#exec /bin/x\n;#include no\n'
        "[b]\nexten => s,1,Goto(a,s,2)\n"
    )
    (tmp_path / "sub/one.conf").write_text(
        "[a]\nexten => s,1,JabberStatus(pbx,b@c,X)\nexten => s,n,NoOp\n#include extensions.conf\n"
    )
    (tmp_path / "sub/two.conf").write_text("[c]\nexten => s,1,MessageSend(xmpp:b@c,xmpp:pbx)\n")
    return main


def test_included_files_are_listed(tree):
    (outcome,) = files.migrate(tree)
    assert [(remark.line, remark.text) for remark in outcome.remarks] == [
        (1, "sub/*.conf is not looked at; --follow does that"),
        (2, "none.conf is not looked at; --follow does that"),
        (3, "lost.conf is not looked at; --follow does that"),
        (4, "what /bin/x prints is not looked at"),
    ]


def test_included_files_are_followed_and_jump_into_each_other(tree):
    main, one, two = files.migrate(tree, follow=True)
    assert [remark.text for remark in main.remarks] == [
        "there is no file lost.conf",
        "what /bin/x prints is not looked at",
    ]
    assert "Goto(1000)" in one.after
    assert "MESSAGE_SEND_STATUS" not in two.after
    with tree.open("a") as file:
        file.write("exten => s,2,NoOp(${MESSAGE_SEND_STATUS})\n")
    assert "Set(MESSAGE_SEND_STATUS=" in files.migrate(tree, follow=True)[2].after


def test_all_files_are_written(tree):
    result = run(tree, "--follow", "--in-place")
    assert result.exit_code == 0
    assert "Goto(1000)" in (tree.parent / "sub/one.conf").read_text()
    assert (tree.parent / "sub/one.conf.bak").exists()
    assert not tree.with_name("extensions.conf.bak").exists()
    assert "2 changed, 2 to look at" in result.output


def test_absolute_includes(tmp_path):
    (tmp_path / "b.conf").write_text("[b]\n")
    (tmp_path / "a.conf").write_text(f"#include {tmp_path}/b.*\n")
    assert len(files.migrate(tmp_path / "a.conf", follow=True)) == 2


def test_ael_files(tmp_path):
    (tmp_path / "extensions.ael").write_text('#include "b"\ncontext a { 1 => JabberSend(pbx,b@c,x); }\n')
    (tmp_path / "b").write_text("context b { 1 => JabberSend(pbx,b@c,x); }\n")
    outcomes = files.migrate(tmp_path / "extensions.ael", follow=True)
    assert [len(outcome.changes) for outcome in outcomes] == [1, 1]


@pytest.mark.parametrize(("count", "fits"), [(-1, True), (0, True), (1, False)])
def test_no_more_files_than_the_limit(tmp_path, monkeypatch, count, fits):
    monkeypatch.setattr(files, "FILE_LIMIT", 5)
    for number in range(4 + count):
        (tmp_path / f"{number}.inc").write_text("")
    (tmp_path / "a.conf").write_text("#include *.inc\n")
    if fits:
        assert len(files.migrate(tmp_path / "a.conf", follow=True)) == 5 + count
    else:
        with pytest.raises(UsageError, match="more than 5 files"):
            files.migrate(tmp_path / "a.conf", follow=True)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        files.migrate(tmp_path / "none.conf")


def test_a_copy_that_cannot_be_made(conf, monkeypatch):
    monkeypatch.setattr(files, "FILE_LIMIT", 2)
    files.back_up(conf)
    with pytest.raises(UsageError, match="backups"):
        files.back_up(conf)
    with pytest.raises(UsageError, match="No such file"):
        files.back_up(Path("/nowhere/x"))


def test_nothing_is_left_behind_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "x.conf"
    path.write_text("old")

    def refuse(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copymode", refuse)
    with pytest.raises(UsageError, match="No space left"):
        files.write(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["x.conf"]
    assert path.read_text() == "old"
