"""A Debian tree with the real programs, built once and kept in the user's cache.

`build` makes it with debootstrap and Debian's own packages (about a minute and 0.8 GB); later calls find it in no time.
Programs are run inside by `Rootfs.command`, in a mount namespace of their own: /dev and /proc are mounted there only,
so that no mount survives a run and deleting the tree can never reach the machine's own /dev.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.testbed.errors import TestbedError

#: What each suite of Debian is wanted for. ``bullseye`` has Asterisk 16, whose AGI lines are limited to 2 KB.
PACKAGES: dict[str, tuple[str, ...]] = {
    "testing": (
        *("asterisk", "asterisk-modules", "asterisk-core-sounds-en-gsm"),
        *("prosody", "lua-sec", "lua-event", "lua-unbound"),
        "ejabberd",
        *("profanity", "sip-tester", "baresip-core"),
        *("slapd", "redis-server"),
        *("python3", "python3-venv"),
    ),
    "bullseye": ("asterisk", "asterisk-modules", "asterisk-core-sounds-en-gsm"),
}
#: Packages whose versions `Rootfs.versions` tells, in this order.
_SHOWN = (
    *("asterisk", "prosody", "ejabberd", "profanity", "sip-tester", "baresip-core", "slapd", "redis-server", "python"),
)
#: How a built tree looks; a change of what `_fill` does counts this up, so that older trees are not reused.
LAYOUT = 1
#: Bytes that a build needs at its peak: the tree and the downloaded packages.
SPACE_NEEDED = 1_700_000_000
#: Seconds between lines of progress while a step takes its time.
PROGRESS_INTERVAL = 5.0

Progress = Callable[[str], None]

#: /proc and /dev for one program and its children, then the program itself in place of the shell: its process id is the
#: one that we started.
_ENTER = 'mount --bind /proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'

_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
    "TERM": "dumb",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Rootfs:
    """A built tree.

    Attributes:
        path: where it stands.
        suite: Debian's name of it.
    """

    path: Path
    suite: str

    def command(self, *argv: str, user: str = "") -> list[str]:
        """Return the command line that runs ``argv`` inside.

        The program ends when whoever started it does (PR_SET_PDEATHSIG, prctl(2)): nothing is left behind by a test run
        that was killed.

        Args:
            argv: program and arguments, as seen inside.
            user: name of the user inside; root if empty.
        """
        identity = [f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        inside = ["setpriv", *identity, "--pdeathsig=KILL", "--", *argv]
        return ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _ENTER, str(self.path), *inside]

    def run(self, *argv: str, user: str = "", timeout: float = 60.0) -> str:
        """Run a program inside to its end and return what it printed.

        Raises:
            TestbedError: it failed, or took longer than ``timeout`` seconds.
        """
        try:
            result = subprocess.run(
                self.command(*argv, user=user),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TestbedError(f"{argv[0]} did not end within {timeout:g} s") from None
        output = result.stdout.decode(errors="replace")
        if result.returncode != 0:
            raise TestbedError(f"{argv[0]} failed with exit code {result.returncode}: {output.strip()[-500:]}")
        return output

    def owner(self, user: str) -> tuple[int, int]:
        """Return the user and group id that ``user`` has inside; they mean nothing outside."""
        for line in (self.path / "etc/passwd").read_text().splitlines():
            name, _, uid, gid, *_ = line.split(":")
            if name == user:
                return int(uid), int(gid)
        raise TestbedError(f"there is no user {user} in {self.path}")

    @contextlib.contextmanager
    def run_directory(self, name: str, user: str) -> Iterator[RunDirectory]:
        """Make a directory for one run of one program, owned by ``user``; it is deleted afterwards."""
        self._sweep()
        inside = Path("/srv") / f"{name}-{os.getpid()}-{secrets.token_hex(4)}"
        directory = RunDirectory(self.path / inside.relative_to("/"), inside, *self.owner(user))
        directory.outside.mkdir(mode=0o755)
        os.chown(directory.outside, directory.uid, directory.gid)
        try:
            yield directory
        finally:
            shutil.rmtree(directory.outside, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete the directories of runs that were killed: the process in their name is gone."""
        for path in (self.path / "srv").iterdir():
            match = re.fullmatch(r"[a-z]+-(\d+)-[0-9a-f]{8}", path.name)
            if match and not Path(f"/proc/{match[1]}").exists():
                shutil.rmtree(path, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """Return the environment for programs inside: nothing of the caller's own."""
        return dict(_ENVIRONMENT)

    def versions(self) -> dict[str, str]:
        """Return the versions of the parts, as Debian's package database says: ``{"asterisk": "22.10.1", …}``."""
        known: dict[str, str] = {}
        for stanza in (self.path / "var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n"):
            fields = dict(re.findall(r"^(Package|Version|Status): (.*)$", stanza, re.MULTILINE))
            if not fields.get("Status", "").endswith(" installed"):
                continue
            if fields["Package"] in _SHOWN:
                known[fields["Package"]] = _upstream(fields["Version"])
            elif re.fullmatch(r"python3\.\d+", fields["Package"]):  # the package python3 has a version of its own
                known["python"] = _upstream(fields["Version"])
        return {name: known[name] for name in _SHOWN if name in known}


@dataclasses.dataclass(frozen=True, slots=True)
class RunDirectory:
    """One program's own place.

    Attributes:
        outside: its path for us.
        inside: its path for the program.
        uid, gid: its owner.
    """

    outside: Path
    inside: Path
    uid: int
    gid: int

    def write(self, name: str, text: str, mode: int = 0o640) -> Path:
        """Write a file of the program's user, with the directories on the way; return its path inside."""
        path = self.outside / name
        self.directory(str(Path(name).parent))
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        os.chown(path, self.uid, self.gid)
        return self.inside / name

    def directory(self, name: str) -> Path:
        """Make a directory of the program's user, with its parents; return its path inside."""
        path = self.outside
        for part in Path(name).parts:
            path /= part
            if not path.is_dir():
                path.mkdir(mode=0o755)
                os.chown(path, self.uid, self.gid)
        return self.inside / name


def cache_directory() -> Path:
    """Return where trees are kept: ``$XDG_CACHE_HOME/agi-xmpp`` or ``~/.cache/agi-xmpp``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "agi-xmpp"


def bytecode_directory() -> Path:
    """Return where Python keeps what it has compiled of the program under test (``PYTHONPYCACHEPREFIX``)."""
    return cache_directory() / "bytecode"


def tree_path(suite: str) -> Path:
    """Return where the tree of ``suite`` stands once it is built; other packages make another path."""
    try:
        packages = PACKAGES[suite]
    except KeyError:
        raise TestbedError(f"no suite {suite!r}: known are {', '.join(PACKAGES)}") from None
    key = hashlib.sha256(repr((LAYOUT, sorted(packages))).encode()).hexdigest()[:12]
    return cache_directory() / f"rootfs-{suite}-{key}"


def find(suite: str = "testing") -> Rootfs | None:
    """Return the tree of ``suite`` if it is built already."""
    path = tree_path(suite)
    return Rootfs(path, suite) if path.is_dir() else None


def build(suite: str = "testing", progress: Progress = print) -> Rootfs:
    """Return the tree of ``suite``, built if need be.

    Args:
        suite: a key of `PACKAGES`.
        progress: takes lines that say what is done and for how long.

    Raises:
        TestbedError: not root, no debootstrap, no network, disk full, … in a sentence.
    """
    if os.geteuid() != 0:
        raise TestbedError("the testbed needs root (it uses debootstrap, chroot and mount): run this as root")
    final = tree_path(suite)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TestbedError(f"{final.parent} cannot be made: {error.strerror}") from None
    if (found := find(suite)) is not None:
        return found
    with _lock(final, progress):
        if (found := find(suite)) is not None:  # whoever held the lock has built it
            return found
        ensure_program("debootstrap", "debian-archive-keyring", progress=progress)
        _ensure_space(final.parent)
        for abandoned in final.parent.glob(f"building-{suite}-*"):  # of a build that was killed: we hold the lock
            shutil.rmtree(abandoned)
        temporary = final.parent / f"building-{suite}-{secrets.token_hex(4)}"
        started = time.monotonic()
        try:
            _fill(Rootfs(temporary, suite), final.with_suffix(".log"), progress)
            temporary.rename(final)
        finally:
            if temporary.exists():
                shutil.rmtree(temporary)
    progress(f"{suite}: built in {time.monotonic() - started:.0f} s: {final}")
    return Rootfs(final, suite)


def ensure_program(name: str, *more: str, progress: Progress = print) -> None:
    """Install the Debian package ``name`` (and ``more``) on this machine, unless there is a program of that name.

    Raises:
        TestbedError: it cannot be installed, in a sentence.
    """
    if shutil.which(name):
        return
    if not shutil.which("apt-get"):
        raise TestbedError(f"{name} is missing and this machine has no apt-get: the testbed needs a Debian-like system")
    log = cache_directory() / "rootfs-tools-0.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    install = ["apt-get", "-q", "-y", "install", "--no-install-recommends", name, *more]
    try:
        _run_step(f"installing {name}", install, log, progress)
    except TestbedError:  # perhaps this machine has no package index yet
        _run_step("package index of this machine", ["apt-get", "-q", "update"], log, progress)
        _run_step(f"installing {name}", install, log, progress)


def clean(progress: Progress = print) -> None:
    """Delete what is ours from the cache; others' directories there stay."""
    for path in sorted(cache_directory().glob("*")):
        if re.fullmatch(r"(rootfs|building)-[a-z]+-[0-9a-f]+(\.log|\.lock)?|bytecode", path.name):
            progress(f"deleting {path}")
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _fill(tree: Rootfs, log: Path, progress: Progress) -> None:
    def step(what: str, argv: Sequence[str]) -> None:
        _run_step(f"{tree.suite}: {what}", argv, log, progress)

    log.write_bytes(b"")
    # In a mount namespace of its own too: debootstrap mounts /proc inside the tree.
    private = ["unshare", "--mount", "--propagation", "private", "--"]
    step("debootstrap", [*private, "debootstrap", "--variant=minbase", tree.suite, str(tree.path)])
    # Mirrors may lag behind the week for which the index of `testing` is valid; its signature is checked all the same.
    # Recommended packages would bring hundreds of megabytes that nothing here uses.
    (tree.path / "etc/apt/apt.conf.d/90testbed").write_text(
        'Acquire::Check-Valid-Until "false";\nAPT::Install-Recommends "false";\nAcquire::Retries "3";\n'
    )
    # Nothing may start a service while it is installed (Debian policy 9.11.2, invoke-rc.d).
    policy = tree.path / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    (tree.path / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    step("package index", tree.command("apt-get", "-q", "update"))
    step("packages", tree.command("apt-get", "-q", "-y", "install", *PACKAGES[tree.suite]))
    step("clean-up", tree.command("apt-get", "-q", "clean"))
    shutil.rmtree(tree.path / "var/lib/apt/lists")


def _run_step(name: str, argv: Sequence[str], log: Path, progress: Progress) -> None:
    """Run one step of a build, with its output to ``log`` and a line of progress every few seconds."""
    progress(f"{name} …")
    started = time.monotonic()
    with log.open("ab") as output:
        start = output.tell()
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**_ENVIRONMENT, **_proxies()},
            start_new_session=True,
        )
        try:
            while True:
                try:
                    code = process.wait(PROGRESS_INTERVAL)
                    break
                except subprocess.TimeoutExpired:
                    progress(f"{name} … {time.monotonic() - started:.0f} s")
        except BaseException:  # interrupted: debootstrap's children must not go on
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if code != 0:
        text = log.read_bytes()[start:].decode(errors="replace")
        raise TestbedError(f"{name} failed: {_reason(text)} (all of it: {log})")


def _reason(output: str) -> str:
    """Say in words what the output of apt-get or debootstrap means."""
    if re.search(r"No space left on device|enough free space", output, re.IGNORECASE):
        return "the disk is full"
    if re.search(
        r"Temporary failure|Could not resolve|Failed getting release|Network is unreachable|Failed to fetch", output
    ):
        return "Debian's mirror cannot be reached"
    if re.search(r"Operation not permitted|Permission denied", output):
        return "this machine does not let root mount or make device nodes (an unprivileged container?)"
    lines = [line for line in output.splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "it printed nothing"


def _proxies() -> dict[str, str]:
    """Return the caller's HTTP proxy, which debootstrap and apt need where there is no other way out."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    return {name: os.environ[name] for name in names if name in os.environ}


def _ensure_space(directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < SPACE_NEEDED:
        raise TestbedError(
            f"{directory} has {free / 1e9:.1f} GB free, and the testbed needs {SPACE_NEEDED / 1e9:.1f} GB"
        )


@contextlib.contextmanager
def _lock(final: Path, progress: Progress) -> Iterator[None]:
    """Let one build of a tree run at a time; the kernel frees the lock of a process that died."""
    with final.with_suffix(".lock").open("w") as file:
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress(f"{final.name}: another process is building it … {time.monotonic() - started:.0f} s")
                time.sleep(PROGRESS_INTERVAL)
        yield


def _upstream(version: str) -> str:
    """Return the upstream part of a Debian version: ``1:22.10.1+dfsg+~cs6-1`` is ``22.10.1``."""
    match = re.match(r"(?:\d+:)?([0-9][0-9.]*[0-9]|[0-9])", version)
    return match[1] if match else version


def say(line: str) -> None:
    """Print a line of progress on stderr."""
    print(line, file=sys.stderr, flush=True)
