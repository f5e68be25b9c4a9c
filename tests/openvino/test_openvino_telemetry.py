"""OpenVINO's telemetry is off before it can send anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

IMPORT = "import tt_compute_backends.openvino_runtime"


def test_the_telemetry_package_is_stubbed_in_the_engine() -> None:
    """Importing the runtime, as the engine's process does, leaves a None in its place."""
    code = (
        f"import sys; {IMPORT}; print(sys.modules['openvino_telemetry'], 'openvino' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["None", "True"]


def test_importing_the_runtime_opens_no_network_connection(tmp_path: Path) -> None:
    """Seen from the system's side, forked children included."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    log = tmp_path / "calls"
    command = [strace, "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(log)]
    run = subprocess.run(
        [*command, sys.executable, "-c", IMPORT], capture_output=True, text=True, check=False
    )
    if run.returncode != 0 and "ptrace" in run.stderr.lower():
        pytest.skip("tracing is not permitted here")
    assert run.returncode == 0, run.stderr
    assert not re.findall(r".*AF_INET.*", log.read_text())
