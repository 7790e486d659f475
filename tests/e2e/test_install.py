"""The install commands of docs/admin.md, run as they stand in fresh environments, for every interpreter there is.

The testbed's own Debian has one more (3.14). What is installed then logs in to a real server.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import tomlkit

import agi_xmpp
from tests.testbed.rootfs import Rootfs
from tests.testbed.service import Account
from tests.testbed.xmpp import Accounts, Prosody

pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
COMMANDS: dict[str, str] = dict(
    re.findall(r"^\| (3\.\d+) \| `(python[^`]+)` \|$", (ROOT / "docs/admin.md").read_text(encoding="utf-8"), flags=re.M)
)


def interpreter(version: str) -> str | None:
    """Return a Python of that version on this machine, be it Debian's or pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}")))]
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-c", "import venv, ensurepip"], capture_output=True, check=False)
        if done.returncode == 0:
            return candidate
    return None


def test_there_is_a_command_for_every_version_that_we_promise() -> None:
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert list(COMMANDS) == classifiers


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A fresh copy of what is under version control."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in files.decode().split("\0"):
        if name and (ROOT / name).exists():
            target = tmp_path / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return tmp_path / "source"


@pytest.mark.parametrize("version", COMMANDS)
async def test_the_documented_command(
    version: str, source: Path, tmp_path: Path, rootfs: Rootfs, prosody: Prosody
) -> None:
    login = await Accounts(prosody)("pbx")
    account = Account(prosody, login.jid, login.password)
    if python := interpreter(version):
        program = _installed(COMMANDS[version], version, python, source, tmp_path / "agi-xmpp")
        config = _configuration(tmp_path, account, str(prosody.ca_file))
        _check(lambda *words: _run([program, *words]), str(config))
        return
    if not (rootfs.path / f"usr/bin/python{version}").exists():
        pytest.skip(f"there is no Python {version} here")
    with rootfs.run_directory("install", "root") as place:
        shutil.copytree(source, place.outside / "source")
        # The machine's own idea of whom to trust: the tree knows Debian's CAs only.
        shutil.copy(ssl.get_default_verify_paths().cafile or "", place.outside / "ca-certificates.crt")
        trust = [f"{name}={place.inside}/ca-certificates.crt" for name in ("SSL_CERT_FILE", "PIP_CERT")]
        command = COMMANDS[version].replace("/opt/agi-xmpp", f"{place.inside}/agi-xmpp")
        rootfs.run("env", *trust, "sh", "-ec", f"cd {place.inside}/source && {command}", timeout=500)
        (place.outside / "ca.pem").write_bytes(prosody.ca_file.read_bytes())
        config = _configuration(place.outside, account, f"{place.inside}/ca.pem")
        program = f"{place.inside}/agi-xmpp/bin/agi-xmpp"
        _check(lambda *words: rootfs.run(program, *words), f"{place.inside}/{config.name}")


def _installed(command: str, version: str, python: str, source: Path, target: Path) -> str:
    command = command.replace(f"python{version} ", f"{shlex.quote(python)} ", 1).replace("/opt/agi-xmpp", str(target))
    _run(["sh", "-ec", command], cwd=source)
    return str(target / "bin/agi-xmpp")


def _configuration(directory: Path, account: Account, ca_file: str) -> Path:
    path = directory / "agi-xmpp.toml"
    path.write_text(tomlkit.dumps({"account": {"pbx": {**account.table(), "ca_file": ca_file}}}))
    return path


def _check(run: Callable[..., str], config: str) -> None:
    assert run("--version").strip() == f"agi-xmpp, version {agi_xmpp.__version__}"
    assert "pbx: logged in as" in run("check", "--online", "-c", config)


def _run(command: list[str], cwd: Path | None = None) -> str:
    # Nothing of our own environment: neither its packages nor this checkout.
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
