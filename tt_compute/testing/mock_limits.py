"""What a mock lets an account use, as a service would."""

from __future__ import annotations

import msgspec

__all__ = ["MockLimits"]


class MockLimits(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Limits that the mock enforces: beyond them a sample is refused with ``RateLimitError``.

    The windows slide. A sample counts when it is drawn, its tokens being those of the prompt and all that it will
    make; a refused one counts for nothing. ``retry_after_s`` of the error is when the sample would fit.
    """

    requests_per_minute: float | None = None
    """None = no limit."""
    tokens_per_minute: float | None = None
    requests_per_day: float | None = None
    tokens_per_day: float | None = None
    told: bool = False
    """Whether each answer says what is left, as the headers of services do."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name != "told" and value is not None and not value > 0:
                raise ValueError(f"expected {name} > 0, got {value}")

    def windows(self) -> tuple[tuple[str, float, float], ...]:
        """(axis, seconds, amount) of each limit."""
        stated = (
            ("requests", 60.0, self.requests_per_minute),
            ("tokens", 60.0, self.tokens_per_minute),
            ("requests", 86_400.0, self.requests_per_day),
            ("tokens", 86_400.0, self.tokens_per_day),
        )
        return tuple((axis, span, amount) for axis, span, amount in stated if amount is not None)
