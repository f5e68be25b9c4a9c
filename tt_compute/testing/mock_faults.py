"""What goes wrong at a mock, when, and for whom."""

from __future__ import annotations

from typing import Literal

import msgspec

from tt_compute.errors import BackendError
from tt_compute.testing.mock_answers import check_pattern

__all__ = ["Fault", "FaultKind", "is_fault", "mark"]

FaultKind = Literal[
    "rate_limit",
    "server_error",
    "connection",
    "malformed",
    "oom",
    "stall",
    "engine_died",
    "authentication",
    "payment_required",
    "refused",
    "model_not_found",
    "model_load",
    "unavailable",
    "slow_first_token",
    "usage_missing",
    "usage_estimated",
    "usage_too_large",
]


class Fault(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Something that goes wrong; the first fault of the list that strikes a sample is the one.

    It strikes those samples for which all that it states holds. A sample that is drawn again, after a failure
    or beside a slow one, is another request with the next index.
    """

    kind: FaultKind
    samples: tuple[int, ...] | None = None
    """Indices it strikes; None = any."""
    requests: tuple[int, ...] | None = None
    """Numbers of the deployment's samples that it strikes, over all prompts in the order in which they are drawn,
    from 0 on; None = any."""
    rate: float = 1.0
    """Probability with which it strikes each of them."""
    seed: int = 0
    """Which of them, at the same rate."""
    pattern: str = ""
    """Strikes only prompts whose last user message matches."""
    from_s: float = 0.0
    """Strikes only what is drawn so long after the deployment was made, or later."""
    until_s: float | None = None
    """Strikes only what is drawn before; None = for ever."""
    after_tokens: int = 0
    """Tokens made before it strikes; a shorter sample is struck at its end."""
    retry_after_s: float | None = None
    """What the error says."""
    delay_s: float = 60.0
    """Of ``slow_first_token``: seconds that come to the time to the first token."""
    factor: float = 10.0
    """Of ``usage_too_large``: how many times the tokens that were made are said to have been."""

    def __post_init__(self) -> None:
        check_pattern(self.pattern)
        if not 0 <= self.rate <= 1:
            raise ValueError(f"expected a rate in [0, 1], got {self.rate}")
        for name in ("after_tokens", "from_s", "retry_after_s", "delay_s", "factor"):
            value = getattr(self, name)
            # Positively phrased, so that NaN fails.
            if value is not None and not value >= 0:
                raise ValueError(f"expected {name} >= 0, got {value}")
        if self.until_s is not None and self.until_s <= self.from_s:
            raise ValueError(f"expected until_s > from_s, got {self.until_s} and {self.from_s}")


def mark(error: BackendError, kind: FaultKind) -> BackendError:
    """Note on an error which fault it comes from, as several faults share a class."""
    error.add_note(_note(kind))
    return error


def is_fault(error: BackendError, kind: FaultKind) -> bool:
    """Whether an error comes from such a fault."""
    return _note(kind) in getattr(error, "__notes__", ())


def _note(kind: FaultKind) -> str:
    return f"fault of the mock: {kind}"
