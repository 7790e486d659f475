"""The numbered cases of the AGI protocol: what Asterisk, or somebody else, may say, and what must come of it.

Case numbers stand in test ids (``case-026-…``) or in names of test functions (``test_case_026_…``);
`test_cases.py` sees to it that none is missing.
"""

from __future__ import annotations

import pytest


def case(number: int, name: str, *values: object):
    """Return a parameter set whose id shows the case's number."""
    return pytest.param(*values, id=f"case-{number:03}-{name}")
