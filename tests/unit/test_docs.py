"""The documents say what is so: samples parse, commands and keys exist, and nothing is left out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from agi_xmpp import __version__, cli
from agi_xmpp.config import AccountSettings, AgiSettings, ControlSettings, LogSettings, RoomSettings, parse
from agi_xmpp.features import VERBS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ADMIN = (ROOT / "docs/admin.md").read_text(encoding="utf-8")
DIALPLAN = (ROOT / "docs/dialplan.md").read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.M | re.S)


TOML = [
    pytest.param(block, id=f"{path.name}-{n}") for path in DOCUMENTS for n, block in enumerate(blocks(path, "toml"))
]


@pytest.mark.parametrize("block", TOML)
def test_configuration_samples_are_right(block):
    parse(tomllib.loads(block), "sample")


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


@pytest.mark.parametrize("settings", [AccountSettings, AgiSettings, ControlSettings, LogSettings, RoomSettings])
def test_every_key_is_documented(settings):
    for key in settings.model_fields:
        assert re.search(rf"`(\[\[agi\.)?{key}\b", ADMIN), key


def test_defaults_in_the_tables_are_the_defaults():
    shown = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", ADMIN, flags=re.M))
    fields = {**AgiSettings.model_fields, **AccountSettings.model_fields, **RoomSettings.model_fields}
    assert len(shown) > 10
    for key, text in shown.items():
        assert tomllib.loads(f"x = {text}")["x"] == fields[key].default, key


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
