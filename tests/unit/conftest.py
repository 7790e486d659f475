from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """No test leaves the program's log level changed (commands of the command line set it for the whole process)."""
    logger = logging.getLogger("agi_xmpp")
    before = logger.level
    yield
    logger.setLevel(before)
