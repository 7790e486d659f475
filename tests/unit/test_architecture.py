"""How the house is cut (docs/developer.md): who may import whom, and that each module has its test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import agi_xmpp

PACKAGE = Path(agi_xmpp.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Rooms that must not know each other; features and the composition root may know all of them.
ROOMS = {"agi", "ami", "sip", "xmpp"}

#: What all of them may know.
TOOLS = {"background", "config", "errors", "pace", "tls"}


def name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_the_rooms_do_not_know_each_other(path):
    parts = path.relative_to(PACKAGE).parts
    room = parts[0] if len(parts) > 1 else ""
    for imported in imports(path):
        top, _, rest = imported.partition(".")
        if top in ("aioxmpp", "aiosasl", "aioopenssl", "OpenSSL"):
            assert room == "xmpp", f"{name(path)} imports {imported}: only agi_xmpp.xmpp may"
        if top == "agi_xmpp" and room in ROOMS:
            other = rest.partition(".")[0]
            assert other in {"", room, "background", "config", "errors", "pace", "tls"}, (
                f"{name(path)} imports {imported}"
            )


@pytest.mark.parametrize("path", sorted((PACKAGE / "config").glob("*.py")), ids=name)
def test_the_settings_know_no_room(path):
    known = {"agi_xmpp.errors", "agi_xmpp.quoting"}
    for imported in imports(path):
        if imported.startswith("agi_xmpp.") and not imported.startswith("agi_xmpp.config."):
            assert imported in known, f"{name(path)} imports {imported}"


@pytest.mark.parametrize(
    "pure",
    [
        "agi/wire.py",
        "ami/calls.py",
        "ami/changes.py",
        "ami/conferences.py",
        "ami/legs.py",
        "ami/wire.py",
        "ami/model.py",
        "sip/asking.py",
        "sip/call.py",
        "sip/core.py",
        "sip/dialog.py",
        "sip/digest.py",
        "sip/failures.py",
        "sip/model.py",
        "sip/sdp.py",
        "sip/session_timer.py",
        "sip/text.py",
        "sip/timers.py",
        "sip/transactions.py",
        "sip/wire.py",
        "xmpp/inbox.py",
        "xmpp/presence.py",
        "xmpp/model.py",
        "xmpp/contact_model.py",
        "xmpp/element.py",
        "features/conference/rooms/administration.py",
        "features/conference/room/allowance.py",
        "features/conference/invitations/answers.py",
        "features/conference/rooms/configuration_form.py",
        "features/conference/rooms/configured.py",
        "features/conference/invitations/direct_invitations.py",
        "features/conference/invitations/mediated_invitations.py",
        "features/conference/rooms/discovery.py",
        "features/conference/rooms/room_queries.py",
        "features/conference/rooms/rooms.py",
        "features/conference/rooms/rooms_kept.py",
        "features/conference/rooms/service.py",
        "features/conference/room/conversation.py",
        "features/conference/room/entrance.py",
        "features/conference/invitations/free_numbers.py",
        "features/conference/room/history.py",
        "features/conference/invitations/invitation_stanzas.py",
        "features/conference/room/invitations.py",
        "features/conference/invitations/invitees.py",
        "features/conference/model.py",
        "features/conference/room/nicks.py",
        "features/conference/room/occupants.py",
        "features/conference/invitations/phone_words.py",
        "features/conference/phones_host.py",
        "features/conference/room/presences.py",
        "features/conference/elsewhere/puppet.py",
        "features/conference/elsewhere/puppet_crowd.py",
        "features/conference/elsewhere/puppet_entrance.py",
        "features/conference/elsewhere/puppet_invitations.py",
        "features/conference/elsewhere/puppet_queue.py",
        "features/conference/elsewhere/puppet_stanzas.py",
        "features/conference/elsewhere/puppet_texts.py",
        "features/conference/elsewhere/puppets.py",
        "features/conference/elsewhere/bridges.py",
        "features/conference/phones/telephone.py",
        "features/conference/room/relay.py",
        "features/conference/room/room.py",
        "features/conference/phones/senders.py",
        "features/conference/room/standing.py",
        "features/conference/stanzas.py",
        "features/conference/room/state.py",
        "features/conference/room/wording.py",
        "features/contacts/addresses.py",
        "features/contacts/limits.py",
        "features/menu.py",
        "features/desk.py",
        "features/phone/records.py",
        "features/quota.py",
        "features/text_file.py",
        "sip/hep.py",
    ],
)
def test_the_middle_is_pure(pure):
    path = PACKAGE / pure
    forbidden = {"asyncio", "socket", "time", "threading", "aioxmpp", "logging"}
    assert forbidden.isdisjoint(module.partition(".")[0] for module in imports(path))


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name not in ("__init__.py", "__main__.py")], ids=name
)
def test_each_module_has_its_test(path):
    relative = path.relative_to(PACKAGE)
    unit = Path(__file__).parent / relative.parent / f"test_{relative.name}"
    assert unit.exists(), f"{relative} has no {unit.relative_to(Path(__file__).parent)}"
