"""Tells in the summary of the run which real parts it had, and their versions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.testbed.program import journal

#: What the processes of pytest-xdist have started.
_STARTED_BY_OTHERS: set[str] = set()


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["started"] = sorted(journal().started)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _STARTED_BY_OTHERS.update(getattr(node, "workeroutput", {}).get("started", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    parts = {*journal().started, *_STARTED_BY_OTHERS}
    if parts:
        terminalreporter.section("real parts")
        terminalreporter.line(", ".join(sorted(parts, key=str.casefold)))
