"""Where secrets come from: the file itself, another file, the environment or a command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr, model_validator

from agi_xmpp.config.base import Section
from agi_xmpp.errors import ConfigError

#: How long a command for a password or token may take, in seconds. One that asks a human would hang the start for ever.
SECRET_COMMAND_TIMEOUT = 10.0

#: Passwords of our own documents: whoever leaves one in place has not finished the set-up.
EXAMPLE_PASSWORDS = frozenset({"change-me", "changeme", "secret"})

#: What a token may hold: it travels as in a header of HTTP (RFC 7628 section 3.1), behind the word Bearer and a blank.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class SecretSource(Section):
    """Where a secret comes from: inline, a file, an environment variable or a command, each by a key of its own."""

    #: What the secret may be; the keys begin with it.
    _kinds: ClassVar[Sequence[str]] = ()

    @classmethod
    def _source_keys(cls) -> list[str]:
        return [f"{kind}{form}" for kind in cls._kinds for form in ("", "_file", "_env", "_command")]

    @property
    def sources(self) -> list[str]:
        """The keys that say where the secret comes from; one is right."""
        return [key for key in self._source_keys() if getattr(self, key) is not None]

    def _demand_one_source(self) -> None:
        if len(self.sources) != 1:
            *keys, last = self._source_keys()
            raise ValueError(
                f"needs exactly one of {', '.join(keys)} and {last}"
                + (f", not {' and '.join(self.sources)}" if self.sources else "")
            )

    def secret(self) -> str:
        """Fetch the secret from where the settings say. It is read anew at every call, so that it can be changed.

        Raises:
            ConfigError: the file, variable or command does not give one; the text never holds the secret.
        """
        key = self.sources[0]
        kind, _, form = key.partition("_")
        value = getattr(self, key)
        match form:
            case "file":
                text, origin = _read_secret_file(key, value), f"{key} {value}"
            case "env":
                text, origin = os.environ.get(value, ""), f"environment variable {value}"
            case "command":
                text, origin = _run_secret_command(key, value), key
            case _:
                text, origin = value.get_secret_value(), key
        secret = text.splitlines()[0] if form and text else text
        if not secret:
            raise ConfigError(f"{origin} gives no {kind} (its first line is empty)")
        if kind == "token" and not _TOKEN.fullmatch(secret):
            raise ConfigError(f"{origin} gives no token: its first line must be the token alone, without blanks")
        return secret


class PasswordSource(SecretSource):
    """Where a password comes from."""

    _kinds: ClassVar[Sequence[str]] = ("password",)

    password: SecretStr | None = None
    password_file: Path | None = None
    password_env: str | None = None
    password_command: list[str] | None = None

    def _demand_own_password(self, owner: str) -> None:
        """Refuse a password of our documents; ``owner`` is whose one it should be."""
        if self.password is not None and self.password.get_secret_value() in EXAMPLE_PASSWORDS:
            raise ValueError(f"password is still the one of the example; set {owner}'s own")


class OptionalPassword(PasswordSource):
    """A password that need not be there."""

    @model_validator(mode="after")
    def _one_password(self) -> OptionalPassword:
        if len(self.sources) > 1:
            raise ValueError(f"needs one password at the most, not {' and '.join(self.sources)}")
        return self


def _read_secret_file(key: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{key} {path}: {reason}") from None


def _run_secret_command(key: str, words: list[str]) -> str:
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise ConfigError(f"{key}: no program {words[0]!r}" if words else f"{key} is empty")
    try:
        # The administrator's own command, as a list of words: no shell, nothing from the network in it.
        result = subprocess.run(
            [program, *words[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECRET_COMMAND_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{key} {words[0]!r} gave nothing within {SECRET_COMMAND_TIMEOUT:g} s") from None
    except OSError as error:
        raise ConfigError(f"{key} {words[0]!r}: {error.strerror}") from None
    if result.returncode != 0:
        # Its output is not repeated here: it may hold the secret.
        raise ConfigError(f"{key} {words[0]!r} ended with exit code {result.returncode}")
    try:
        return result.stdout.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{key} {words[0]!r} printed something that is not UTF-8 text") from None
