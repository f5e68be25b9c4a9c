"""The published rates that the performance model is held against: each names what it is of and where it stands."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any, cast

from tt_compute.profiles.library import ProfileLibrary
from tt_compute.profiles.yaml import load_yaml

KNOWN: Any = cast("Any", load_yaml(Path("benchmarks/published_rates.yaml")).tree)


def test_every_rate_has_a_source_that_was_opened_on_a_date() -> None:
    used = {entry["source"] for entry in KNOWN["entries"]}
    used |= {shape["source"] for shape in KNOWN["models"]}
    assert used == set(KNOWN["sources"])
    for source in KNOWN["sources"].values():
        assert source["at"]
        assert date.fromisoformat(source["as_of"]) <= date(2026, 11, 27)


def test_every_rate_is_of_a_known_model_on_known_hardware() -> None:
    library = ProfileLibrary()
    models = {*library.ids("model"), *(shape["id"] for shape in KNOWN["models"])}
    assert {entry["model"] for entry in KNOWN["entries"]} <= models
    assert {entry["hardware"] for entry in KNOWN["entries"]} <= set(library.ids("hardware"))


def test_no_rate_stands_twice() -> None:
    ids = Counter(entry["id"] for entry in KNOWN["entries"])
    assert [one for one, count in ids.items() if count > 1] == []
