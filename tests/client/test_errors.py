"""What an error tells, it tells wherever it is shown, and after a way between processes."""

from __future__ import annotations

import pickle
import traceback

import pytest

from tt_compute.errors import ConfigError, RateLimitError, TTComputeError

ERRORS = [
    TTComputeError("it broke", hint="mend it"),
    ConfigError("unknown key", file="ttc.yaml", line=3, path="deployments", hint="mend it"),
    RateLimitError("slow down", retry_after_s=2, hint="mend it"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_traceback_ends_with_the_hint(error: TTComputeError) -> None:
    """Once, also of an error that came from another process; ``str`` is the message alone."""
    moved = pickle.loads(pickle.dumps(error))
    for one in (error, moved):
        assert traceback.format_exception(one)[-1] == "hint: mend it\n"
        assert "".join(traceback.format_exception(one)).count("mend it") == 1
        assert str(one) == error.message
    assert {name: getattr(moved, name) for name in vars(error)} == vars(error)


def test_without_a_hint_nothing_is_added() -> None:
    """A traceback says what there is to say."""
    assert traceback.format_exception(TTComputeError("it broke")) == [
        "tt_compute.errors.TTComputeError: it broke\n"
    ]
