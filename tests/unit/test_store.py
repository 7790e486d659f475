from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agi_xmpp import store as module
from agi_xmpp.errors import ConfigError
from agi_xmpp.store import FILE, MIGRATIONS, Store


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def reopened(directory: str, name: str = "notes") -> dict[str, str]:
    store = Store(directory)
    try:
        return dict(store.table(name))
    finally:
        store.close()


def test_what_is_written_is_there_after_a_restart(directory):
    store = Store(directory)
    notes = store.table("notes")
    notes["alice@example.org"] = json.dumps({"on": True})
    notes["bob@example.org"] = "ünïcödé \0 '; DROP TABLE entry; --"
    notes["carol@example.org"] = "1"
    notes["carol@example.org"] = "2"
    notes["gone@example.org"] = "x"
    del notes["gone@example.org"]
    store.table("dnd")["alice@example.org"] = "until 5"
    store.close()
    assert reopened(directory) == {
        "alice@example.org": '{"on": true}',
        "bob@example.org": "ünïcödé \0 '; DROP TABLE entry; --",
        "carol@example.org": "2",
    }
    assert reopened(directory, "dnd") == {"alice@example.org": "until 5"}


def test_a_deleted_key_does_not_come_back(directory):
    store = Store(directory)
    store.table("notes")["alice"] = "1"
    store.close()
    store = Store(directory)
    del store.table("notes")["alice"]
    store.close()
    assert reopened(directory) == {}


def test_a_table_is_the_same_for_all_who_ask(directory):
    store = Store(directory)
    store.table("notes")["alice"] = "1"
    assert store.table("notes") == {"alice": "1"}
    assert len(store.table("notes")) == 1
    with pytest.raises(KeyError):
        del store.table("notes")["nobody"]
    store.close()
    assert store.table("notes")["alice"] == "1"


def test_without_a_directory_memory_is_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("")
    store.table("notes")["alice"] = "1"
    assert store.table("notes") == {"alice": "1"}
    assert store.flush()
    store.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("key", "value"), [("\ud800", "x"), ("x", "\ud800")])
def test_what_utf8_cannot_carry_changes_nothing(directory, key, value):
    store = Store(directory)
    with pytest.raises(ValueError, match="surrogates"):
        store.table("notes")[key] = value
    assert store.table("notes") == {}
    store.close()


def test_a_crash_loses_nothing_that_was_written(directory):
    code = (
        "import os, signal, sys; from agi_xmpp.store import Store\n"
        "store = Store(sys.argv[1]); store.table('notes')['alice'] = '1'; assert store.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run([sys.executable, "-c", code, directory], check=False)
    assert result.returncode == -signal.SIGKILL
    assert (Path(directory) / f"{FILE}-wal").exists()
    assert reopened(directory) == {"alice": "1"}


def test_nobody_else_may_read_it(directory):
    old = os.umask(0)
    try:
        store = Store(directory)
        store.table("notes")["alice"] = "1"
        assert store.flush()
        files = list(Path(directory).iterdir())
        assert {path.name for path in files} == {FILE, f"{FILE}-wal"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE(Path(directory).stat().st_mode) == 0o700
        store.close()
        (Path(directory) / FILE).chmod(0o644)
        Store(directory).close()
        assert stat.S_IMODE((Path(directory) / FILE).stat().st_mode) == 0o600
    finally:
        os.umask(old)


@pytest.mark.parametrize("where", ["this process", "another process"])
def test_a_second_service_is_refused(directory, monkeypatch, where):
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.05)
    store = Store(directory)
    if where == "this process":
        with pytest.raises(ConfigError, match="another agi-xmpp runs there already"):
            Store(directory)
    code = "import sys; from agi_xmpp import store; store.LOCK_TIMEOUT = 0.05; store.Store(sys.argv[1])"
    result = subprocess.run([sys.executable, "-c", code, directory], capture_output=True, text=True, check=False)
    assert "another agi-xmpp runs there already" in result.stderr
    store.table("notes")["alice"] = "1"
    store.close()
    assert reopened(directory) == {"alice": "1"}


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"state.directory .*/no/such: No such file or directory; it must be"):
        Store(str(tmp_path / "no" / "such"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"state.directory .*/file: File exists; it must be a directory"):
        Store(str(tmp_path / "file"))


@pytest.mark.parametrize(
    "content", [b"this is no database, and never was one\n" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_an_error(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ConfigError, match=r"is damaged .*: move it away"):
        Store(str(tmp_path))
    assert (tmp_path / FILE).read_bytes() == content


def test_a_damaged_page_is_an_error(tmp_path):
    store = Store(str(tmp_path))
    for number in range(1000):
        store.table("notes")[f"user{number}"] = "x" * 100
    store.close()
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 8] = b"\xa5" * (4096 * 5)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="is damaged"):
        Store(str(tmp_path))


def test_the_file_of_another_program_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(ConfigError, match="was not made by agi-xmpp"):
        Store(str(tmp_path))


def test_the_file_of_a_newer_version_is_left_alone(directory):
    Store(directory).close()
    path = Path(directory) / FILE
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    other.close()
    with pytest.raises(ConfigError, match=r"written by a newer agi-xmpp \(version 2; this one knows 1\)"):
        Store(directory)


def test_a_file_of_an_older_version_is_migrated(directory, monkeypatch):
    store = Store(directory)
    store.table("notes")["alice"] = "1"
    store.close()
    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, "UPDATE entry SET value = value || '!'"))
    assert reopened(directory) == {"alice": "1!"}
    assert reopened(directory) == {"alice": "1!"}, "once is enough"


def test_a_migration_that_fails_changes_nothing(directory, monkeypatch):
    store = Store(directory)
    store.table("notes")["alice"] = "1"
    store.close()
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", (*MIGRATIONS, "UPDATE entry SET value = '?'", "UPDATE missing SET x = 1"))
        with pytest.raises(ConfigError, match="no such table: missing"):
            Store(directory)
    assert reopened(directory) == {"alice": "1"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def test_a_full_disk_harms_no_call_and_is_tried_again(small_disk, caplog):
    store = Store(str(small_disk))
    notes = store.table("notes")
    notes["before"] = "1"
    assert store.flush()
    ballast = fill(small_disk)
    for number in range(100):
        notes[f"user{number}"] = "x" * 1000
    assert not store.flush()
    notes["more"] = "2"
    del notes["before"]
    assert not store.flush()
    assert notes["user99"] == "x" * 1000
    complaints = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(complaints) == 1, complaints
    assert "full" in complaints[0]
    assert "kept in memory only" in complaints[0]
    ballast.unlink()
    with caplog.at_level(logging.INFO):
        assert store.flush()
    assert "can be written again; nothing is lost" in caplog.text
    store.close()
    kept = reopened(str(small_disk))
    assert len(kept) == 101
    assert kept["more"] == "2"
    assert "before" not in kept


def test_a_disk_that_is_full_at_the_start_is_an_error(small_disk):
    fill(small_disk)
    with pytest.raises(ConfigError, match=r"state.directory.*(full|disk I/O error|No space left)"):
        Store(str(small_disk))


def test_an_input_output_error_at_the_end_is_said(directory, caplog):
    store = Store(directory)
    store.table("notes")["alice"] = "1"
    assert store.flush()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))  # Python ignores SIGXFSZ: writing fails with EFBIG
    try:
        store.table("notes")["bob"] = "2" * 100_000
        assert not store.flush()
        store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "the last 1 changes could not be written and are lost" in caplog.text
    assert reopened(directory) == {"alice": "1"}


def test_it_is_tried_again_by_itself(directory, monkeypatch, caplog):
    caplog.set_level(logging.INFO, module.log.name)
    monkeypatch.setattr(module, "RETRY", 0.01)
    events = {"kept in memory only": threading.Event(), "can be written again": threading.Event()}

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for text, event in events.items():
                if text in record.getMessage():
                    event.set()

    store = Store(directory)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    listener = Listener()
    module.log.addHandler(listener)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        store.table("notes")["bob"] = "2" * 100_000
        failed = events["kept in memory only"].wait(10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed
    assert events["can be written again"].wait(10)
    module.log.removeHandler(listener)
    store.close()
    assert reopened(directory) == {"bob": "2" * 100_000}


def test_a_disk_that_may_not_be_written_is_an_error(small_disk):
    Store(str(small_disk)).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ConfigError, match=r"state.directory .*: Read-only file system; it must be a directory"):
        Store(str(small_disk))
