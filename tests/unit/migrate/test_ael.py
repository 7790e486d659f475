"""AEL: the corpus, and what no fragment of it shows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.migrate.ael import includes
from tests.migrate_corpus import documentation, fragments, migrated

FRAGMENTS = list(fragments("ael"))
#: Without a call of ours: a comma put into one with too few arguments would make it one that is migrated.
PLAIN = [one.before for one in FRAGMENTS if one.before == one.after and "JabberSend(" not in one.before]


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=str)
def test_line_ends_are_kept(fragment):
    if "line two" in fragment.before:
        return  # there the line end is a part of the text
    windows = fragment.before.replace("\n", "\r\n").removesuffix("\r\n")
    assert migrated("ael", windows).after == fragment.after.replace("\n", "\r\n").removesuffix("\r\n")


@given(st.text(st.characters(exclude_categories=()), max_size=40), st.sampled_from(PLAIN), st.integers(0, 400))
def test_what_has_nothing_to_do_with_xmpp_stays_byte_for_byte(noise, plain, place):
    text = plain[:place] + noise + plain[place:]
    outcome = migrated("ael", text)
    assert outcome.after == text
    assert outcome.changes == []


@given(
    st.sampled_from(FRAGMENTS),
    st.sampled_from(FRAGMENTS),
    st.sampled_from(["", " ", "\n\n", "// JabberSend(\n", "/**/"]),
)
def test_two_fragments_do_not_disturb_each_other(one, other, between):
    if "not AEL" in " ".join(one.remarks + other.remarks):
        return
    assert migrated("ael", one.before + between + other.before).after == (
        migrated("ael", one.before + "//MESSAGE_SEND_STATUS").after.removesuffix("//MESSAGE_SEND_STATUS")
        + between
        + migrated("ael", other.before + "//MESSAGE_SEND_STATUS").after.removesuffix("//MESSAGE_SEND_STATUS")
        if "MESSAGE_SEND_STATUS" in one.before + other.before
        else one.after + between + other.after
    )


def test_a_change_says_what_was_and_what_is():
    (change,) = migrated("ael", "context c {\n 1 => {\n  Set(X=${JABBER_STATUS(pbx,b@c)});\n }\n}\n").changes
    assert (change.line, change.before) == (3, "Set(X=${JABBER_STATUS(pbx,b@c)})")
    assert change.after == ("AGI(agi://127.0.0.1/jabber_status,pbx,b@c)", "Set(X=${JABBER_STATUS})")


@pytest.mark.parametrize(("length", "changes"), [(1800, 1), (1900, 0)])
def test_what_would_kill_asterisk_is_left_to_a_human(length, changes):
    text = f"context c {{ 1 => {{ JabberSend(pbx,b@c,{'x' * length}); }} }}\n"
    outcome = migrated("ael", text)
    assert (len(outcome.changes), len(outcome.remarks)) == (changes, 1 - changes)
    if not changes:
        assert outcome.after == text
        assert "more than 1900 bytes" in outcome.remarks[0].text


def test_includes():
    assert includes('context c { }\n#include "b.ael"\n') == [("b.ael", 2)]
    assert includes("context c {") == []


def test_something_else_than_ael_with_nothing_of_ours_is_no_remark():
    assert migrated("ael", "context c {").remarks == []


def test_the_examples_of_res_jabbers_document():
    examples = documentation()
    assert list(examples) == ["default", "status", "from-ext", "gtalk-in"]
    after = {name: migrated("ael", text) for name, text in examples.items()}
    assert [len(outcome.changes) for outcome in after.values()] == [1, 1, 7, 1]
    for outcome in after.values():
        assert not re.search(r"Jabber(?!\w*/)|JABBER_\w+\(", outcome.after)
        assert [remark.text[:5] for remark in outcome.remarks] in ([], ["Gtalk"])
