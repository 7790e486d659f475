"""Every fragment of tests/data/migrate, whichever format it is in."""

from __future__ import annotations

import pytest

from tests.migrate_corpus import fragments, migrated

FRAGMENTS = list(fragments())


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=str)
def test_a_fragment_becomes_what_is_written_beside_it(fragment):
    outcome = migrated(fragment.kind, fragment.before)
    assert outcome.after == fragment.after
    found = [f"{remark.line}: {remark.text}" for remark in outcome.remarks]
    assert [text[: len(wanted)] for text, wanted in zip(found, fragment.remarks, strict=True)] == list(fragment.remarks)
    assert bool(outcome.changes) is (fragment.before != fragment.after)


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=str)
def test_a_fragment_is_migrated_once(fragment):
    again = migrated(fragment.kind, fragment.after)
    assert again.after == fragment.after
    assert again.changes == []
