"""Reading the file, and saying in words what is wrong with it."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from agi_xmpp.config.settings import ControlSettings, Settings
from agi_xmpp.errors import ConfigError


def load(path: Path) -> Settings:
    """Read and check a configuration file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or says something wrong; one line for each complaint.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}{_toml_advice(text, str(error))}") from None
    return parse(data, str(path))


def control_socket(path: Path) -> tuple[str, ConfigError | None]:
    """Return where the running service is reached, also where its file has become wrong since the service read it.

    Args:
        path: of the file.

    Returns:
        ``control.socket``, the default one where the file does not tell; and what is wrong with the file.
    """
    try:
        return load(path).control.socket, None
    except ConfigError as error:
        try:
            told = tomllib.loads(path.read_text(encoding="utf-8")).get("control", {})
            return ControlSettings.model_validate(told).socket, error
        except (OSError, ValueError):  # what pydantic and tomllib raise is a ValueError, too
            return ControlSettings().socket, error


def _toml_advice(text: str, error: str) -> str:
    """Return what to do about the mistake that people make most; "" if it is another one."""
    place = re.search(r"at line (\d+)", error)
    line = text.splitlines()[int(place[1]) - 1].strip() if place else ""
    if line.startswith("[") and "@" in line and '"' not in line:
        return '; an address in a heading needs quotation marks, as in [phone.user."alice@example.org"]'
    return ""


def parse(data: dict[str, Any], origin: str) -> Settings:
    """Check settings that were read already. ``origin`` stands before each complaint."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        complaints = [
            _complaint(item["loc"], item["type"], item["msg"])
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigError("\n".join(f"{origin}: {complaint}" for complaint in complaints)) from None


#: What administrators of Asterisk and of XMPP servers call some of our keys.
_ASTERISKS_OWN = {"secret": "password", "component_secret": "password", "hostname": "host", "bindport": "port"}

#: Complaints of pydantic's about types, by their kind, as an administrator would say it.
_IN_WORDS = {
    "list_type": 'must be a list in brackets, such as ["…"]',
    "too_short": "must not be empty",
    "string_type": "must be a text in quotation marks",
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("model_type", "dict_type"), "must be a section, with a heading in brackets"),
}

#: The words of pydantic's that stand before a bound, and ours.
_BOUNDS = {
    "Input should be greater than or equal to ": "must be at least ",
    "Input should be less than or equal to ": "must be at most ",
    "Input should be greater than ": "must be more than ",
}


def _complaint(location: tuple[int | str, ...], kind: str, message: str) -> str:
    where = ".".join(str(part) for part in location if part != "[key]")  # pydantic's word for a wrong heading
    if kind == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = [key for key in [_ASTERISKS_OWN.get(str(location[-1]))] if key in known]
        near = near or difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
        return f"{where}: unknown key; {advice}"
    if kind == "missing":
        return f"{where}: is missing"
    text = _IN_WORDS.get(kind) or message.removeprefix("Value error, ")
    for words, ours in _BOUNDS.items():
        text = text.replace(words, ours)
    return f"{where}: {text}" if where else text


def _known_keys(section: tuple[int | str, ...]) -> list[str]:
    """Return the keys that a section knows; ``("account", "pbx", "room", "team@rooms.example.org")`` is a section."""
    kind: Any = Settings
    for part in section:
        kind = kind.model_fields[part].annotation if _is_section(kind) else get_args(kind)[-1]
        if get_origin(kind) is UnionType:  # Section | None
            kind = get_args(kind)[0]
    return list(kind.model_fields)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
