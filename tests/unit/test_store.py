from __future__ import annotations

import json
import logging
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agi_xmpp import store as module
from agi_xmpp.errors import ConfigError
from agi_xmpp.store import FILE, Store
from tests.unit.disks import damage, fill


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


def test_a_damaged_file_is_an_error(directory):
    store = Store(directory)
    for number in range(1000):
        store.table("notes")[f"user{number}"] = "x" * 100
    store.close()
    damage(Path(directory) / FILE)
    with pytest.raises(ConfigError, match="is damaged"):
        Store(directory)


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
    assert complaints == [store.problem]
    assert "full" in complaints[0]
    assert "kept in memory only" in complaints[0]
    ballast.unlink()
    with caplog.at_level(logging.INFO):
        assert store.flush()
    assert store.problem == ""
    assert "can be written again; nothing is lost" in caplog.text
    store.close()
    kept = reopened(str(small_disk))
    assert len(kept) == 101
    assert kept["more"] == "2"
    assert "before" not in kept


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
