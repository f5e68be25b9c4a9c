"""Real backends are refused in tests that were not marked and asked for, whoever makes the client."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

OWN_CLIENT = """
import pytest
import tt_compute as tt

CONFIG = tt.Config.from_mapping({
    "deployments": [{"id": "a", "backend": "openai", "model": "mock", "hardware": "mock",
                     "endpoint": {"base_url": "http://127.0.0.1:9"}}],
    "store": {"enabled": False},
})

%s
def test_it():
    with tt.Client(CONFIG) as client:
        %s
"""
REFUSAL = (
    "*deployment 'a' was about to be used, and its backend 'openai' is not a mock",
    "*hint: *ttc_live*tt.Client(ttc_mock(...))",
)


@pytest.mark.parametrize(
    "call",
    [
        "client.solve('hello')",
        "client.plan('hello')",
        "client.generate('hello', deployment='a')",
        "client.warm('a')",
    ],
)
def test_a_real_backend_is_refused(run: Run, call: str) -> None:
    """A client that the test makes by itself is stopped, at whatever it is asked."""
    result = run(OWN_CLIENT % ("", call))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(REFUSAL)


def test_a_refusal_that_is_caught_fails_the_test_all_the_same(run: Run) -> None:
    """A program that answers errors with an apology does not pass by it."""
    caught = "with pytest.raises(tt.TTComputeError): client.solve('hello', strategy='single')"
    result = run(OWN_CLIENT % ("", caught))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*its backend 'openai' is not a mock*"])


def test_a_mark_without_the_option_skips(run: Run) -> None:
    """Live tests stay in the suite and cost nothing."""
    result = run(OWN_CLIENT % ("@pytest.mark.ttc_live", "client.solve('hello')"))
    result.assert_outcomes(skipped=1)


def test_the_option_without_a_mark_refuses(run: Run) -> None:
    """``--ttc-live`` is for the tests that are marked."""
    result = run(OWN_CLIENT % ("", "client.solve('hello')"), "--ttc-live")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(REFUSAL)


def test_mark_and_option_let_the_backend_be_asked(run: Run) -> None:
    """The error is that nobody listens there, so that the backend was asked."""
    asked = (
        "with pytest.raises(tt.BackendError, match='a' ): client.solve('hello', strategy='single')"
    )
    result = run(OWN_CLIENT % ("@pytest.mark.ttc_live", asked), "--ttc-live")
    result.assert_outcomes(passed=1)


def test_backends_named_in_the_ini_file_are_let_through(run: Run) -> None:
    """A project's own fake backend needs no mark."""
    asked = (
        "with pytest.raises(tt.BackendError, match='a' ): client.solve('hello', strategy='single')"
    )
    result = run(OWN_CLIENT % ("", asked), "-o", "ttc_backends=openai")
    result.assert_outcomes(passed=1)


def test_what_a_module_does_on_import_is_refused_too(run: Run) -> None:
    """Outside of tests nothing is live."""
    module = (OWN_CLIENT % ("", "pass")).replace("def test_it():", "if True:")
    result = run(f"{module.replace('pass', 'client.warm(chr(97))')}\ndef test_it(): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*its backend 'openai' is not a mock*"])


def test_the_plugin_loads_the_standard_library_and_pytest_alone(pytester: pytest.Pytester) -> None:
    """Whoever has tt_compute installed pays nothing for it in tests of other things."""
    pytester.makepyfile(
        """
        import sys

        def test_it():
            loaded = {name.split(".")[0] for name in sys.modules}
            assert not loaded & {"msgspec", "anyio", "yaml", "click", "rich", "tt_compute_backends"}
            ours = {name for name in sys.modules if name.startswith("tt_compute.")}
            assert ours == {"tt_compute.errors", "tt_compute.supervision", "tt_compute.testing"} | {
                f"tt_compute.testing.{name}" for name in ("beside", "budget", "plugin", "trial")
            }
        """
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tt_compute.testing.plugin"],
        cwd=pytester.path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
