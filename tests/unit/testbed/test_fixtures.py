"""What the end-to-end tests do where the testbed cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


NEW = "tests/e2e/test_testbed.py::TestAsterisk::test_call_runs_the_dialplan_with_its_variables"
OLD = "tests/e2e/test_ami.py::test_stopping_into_silence_ends_in_time[bullseye]"


@pytest.mark.parametrize(
    ("case", "ci", "outcome", "reason"),
    [
        (NEW, "true", "1 error", "no testbed: "),
        (NEW, "", "1 skipped", "no testbed: "),
        (OLD, "true", "1 error", "no testbed: "),
        (OLD, "", "1 skipped", "Asterisk 16 is not built"),
    ],
)
def test_no_testbed_is_a_failure_in_ci_and_a_skip_elsewhere(
    tmp_path: Path, case: str, ci: str, outcome: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", case],
        cwd=ROOT,
        env={**os.environ, "CI": ci, "XDG_CACHE_HOME": str(tmp_path / "file")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome in result.stdout, result.stdout + result.stderr
    assert reason in result.stdout
