"""What ``import tt_compute`` costs, and what it offers."""

from __future__ import annotations

import subprocess
import sys

import tt_compute

LIST_MODULES = """
import sys
before = set(sys.modules)
import tt_compute
print(*sorted(set(sys.modules) - before))
"""


def test_import_loads_the_standard_library_only() -> None:
    """Whoever imports the package pays for what is used, when it is used."""
    out = subprocess.run(
        [sys.executable, "-c", LIST_MODULES], capture_output=True, text=True, check=True
    ).stdout
    foreign = [
        name
        for name in out.split()
        if name.split(".")[0] not in sys.stdlib_module_names and name != "tt_compute"
    ]
    assert foreign == []


def test_every_public_name_loads() -> None:
    for name in tt_compute.__all__:
        assert getattr(tt_compute, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(tt_compute, "no_such_name")
