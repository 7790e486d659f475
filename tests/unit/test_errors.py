"""The tree of errors, and the one table from an error to a dialplan's word."""

from __future__ import annotations

import inspect
import re

import pytest

from agi_xmpp import errors
from agi_xmpp.errors import (
    AgiHangup,
    AgiXmppError,
    BadJid,
    Bounced,
    ConfigError,
    NotConnected,
    XmppError,
    dialplan_status,
)

CLASSES = [item for _, item in inspect.getmembers(errors, inspect.isclass) if item.__module__ == errors.__name__]


def test_the_tree_in_the_docstring_is_the_tree_in_the_code():
    drawn = set(re.findall(r"[├└]── (\w+)|^    (AgiXmppError)$", errors.__doc__ or "", flags=re.M))
    assert {name or root for name, root in drawn} == {cls.__name__ for cls in CLASSES}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_is_one_of_ours_and_says_what_it_means(cls):
    assert issubclass(cls, AgiXmppError)
    assert cls.__doc__


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (AgiHangup("x"), "HANGUP"),
        (NotConnected("x"), "FAILED"),
        (Bounced("x", "gone"), "FAILED"),
        (XmppError("x"), "FAILED"),
        (BadJid("x"), "ERROR"),
        (ConfigError("x"), "ERROR"),
        (ZeroDivisionError(), "ERROR"),
    ],
)
def test_an_error_is_a_word(error, word):
    assert dialplan_status(error) == word
