"""What a build says when it cannot be done, and what it leaves behind: nothing."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from tests.testbed import rootfs
from tests.testbed.errors import TestbedError
from tests.testbed.rootfs import Rootfs

Usage = namedtuple("Usage", "total used free")


def silent(_line: str) -> None:
    """Take progress that no test looks at."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, root's rights and all tools, whoever runs this."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 10**12))
    return tmp_path / "agi-xmpp"


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The trees that were filled, by something quicker than debootstrap."""
    paths: list[Path] = []

    def fill(tree: Rootfs, log: Path, progress: rootfs.Progress) -> None:
        tree.path.mkdir()
        (tree.path / "made").touch()
        paths.append(tree.path)

    monkeypatch.setattr(rootfs, "_fill", fill)
    return paths


class TestBuild:
    def test_a_tree_is_built_once(self, cache: Path, filled: list[Path]) -> None:
        tree = rootfs.build("testing", silent)
        assert (tree.path / "made").exists()
        assert tree.path.parent == cache
        assert rootfs.build("testing", silent) == tree == rootfs.find("testing")
        assert len(filled) == 1

    def test_other_packages_make_another_tree(self, filled: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        before = rootfs.build("testing", silent)
        monkeypatch.setitem(rootfs.PACKAGES, "testing", ("asterisk",))
        assert rootfs.find("testing") is None
        assert rootfs.build("testing", silent).path != before.path

    def test_a_failure_leaves_no_tree(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(tree: Rootfs, log: Path, progress: rootfs.Progress) -> None:
            tree.path.mkdir()
            raise TestbedError("testing: packages failed")

        monkeypatch.setattr(rootfs, "_fill", fail)
        with pytest.raises(TestbedError, match="packages failed"):
            rootfs.build("testing", silent)
        assert rootfs.find("testing") is None
        assert not [path for path in cache.iterdir() if path.is_dir()]

    def test_what_a_killed_build_left_is_removed(self, cache: Path, filled: list[Path]) -> None:
        abandoned = cache / "building-testing-0badcafe"
        abandoned.mkdir(parents=True)
        rootfs.build("testing", silent)
        assert not abandoned.exists()

    def test_only_root_can(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(TestbedError, match="needs root"):
            rootfs.build("testing", silent)

    def test_no_place_for_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        with pytest.raises(TestbedError, match="cannot be made: Not a directory"):
            rootfs.build("testing", silent)

    def test_without_apt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: None)
        with pytest.raises(TestbedError, match="Debian-like"):
            rootfs.build("testing", silent)

    def test_unknown_suite(self) -> None:
        with pytest.raises(TestbedError, match="no suite 'woody': known are testing, bullseye"):
            rootfs.build("woody", silent)

    @pytest.mark.parametrize("spare", [-1, 0, 1])
    def test_space(self, filled: list[Path], monkeypatch: pytest.MonkeyPatch, spare: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, rootfs.SPACE_NEEDED + spare))
        if spare < 0:
            with pytest.raises(TestbedError, match="GB free"):
                rootfs.build("testing", silent)
            assert filled == []
        else:
            rootfs.build("testing", silent)
            assert len(filled) == 1

    def test_two_builds_at_once(self, cache: Path, filled: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rootfs, "PROGRESS_INTERVAL", 0)
        cache.mkdir()
        lines: list[str] = []
        with rootfs.tree_path("testing").with_suffix(".lock").open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)

            def progress(line: str) -> None:
                lines.append(line)
                fcntl.flock(other, fcntl.LOCK_UN)  # the other build has ended

            rootfs.build("testing", progress)
        assert "another process is building it" in lines[0]
        assert len(filled) == 1


class TestStep:
    def test_progress_is_shown_until_it_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rootfs, "PROGRESS_INTERVAL", 0.01)
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        lines: list[str] = []

        def progress(line: str) -> None:
            lines.append(line)
            if len(lines) == 3:
                pipe.write_text("go on\n")

        rootfs._run_step(
            "waiting", ["sh", "-c", 'read line < "$0"; echo "$line"', str(pipe)], tmp_path / "log", progress
        )
        assert lines[0] == "waiting …"
        assert lines[2] == "waiting … 0 s"
        assert (tmp_path / "log").read_text() == "go on\n"

    @pytest.mark.parametrize(
        ("output", "reason"),
        [
            ("dpkg: error: No space left on device", "the disk is full"),
            ("E: You don't have enough free space in /var/cache/apt/archives/.", "the disk is full"),
            ("E: Failed getting release file", "mirror cannot be reached"),
            ("Err:1 Temporary failure resolving", "mirror cannot be reached"),
            ("mount: permission denied\nOperation not permitted", "does not let root mount"),
            ("one\ntwo\n\nthree\nE: Unable to locate package", "two / three / E: Unable to locate package"),
            ("", "it printed nothing"),
        ],
    )
    def test_a_failure_is_explained(self, tmp_path: Path, output: str, reason: str) -> None:
        log = tmp_path / "log"
        log.write_text("an earlier step: No space left on device\n")
        with pytest.raises(TestbedError, match=reason) as error:
            rootfs._run_step("packages", ["sh", "-c", 'printf "%s" "$0"; exit 1', output], log, silent)
        assert str(error.value).startswith("packages failed: ")
        assert str(log) in str(error.value)


class TestRootfs:
    @pytest.mark.parametrize(
        ("version", "upstream"),
        [
            ("1:22.10.1+dfsg+~cs6.17.60671434-1", "22.10.1"),
            ("1:16.28.0~dfsg-0+deb11u4", "16.28.0"),
            ("26.07-1", "26.07"),
            ("7-2", "7"),
        ],
    )
    def test_upstream_version(self, version: str, upstream: str) -> None:
        assert rootfs._upstream(version) == upstream

    def test_versions_are_those_installed(self, tmp_path: Path) -> None:
        status = tmp_path / "var/lib/dpkg/status"
        status.parent.mkdir(parents=True)
        status.write_text(
            "Package: prosody\nStatus: install ok installed\nVersion: 13.0.7-1\n\n"
            "Package: ejabberd\nStatus: deinstall ok config-files\nVersion: 26.07-1\n\n"
            "Package: python3.14\nStatus: install ok installed\nVersion: 3.14.8-1\n\n"
            "Package: python3\nStatus: install ok installed\nVersion: 3.14.7-1\n\n"
            "Package: vim\nStatus: install ok installed\nVersion: 9-1\n"
        )
        assert Rootfs(tmp_path, "testing").versions() == {"prosody": "13.0.7", "python": "3.14.8"}

    def test_owner(self, tmp_path: Path) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/passwd").write_text("asterisk:x:101:102:PBX:/var/lib/asterisk:/usr/sbin/nologin\n")
        assert Rootfs(tmp_path, "testing").owner("asterisk") == (101, 102)
        with pytest.raises(TestbedError, match="no user prosody"):
            Rootfs(tmp_path, "testing").owner("prosody")


class TestRunDirectory:
    @pytest.fixture
    def tree(self, tmp_path: Path) -> Rootfs:
        (tmp_path / "etc").mkdir()
        (tmp_path / "srv").mkdir()
        (tmp_path / "etc/passwd").write_text(f"me:x:{os.getuid()}:{os.getgid()}::/:/bin/sh\n")
        return Rootfs(tmp_path, "testing")

    def test_it_lasts_as_long_as_its_run(self, tree: Rootfs) -> None:
        with tree.run_directory("prosody", "me") as place:
            inside = place.write("etc/a/b.conf", "text", mode=0o600)
            assert inside == place.inside / "etc/a/b.conf"
            assert (place.outside / "etc/a/b.conf").read_text() == "text"
            assert (place.outside / "etc/a/b.conf").stat().st_mode & 0o777 == 0o600
            assert place.outside == tree.path / place.inside.relative_to("/")
        assert not list((tree.path / "srv").iterdir())

    def test_those_of_killed_runs_are_removed(self, tree: Rootfs) -> None:
        with subprocess.Popen(["true"]) as ended:
            pass
        for name in (f"asterisk-{ended.pid}-01234567", f"asterisk-{os.getpid()}-01234567", "asterisk-data"):
            (tree.path / "srv" / name).mkdir()
        with tree.run_directory("prosody", "me"):
            left = {path.name for path in (tree.path / "srv").iterdir() if path.name.startswith("asterisk")}
        assert left == {f"asterisk-{os.getpid()}-01234567", "asterisk-data"}


def test_clean_deletes_what_is_ours_only(cache: Path) -> None:
    ours = ["rootfs-testing-0123456789ab", "building-bullseye-01234567", "bytecode"]
    others = ["probe-testing", "rootfs-mine", "notes.txt"]
    for name in (*ours, *others):
        (cache / name).mkdir(parents=True)
    (cache / "rootfs-testing-0123456789ab.log").touch()
    (cache / "rootfs-testing-0123456789ab.lock").touch()
    rootfs.clean(silent)
    assert sorted(path.name for path in cache.iterdir()) == sorted(others)
