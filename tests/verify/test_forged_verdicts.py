"""Wrong programs that set out to pass all the same, under each kind of test; and right ones, which still do."""

from __future__ import annotations

import anyio
import pytest

from tt_compute.types import Message
from tt_compute.verify.base import Answer
from tt_compute.verify.code_decoys import decoy
from tt_compute.verify.code_tests import CodeTest, CodeTests
from tt_compute.verify.code_verifier import CodeVerifier, dual_agreement
from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox

_WALK = """
import os, sys
def walk(frame):
    while frame:
        yield frame
        frame = frame.f_back
def forge(frame, value=''):
    for one in walk(frame):
        if 'token' in one.f_locals:
            os.write(3, f"{one.f_locals['token']}\\n{value}\\n".encode())
            os._exit(0)
"""
FORGED = {
    "ends well": "import os\nos._exit(0)",
    "ends well when it is called": "import os, sys\ndef add(a, b): os._exit(0)",
    "raises what ends well": "def add(a, b): raise SystemExit(0)",
    "says that it passed": "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'passed\\n5\\n')\n    except OSError: pass\nos._exit(0)",
    "says so in the harness's own words": _WALK + "forge(sys._getframe(), 5)",
    "says so when it is called": _WALK + "def add(a, b): forge(sys._getframe(), a)",
    "says so when its test has failed": _WALK
    + "def add(a, b): return 0\nsys.excepthook = lambda kind, error, found: forge(found.tb_frame)",
    "says so from a generator": _WALK
    + "def steps():\n    yield from ()\n    forge(sys._getframe(1))\ndef add(a, b): return list(steps())",
    "returns what equals everything": "class All:\n    __eq__ = lambda s, o: True\n    __hash__ = None\ndef add(a, b): return All()",
    "returns a number that equals everything": "class All(int):\n    __eq__ = lambda s, o: True\n    __ne__ = lambda s, o: False\n    __hash__ = int.__hash__\ndef add(a, b): return All(0)",
    "returns what passes every comparison": "class All:\n    def __getattr__(s, n): return lambda *_: s\n"
    + "".join(
        f"    __{name}__ = lambda s, *o: {value}\n"
        for name, value in (
            ("eq", "True"),
            ("lt", "True"),
            ("le", "True"),
            ("gt", "True"),
            ("ge", "True"),
            ("sub", "s"),
            ("rsub", "s"),
            ("abs", "s"),
            ("float", "0.0"),
            ("iter", "iter([s])"),
            ("len", "1"),
        )
    )
    + "def add(a, b): return All()",
    "returns what pickles and prints as everything": "class All:\n    __reduce__ = lambda s: (print, ('5',))\n    __repr__ = __str__ = lambda s: '5'\n    __eq__ = lambda s, o: True\ndef add(a, b): return All()",
    "reads what is expected": "import sys\ndef add(a, b):\n    found = sys._getframe(1).f_code.co_consts\n    return [one for one in found if type(one) in (int, float) and one not in (a, b)][-1]",
    "reads its test": _WALK
    + "import re\ndef add(a, b):\n    for one in walk(sys._getframe(1)):\n        if 'check' in one.f_locals:\n            return float(re.findall(r'== ?(-?[\\d.]+)', one.f_locals['check'])[0])\n    return 0",
    "replaces what runs its test": "import builtins\nbuiltins.exec = builtins.eval = lambda *_: None\ndef add(a, b): return 0",
    "replaces what its test uses": "import builtins, math\nabs = builtins.abs = lambda x: 0\nmath.isclose = lambda *_, **__: True\ndef add(a, b): return 0",
    "replaces what carries its value": "import json, os\njson.dumps = lambda *_, **__: '5'\nos.write = lambda fd, data: len(data)\ndef add(a, b): return 0",
    "jumps over its test": "import sys\ndef trace(frame, event, argument):\n    if event == 'line' and frame.f_code.co_filename == 'check.py': frame.f_lineno += 1\n    return trace\nsys.settrace(trace)\ndef add(a, b): return 0",
    "prints every answer": "for one in range(100): print(one)",
}
RIGHT = (
    "def add(a, b): return a + b\nif __name__ == '__main__': print(add(*map(int, input().split())))"
)
SAME = "def same(x): return x"
ASSERTS = (
    "assert add(2, 3) == 5",
    "assert 5 == add(2, 3), 'wrong'",
    "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(1, 1) == 2\ncheck(add)",
    "assert abs(add(0.5, 1) - 1.5) < 1e-6",
    "import math\nassert math.isclose(add(0.5, 1), 1.5, rel_tol=1e-9)",
    "wanted = 5\nassert add(2, 3) == wanted and add(0, 0) == 0",
    "from __future__ import annotations\nfor a in range(3):\n    assert add(a, 1) in (1, 2, 3)",
    "assert add(2, 3) > 4",
)


def score(sandbox: BubblewrapSandbox, source: str, *tests: CodeTest) -> float:
    verifier = CodeVerifier(CodeTests(tests=tests), sandbox)
    messages = (Message(role="user", content="Write add."),)

    async def go() -> float:
        return (
            await verifier.judge(messages, "", Answer(text=source, key=source, explicit=True))
        ).score

    return anyio.run(go)


@pytest.mark.parametrize("name", FORGED)
def test_a_wrong_program_passes_no_test_by_deceit(sandbox: BubblewrapSandbox, name: str) -> None:
    tests = (
        CodeTest(stdin="2 3\n", stdout="5\n"),
        CodeTest(call="add", args=(2, 3), expected=5),
        CodeTest(call="add", args=(2, 3), expected=[5, {"a": None}]),
        CodeTest(check=ASSERTS[0]),
        CodeTest(check=ASSERTS[2]),
        CodeTest(check=ASSERTS[3]),
    )
    # What is called by its value must not be what the forger writes; it never knows which that is.
    assert score(sandbox, FORGED[name].replace("5", "6"), *tests) == 0.0


def test_a_right_program_passes_every_kind_of_test(sandbox: BubblewrapSandbox) -> None:
    tests = (
        CodeTest(stdin="2 3\n", stdout="5\n"),
        CodeTest(call="add", args=(2, 3), expected=5),
        *(CodeTest(check=check) for check in ASSERTS),
    )
    assert score(sandbox, RIGHT, *tests) == 1.0


@pytest.mark.parametrize("check", ASSERTS)
def test_no_right_program_passes_a_decoy_and_a_deceiver_does(
    sandbox: BubblewrapSandbox, check: str
) -> None:
    made = decoy(check)
    assert made is not None
    liar = FORGED["returns what passes every comparison"]
    assert score(sandbox, RIGHT, CodeTest(check=check)) == 1.0
    assert score(sandbox, RIGHT, CodeTest(check=made)) == 0.0
    assert score(sandbox, liar, CodeTest(check=check)) == 0.0


@pytest.mark.parametrize(
    "check",
    [
        "try:\n    assert add(1, 1) == 2\nexcept AssertionError:\n    pass",
        "if False:\n    assert add(1, 1) == 2",
        "assert add",
        "assert not add(1, 1) == 3",
        "assert add(1, 1) == 3 or True",
        "assert abs(add(1, 1) - 2) < 1e9",
        "assert abs(add(1, 1) - 9) > 2 and add(1, 1) >= 2",
        "import math\nassert math.isclose(add(1, 1), 2, abs_tol=1e9)",
        "import math\nassert math.isclose(add(1, 1), 2, rel_tol=2)",
        "import sys\nassert sys.maxsize > 0 and add(1, 1) == 2",
        "class Other(int): pass\nassert Other(2) == add(1, 1)",
        "assert add(1, 1) != 3\nassert add([], []) == []\nassert add((), ()) == ()\nassert add('', '') == ''",
        "assert {1: add(1, 1)} == {1: 2} and add(1, 1) is not None and {add(0, 1)} == {1}",
        "assert add(1e300, 0) == 1e300 and (add(True, 0) == 1) == True and None == None",
        "assert add(-3959.5, 0) == -3959.5",
        "assert {add(7918, 1), add(1, 1)} == {2, 7919}",
        "assert {add(7918, 1)} == {7919}",
        "assert {add(7918, 1): add(7918, 1)} == {7919: 7919}",
    ],
)
def test_an_honest_program_is_not_taken_for_a_deceiver(
    sandbox: BubblewrapSandbox, check: str
) -> None:
    """Whatever its test is like: one that catches its own errors, one that runs nothing, one that expects little."""
    assert score(sandbox, RIGHT, CodeTest(check=check)) == 1.0


@pytest.mark.parametrize(
    ("source", "check"),
    [
        (SAME, "assert same({7919}) == {7919}"),
        (SAME, "assert same({7919: 7919}) == {7919: 7919}"),
        (SAME, "assert same(-3959.5) == -3959.5"),
        (SAME, "from unittest.mock import ANY\nassert same(2) == ANY and ANY == same(3)"),
        (SAME, "assert abs(same(5) - 5) < float('inf') and abs(same(5) - 5) <= 1e999"),
        (SAME, "import math\nassert math.isclose(same(5), 5, abs_tol=1e999)"),
        (SAME, "class Is:\n    __eq__ = lambda s, o: True\nassert same(2) == Is()"),
        (SAME, "class Is:\n    __gt__ = lambda s, o: True\nassert Is() > same(2)"),
        (
            "class Mod(int):\n    def __eq__(s, o): return (int(s) - o) % 3 == 0\ndef five(): return Mod(5)",
            "assert five() == 2",
        ),
        ("bool = any = all = lambda *_: True\ndef same(x): return x", "assert same(2) == 2"),
        ("class Wild:\n    __eq__ = lambda s, o: True", "assert Wild() == 5"),
        (
            "class Base:\n    __gt__ = lambda s, o: True\nclass Infinite(Base): pass",
            "most = Infinite()\nassert most > 5 and most > 10**9",
        ),
    ],
)
def test_what_is_equal_to_many_things_is_no_deceit_where_the_test_is_about_that(
    sandbox: BubblewrapSandbox, source: str, check: str
) -> None:
    assert score(sandbox, source, CodeTest(check=check)) == 1.0


@pytest.mark.parametrize(
    ("source", "check"),
    [
        (
            "class candidate:\n    __eq__ = lambda s, o: True\ndef add(a, b): return candidate()",
            "def check(candidate):\n    assert candidate(2, 3) == 5\ncheck(add)",
        ),
        (
            "class add:\n    def __init__(s, *_): pass\n    __eq__ = lambda s, o: True",
            "assert add(2, 3) == 5",
        ),
        (
            "class Check:\n    __eq__ = lambda s, o: True\ndef add(a, b): return Check()",
            "class Check: pass\nassert add(2, 3) == 5, 'Check it'",
        ),
        (
            "class All:\n    __eq__ = lambda s, o: True\ndef add(a, b): return All()",
            '"""Of add."""\nfrom __future__ import annotations\nassert add(2, 3) == 5',
        ),
        (
            "class All:\n    __eq__ = lambda s, o: True\ndef add(a, b): return 5 if a == 2 else All()",
            "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(1, 1) == 2\ncheck(add)",
        ),
    ],
)
def test_a_deceiver_cannot_call_itself_what_the_test_is_about(
    sandbox: BubblewrapSandbox, source: str, check: str
) -> None:
    assert score(sandbox, source, CodeTest(check=check)) == 0.0


def test_a_test_that_cannot_be_read_here_has_no_decoy() -> None:
    assert decoy("assert (") is None
    assert decoy("assert " + "(" * 5000 + "1" + ")" * 5000) is None


def test_programs_that_deceive_agree_with_nobody(sandbox: BubblewrapSandbox) -> None:
    liar = FORGED["returns what equals everything"]

    async def go() -> list[int]:
        found = await dual_agreement([RIGHT, liar, liar], ["assert add(1, 2) == 3"], sandbox)
        return [one.score for one in found]

    assert anyio.run(go) == [1, 0, 0]
