"""The pytest plugin: mocks, virtual time, budgets and cassettes for tests of programs that use tt_compute.

It is loaded in every test run of every environment that tt_compute is installed in. So it imports pytest and the
standard library alone until a test asks for a fixture, and real backends are refused unless a test is marked
``ttc_live`` and the run was given ``--ttc-live``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final

import pytest

from tt_compute.supervision import supervised
from tt_compute.testing.beside import file_beside
from tt_compute.testing.budget import Allowance
from tt_compute.testing.trial import Trial

# Only for the checkers: see above.
if TYPE_CHECKING:
    from tt_compute.testing.bench import Bench, MockAsyncClient, MockClient
    from tt_compute.testing.cassette import Recorder, Replayer
    from tt_compute.testing.mocking import Faults, MockBuilder
    from tt_compute.testing.snapshot import Snapshots
    from tt_compute.types import Clock

TRIAL: Final = pytest.StashKey[Trial]()
_SESSION: Final = pytest.StashKey[Any]()
_BENCH: Final = pytest.StashKey["Bench"]()

LIVE, BUDGET, CASSETTE = "ttc_live", "ttc_budget", "ttc_cassette"
_HOW = (
    f"mark the test with @pytest.mark.{LIVE} and run pytest --ttc-live, or give the program's client a mock: "
    "tt.Client(ttc_mock(...))"
)
_HOW_RECORDED = "recording asks real backends: run pytest --ttc-live beside --ttc-record"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tt_compute", "test-time compute")
    group.addoption(
        "--ttc-live",
        action="store_true",
        help=f"let tests marked {LIVE} use real backends, which may cost money",
    )
    group.addoption(
        "--ttc-record",
        choices=("none", "once", "rewrite"),
        default="none",
        help="cassettes: replay only (none), record those that are missing (once), record all (rewrite)",
    )
    group.addoption(
        "--ttc-snapshot",
        choices=("compare", "update"),
        default="compare",
        help="plans beside tests: compare with them, or write them anew",
    )
    parser.addini(
        "ttc_backends", "names of backends that tests may use beside mock", type="args", default=[]
    )


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        f"{LIVE}: may use real backends, when the run was given --ttc-live; skipped otherwise",
        f"{BUDGET}(samples, usd, tokens): fails a test whose clients spend more, all of them together",
    ):
        config.addinivalue_line("markers", line)
    # What happens outside of tests, such as on import, is no live test either.
    outside = supervised(_trial(config, name="", live=False, how=_HOW))
    outside.__enter__()
    config.stash[_SESSION] = outside


def pytest_unconfigure(config: pytest.Config) -> None:
    outside = config.stash.get(_SESSION, None)
    if outside is not None:
        del config.stash[_SESSION]
        outside.__exit__(None, None, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        try:
            _budget(item)
        except ValueError as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from error


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    marked = item.get_closest_marker(LIVE) is not None
    recorded = _has_cassette(item)
    trial = _trial(
        item.config,
        name=item.nodeid,
        live=bool(item.config.getoption("ttc_live")) and (marked or recorded),
        how=_HOW_RECORDED if recorded else _HOW,
    )
    item.stash[TRIAL] = trial
    try:
        with supervised(trial):
            return (yield)
    finally:
        # Results of a test are not kept until the last one has run.
        del item.stash[TRIAL]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[TRIAL].begin()
    marked = item.get_closest_marker(LIVE) is not None
    if marked and not item.config.getoption("ttc_live") and not _has_cassette(item):
        pytest.skip("uses real backends; pytest --ttc-live")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    _close_in_the_tests_loop(item)
    outcome = yield
    trial = item.stash[TRIAL]
    if trial.refusals:
        # Somebody caught the error, and the test passed for a reason that is none.
        pytest.fail(f"{'; '.join(trial.refusals)}\nhint: {trial.how}", pytrace=False)
    if trial.deck is not None:
        trial.deck.finish()
    budget = _budget(item)
    beyond = [] if budget is None else list(budget.overspent(trial.spent))
    if beyond:
        pytest.fail("; ".join(beyond), pytrace=False)
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    trial = item.stash.get(TRIAL, None)
    if report.failed and trial is not None and (trial.results or trial.spent.samples):
        from tt_compute.testing.report import runs_section  # noqa: PLC0415 - only where something failed

        report.sections.append(("tt_compute", runs_section(trial.results, trial.spent)))
    return report


# --- fixtures --------------------------------------------------------------------------------------


@pytest.fixture
def ttc_clock(request: pytest.FixtureRequest) -> Clock:
    """Time of the test's clients: virtual, so that an hour takes milliseconds; the system's where backends are real."""
    from tt_compute.clock import SystemClock  # noqa: PLC0415 - see the module
    from tt_compute.testing.time import VirtualClock  # noqa: PLC0415 - see the module

    return SystemClock() if request.node.stash[TRIAL].live else VirtualClock()


@pytest.fixture
def _ttc_bench(
    request: pytest.FixtureRequest, ttc_clock: Clock, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Bench]:
    from tt_compute.testing.bench import Bench  # noqa: PLC0415 - see the module

    bench = Bench(clock=ttc_clock, folder=tmp_path_factory.getbasetemp() / "tt_compute")
    request.node.stash[_BENCH] = bench
    yield bench
    del request.node.stash[_BENCH]
    bench.close()


@pytest.fixture
def ttc_mock(_ttc_bench: Bench) -> MockBuilder:
    """Makes configurations of mock deployments, and puts the test's clients on the last one."""
    from tt_compute.testing.mocking import MockBuilder  # noqa: PLC0415 - see the module

    return MockBuilder(_ttc_bench)


@pytest.fixture
def ttc_faults(_ttc_bench: Bench) -> Faults:
    """Makes mock deployments fail: ``ttc_faults("rate_limit", samples=[0])``."""
    from tt_compute.testing.mocking import Faults  # noqa: PLC0415 - see the module

    return Faults(_ttc_bench)


@pytest.fixture
def ttc_client(_ttc_bench: Bench) -> MockClient:
    """A ``Client`` on what ``ttc_mock`` made last; called with a configuration, it makes another. All are closed."""
    return _ttc_bench.client()


@pytest.fixture
def ttc_async_client(_ttc_bench: Bench) -> MockAsyncClient:
    """As ``ttc_client``, for tests that are coroutines; closed in the test's own event loop."""
    return _ttc_bench.async_client()


@pytest.fixture
def ttc_snapshot(request: pytest.FixtureRequest) -> Snapshots:
    """Compares plans with files beside the test: ``ttc_snapshot(plan)``; ``--ttc-snapshot=update`` writes them."""
    from tt_compute.testing.snapshot import Snapshots  # noqa: PLC0415 - see the module

    return Snapshots(
        file_beside(request.node, "ttc_snapshots"),
        update=request.config.getoption("ttc_snapshot") == "update",
    )


@pytest.fixture
def ttc_cassette(request: pytest.FixtureRequest) -> Generator[Recorder | Replayer]:
    """Replays what backends said when it was recorded, from a file beside the test; ``--ttc-record`` records."""
    from tt_compute.testing.cassette import open_cassette  # noqa: PLC0415 - see the module

    trial = request.node.stash[TRIAL]
    file = file_beside(request.node, "ttc_cassettes")
    cassette = open_cassette(file, str(request.config.getoption("ttc_record")))
    trial.deck = cassette
    yield cassette
    trial.deck = None


# --- small things ------------------------------------------------------------------------------------


def _trial(config: pytest.Config, *, name: str, live: bool, how: str) -> Trial:
    return Trial(name=name, live=live, allowed=config.getini("ttc_backends"), how=how)


def _has_cassette(item: pytest.Item) -> bool:
    return CASSETTE in getattr(item, "fixturenames", ())


def _budget(item: pytest.Item) -> Allowance | None:
    marker = item.get_closest_marker(BUDGET)
    return None if marker is None else Allowance.of(marker.args, marker.kwargs)


def _close_in_the_tests_loop(item: pytest.Item) -> None:
    """Have a coroutine test close the test's asynchronous clients as its last step, whoever runs its loop."""
    bench = item.stash.get(_BENCH, None)
    test: Callable[..., Coroutine[object, object, object]] | None = getattr(item, "obj", None)
    if bench is None or not inspect.iscoroutinefunction(test) or hasattr(test, "hypothesis"):
        return

    @functools.wraps(test)
    async def closing(*args: object, **keywords: object) -> object:
        try:
            return await test(*args, **keywords)
        finally:
            await bench.aclose()

    item.obj = closing  # type: ignore[attr-defined]  # a function item has it, as getattr found
