"""The documents say what is so: samples parse, commands and keys exist, and nothing is left out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydantic import BaseModel

from agi_xmpp import __version__, cli
from agi_xmpp.config import (
    AccountSettings,
    AgiSettings,
    AmiSettings,
    BookSettings,
    ConferenceRoomSettings,
    ConferenceSettings,
    ContactsSettings,
    ControlSettings,
    LogSettings,
    PhoneSettings,
    PhoneUser,
    RecordSettings,
    RoomSettings,
    SipSettings,
    StateSettings,
    VoicemailSettings,
    parse,
)
from agi_xmpp.features import VERBS
from agi_xmpp.features.phone.book.contacts import read_csv, read_toml
from agi_xmpp.features.phone.command_set import COMMANDS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PHONE = (ROOT / "docs/phone.md").read_text(encoding="utf-8")
ADMIN = "".join(
    (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    for name in ("admin", "component", "conference", "contacts", "phone", "voicemail")
)
DIALPLAN = (ROOT / "docs/dialplan.md").read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.M | re.S)


TOML = [
    pytest.param(block, id=f"{path.name}-{n}") for path in DOCUMENTS for n, block in enumerate(blocks(path, "toml"))
]


def component(name: str) -> dict[str, str]:
    return {"type": "component", "jid": f"{name}.example.org", "password": "y"}


@pytest.mark.parametrize("block", TOML)
def test_configuration_samples_are_right(block):
    data = tomllib.loads(block)
    if "contact" in data:
        read_toml(block.encode())
        return
    if "phone" in data:  # a sample may show a part of it alone
        data["phone"] = {"account": "phone", "context": "internal", **data["phone"]}
    if "conference" in data:
        data["conference"] = {"account": "conference", "context": "conferences", **data["conference"]}
    if "phone" in data or "conference" in data:
        data.setdefault("ami", {"username": "x", "password": "y"})
        data.setdefault("account", {name: component(name) for name in ("phone", "conference")})
    parse(data, "sample")


@pytest.mark.parametrize("block", blocks(ROOT / "docs/phone.md", "csv"))
def test_contact_lists_are_right(block):
    read_csv(block.encode())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.node)
def test_every_chat_word_is_documented(command):
    for example, _means in command.examples:
        assert f"`{example}`" in PHONE, example


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_the_documents_exist(path):
    for block in blocks(path, "sh"):
        for line in block.splitlines():
            for name, rest in re.findall(r"(?<![\w/.-])(agi-xmpp|scripts/\w+)((?: +\S+)*)", line.partition("#")[0]):
                words = rest.split()
                if name == "agi-xmpp" and words:
                    command = cli.main.commands[words[0]]
                    known = {option for parameter in command.params for option in parameter.opts}
                    for option in (word for word in words if word.startswith("-")):
                        assert option.partition("=")[0] in known, line
                elif name != "agi-xmpp":
                    assert (ROOT / name).exists(), line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


SECTIONS: list[type[BaseModel]] = [
    *(AccountSettings, AgiSettings, AmiSettings, BookSettings, ControlSettings, LogSettings, PhoneSettings, PhoneUser),
    *(ContactsSettings, RecordSettings, RoomSettings, StateSettings, VoicemailSettings),
    *(ConferenceSettings, ConferenceRoomSettings, SipSettings),
]


@pytest.mark.parametrize("settings", SECTIONS)
def test_every_key_is_documented(settings):
    for key in settings.model_fields:
        assert re.search(rf"`(\[\[agi\.)?{key}\b", ADMIN), key


def test_defaults_in_the_tables_are_the_defaults():
    shown = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", ADMIN, flags=re.M)
    assert len(shown) > 30
    for key, text in shown:
        defaults = [section.model_fields[key].default for section in SECTIONS if key in section.model_fields]
        assert tomllib.loads(f"x = {text}")["x"] in defaults, key


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_is_documented_with_its_variables_and_options(verb):
    section = re.search(rf"^## {verb.name}\n(.*?)(?=^## )", DIALPLAN, flags=re.M | re.S)
    assert section is not None
    for variable in set(verb.clears) - {"JABBER_ERROR"}:
        assert f"`{variable}`" in section.group(1), variable
    for option in verb.options:
        assert f"`{option}=" in section.group(1) or f"`{option}`" in section.group(1), option


def test_doap_is_well_formed_and_the_version_is_a_version():
    assert ElementTree.parse(ROOT / "doap.xml").getroot().tag.endswith("RDF")
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
