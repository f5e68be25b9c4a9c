"""The report of weighted votes: what is tuned is scored on other questions."""

from __future__ import annotations

import votes

NAMES = [str(number) for number in range(8)]


def constant(right: float) -> dict[str, float]:
    return dict.fromkeys(NAMES, right)


def test_a_temperature_is_never_scored_on_the_questions_it_was_chosen_on() -> None:
    """Every temperature is right on one question alone: chosen for it, it is wrong on all others."""
    by_temperature = {
        t: {name: float(name == NAMES[place % len(NAMES)]) for name in NAMES}
        for place, t in enumerate(votes.TEMPERATURES[: len(NAMES)])
    }
    by_temperature |= {t: constant(0) for t in votes.TEMPERATURES[len(NAMES) :]}
    found, chosen = votes.tuned(by_temperature, 20)
    assert found == constant(0)
    assert chosen.total() == 40


def test_of_equal_temperatures_the_one_nearest_to_a_plain_vote_is_chosen() -> None:
    by_temperature = {t: constant(0.5) for t in votes.TEMPERATURES}
    _, chosen = votes.tuned(by_temperature, 3)
    assert set(chosen) == {max(votes.TEMPERATURES)}


def test_a_gain_is_that_of_the_same_questions() -> None:
    assert votes.gain(constant(0.75), constant(0.5)) == "+25.0 (+25.0 to +25.0)"
    half = {name: float(int(name) % 2) for name in NAMES}
    low, high = (float(word.strip("()+")) for word in votes.gain(half, constant(0.0)).split()[1::2])
    assert low < 50 < high
