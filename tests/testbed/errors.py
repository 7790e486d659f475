"""The one error of the testbed."""

from __future__ import annotations


class TestbedError(Exception):
    """The testbed cannot be had, or a part of it died; the text says which and why in a sentence."""

    __test__ = False  # pytest takes every Test… for a test class
