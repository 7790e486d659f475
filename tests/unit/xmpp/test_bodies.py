"""Whatever a person should see has a text for every client: each message that we make is looked at here.

A new function that makes a message fails the first test until it stands in one of the two lists.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import agi_xmpp.xmpp
from agi_xmpp.xmpp import room_stanzas, stanzas
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import PLAIN, Button, Extras

BOB, OWN, ROOM = parse("bob@x.org"), parse("agi@x.org/pbx"), parse("team@rooms.x.org")


def chat(extras: Extras) -> Any:
    return stanzas.chat("m1", BOB, "words", "call-1", wants_receipt=True, extras=extras, own=OWN)


#: Messages for people's eyes, by module and function, in each shape that they can have.
SHOWN: dict[str, list[Callable[[], Any]]] = {
    "stanzas.chat": [
        lambda: chat(PLAIN),
        lambda: chat(Extras(buttons=(Button("1", "Cell", "answer/k/1"),))),
        lambda: chat(Extras(replaces="m0")),
        lambda: chat(Extras(link="https://x.org/bob")),
        lambda: chat(Extras(replies_to="m0")),
        lambda: chat(Extras(markable=True)),
        lambda: chat(Extras(headline=True, subject="subject")),
    ],
    "room_stanzas.groupchat": [lambda: room_stanzas.groupchat("m1", ROOM, "words")],
}

#: Messages from program to program, and why nobody should see them.
UNSEEN = {
    "stanzas.receipt": "a client turns it into a tick (XEP-0184)",
    "phone_stanzas.event": "a client pops up a window; Spark drops an event that has a text",
    "contact_stanzas._headline": "a client fills its address book with it",
}


def makers() -> set[str]:
    """Return every function that makes a message stanza."""
    found = set()
    for path in sorted(Path(agi_xmpp.xmpp.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and any(
                isinstance(node, ast.Call) and ast.unparse(node.func) == "aioxmpp.Message"
                for node in ast.walk(function)
            ):
                found.add(f"{path.stem}.{function.name}")
    return found


def test_every_message_that_we_make_is_known_here() -> None:
    assert {"stanzas.chat", "stanzas.receipt"} <= makers()
    assert makers() - UNSEEN.keys() == set(SHOWN)


@pytest.mark.parametrize(
    "make", [pytest.param(make, id=f"{name}-{n}") for name, shapes in SHOWN.items() for n, make in enumerate(shapes)]
)
def test_it_has_a_text(make: Callable[[], Any]) -> None:
    assert stanzas.text(make().body) == "words"
