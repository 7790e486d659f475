from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """No test leaves the program's log level changed (commands of the command line set it for the whole process)."""
    loggers = [logging.getLogger(name) for name in ("agi_xmpp", "aioxmpp")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
