from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agi_xmpp import database
from agi_xmpp.database import Layout, complaint, open_file
from agi_xmpp.errors import ConfigError
from tests.unit.disks import damage, fill

#: Four statements, so as to be at version 4.
NOTES = Layout(
    0x54455354,
    (
        "CREATE TABLE note (text TEXT NOT NULL)",
        "ALTER TABLE note ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",
        "CREATE INDEX note_colour ON note (colour)",
        "CREATE UNIQUE INDEX note_text ON note (text)",
    ),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "notes.sqlite"


def write(path: Path, *texts: str, layout: Layout = NOTES) -> None:
    with closing(open_file(path, layout)) as file, file:
        file.executemany("INSERT INTO note (text) VALUES (?)", [(text,) for text in texts])


def read(path: Path, layout: Layout = NOTES) -> list[tuple[str, str]]:
    with closing(open_file(path, layout)) as file:
        return file.execute("SELECT text, colour FROM note ORDER BY rowid").fetchall()


def test_a_file_is_made_and_found_again(path):
    write(path, "one", "two")
    assert read(path) == [("one", "red"), ("two", "red")]


def test_nobody_else_may_read_it(path):
    old = os.umask(0)
    try:
        with closing(open_file(path, NOTES)) as file, file:
            file.execute("INSERT INTO note (text) VALUES ('one')")
            file.commit()
            files = list(path.parent.iterdir())
            assert {file.name for file in files} == {path.name, f"{path.name}-wal"}
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.chmod(0o644)
        write(path, "two")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(old)


@pytest.mark.parametrize("where", ["this process", "another process"])
def test_a_second_service_is_refused(path, monkeypatch, where):
    monkeypatch.setattr(database, "LOCK_TIMEOUT", 0.05)
    with closing(open_file(path, NOTES)) as file:
        if where == "this process":
            with pytest.raises(ConfigError, match="another agi-xmpp runs there already"):
                open_file(path, NOTES)
        code = (
            "import pathlib, sys; from agi_xmpp import database as module; module.LOCK_TIMEOUT = 0.05\n"
            f"module.open_file(pathlib.Path(sys.argv[1]), module.Layout({NOTES.application_id}, {NOTES.migrations!r}))"
        )
        result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        assert "another agi-xmpp runs there already" in result.stderr
        with file:
            file.execute("INSERT INTO note (text) VALUES ('one')")
    assert read(path) == [("one", "red")]


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"state.directory .*/no/such: No such file or directory; it must be"):
        open_file(tmp_path / "no" / "such" / "notes.sqlite", NOTES)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"state.directory .*/file: File exists; it must be a directory"):
        open_file(tmp_path / "file" / "notes.sqlite", NOTES)


@pytest.mark.parametrize(
    "content", [b"this is no database, and never was one\n" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_an_error(tmp_path, content):
    path = tmp_path / "notes.sqlite"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is damaged .*: move it away"):
        open_file(path, NOTES)
    assert path.read_bytes() == content


def test_a_damaged_page_is_an_error(path):
    write(path, *(f"{number:0100}" for number in range(1000)))
    damage(path)
    with pytest.raises(ConfigError, match="is damaged"):
        open_file(path, NOTES)


def test_the_file_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "notes.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="was not made by agi-xmpp"):
        open_file(path, NOTES)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]
    assert len(path.read_bytes()) == len(before)


def test_another_file_of_ours_is_not_taken_for_it(path):
    write(path, "one")
    with pytest.raises(ConfigError, match="was not made by agi-xmpp"):
        open_file(path, Layout(0x4F544852, NOTES.migrations))


def test_the_file_of_a_newer_version_is_left_alone(path):
    write(path, "one")
    with pytest.raises(ConfigError, match=r"written by a newer agi-xmpp \(version 4; this one knows 3\)"):
        open_file(path, Layout(NOTES.application_id, NOTES.migrations[:3]))
    assert read(path) == [("one", "red")]


def test_a_file_of_an_older_version_is_migrated(path):
    write(path, "one")
    newer = Layout(NOTES.application_id, (*NOTES.migrations, "UPDATE note SET text = text || '!'"))
    assert read(path, newer) == [("one!", "red")]
    assert read(path, newer) == [("one!", "red")], "once is enough"


def test_each_version_can_be_brought_to_the_newest(path):
    for version in range(1, len(NOTES.migrations) + 1):
        write(path, f"of {version}", layout=Layout(NOTES.application_id, NOTES.migrations[:version]))
    assert read(path) == [(f"of {version}", "red") for version in (1, 2, 3, 4)]


def test_a_migration_that_fails_changes_nothing(path):
    write(path, "one")
    newer = Layout(NOTES.application_id, (*NOTES.migrations, "UPDATE note SET text = '?'", "UPDATE missing SET x = 1"))
    with pytest.raises(ConfigError, match="no such table: missing"):
        open_file(path, newer)
    assert read(path) == [("one", "red")]


def test_a_disk_that_is_full_at_the_start_is_an_error(small_disk):
    fill(small_disk)
    with pytest.raises(ConfigError, match=r"state.directory.*(full|disk I/O error|No space left)"):
        open_file(small_disk / "notes.sqlite", NOTES)


def test_a_disk_that_may_not_be_written_is_an_error(small_disk):
    write(small_disk / "notes.sqlite", "one")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ConfigError, match=r"state.directory .*: Read-only file system; it must be a directory"):
        open_file(small_disk / "notes.sqlite", NOTES)


def test_an_error_without_a_code_counts_as_damage():
    assert "is damaged (malformed)" in complaint(Path("x.sqlite"), sqlite3.DatabaseError("malformed"))
