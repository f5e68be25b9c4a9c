"""The clock of real runs."""

from __future__ import annotations

import pytest

from tt_compute.clock import SystemClock


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [0.0, -1e-9, -5.0])
async def test_a_time_that_has_come_already_is_no_wait_and_no_error(seconds: float) -> None:
    """Between reading the clock and going to sleep, time moves on."""
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(seconds)
    assert clock.now() >= before
