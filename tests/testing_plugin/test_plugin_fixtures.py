"""Mocks, clients, time, faults and budgets, as a test module uses them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]


def test_clients_are_on_what_the_mock_was_told_last(run: Run) -> None:
    """Also those that were there before it was told; one that is called makes another."""
    run(
        """
        def test_default(ttc_client):
            assert ttc_client.solve("What is 6 times 7?", seed=1).answer == "42"

        def test_told(ttc_client, ttc_mock):
            ttc_mock(answers=["The answer is 7."])
            assert ttc_client.solve("What is 3 plus 4?").answer == "7"
            ttc_mock(answers=["The answer is 8."])
            assert ttc_client.solve("What is 3 plus 5?").answer == "8"

        def test_two(ttc_client, ttc_mock):
            other = ttc_mock(answers=["The answer is 7."])
            ttc_mock(answers=["The answer is 8."])
            answers = [client.solve("?").text for client in (ttc_client(other), ttc_client)]
            assert answers == ["The answer is 7.", "The answer is 8."]
        """
    ).assert_outcomes(passed=3)


def test_a_scenario_file_makes_the_mock(run: Run, pytester: pytest.Pytester) -> None:
    """Several deployments, each with its own answers."""
    pytester.makefile(
        ".yaml",
        scenario="""
        deployments:
          - {id: cheap, answers: [The answer is 7.], faults: [{kind: server_error}]}
          - {id: dear, answers: [The answer is 7.], usd_per_mtok: {output: 10}}
        """,
    )
    run(
        """
        from pathlib import Path
        import pytest
        import tt_compute as tt
        from tt_compute.testing import assert_fell_back

        def test_it(ttc_mock, ttc_client):
            ttc_mock(Path(__file__).parent / "scenario.yaml")
            result = ttc_client.solve("What is 3 plus 4?", strategy="single")
            assert_fell_back(result, source="cheap", to="dear", because="ServerError")

        def test_mapping(ttc_mock, ttc_client):
            ttc_mock({"deployments": [{"id": "a", "answers": ["The answer is 7."]}]})
            assert ttc_client.solve("What is 3 plus 4?").samples[0].deployment == "a"

        def test_both(ttc_mock):
            with pytest.raises(tt.UsageError, match="answers cannot be given beside a scenario"):
                ttc_mock("scenario.yaml", answers=["7"])
            with pytest.raises(tt.UsageError, match="ttc_mock.answers.: Encoding"):
                ttc_mock(answers=object())
            with pytest.raises(tt.UsageError, match="answers cannot be given beside `deployments`"):
                ttc_mock(deployments=[{"id": "a"}], answers=["7"])
        """
    ).assert_outcomes(passed=3)


def test_a_programs_own_configuration_is_mocked_in_place(
    run: Run, pytester: pytest.Pytester
) -> None:
    """Ids, prices and limits stay; no key is needed; the plan is that of the real thing."""
    pytester.makefile(".yaml", ttc="version: 1\ndeployments: [groq/gpt-oss-120b]\n")
    run(
        """
        import pytest
        import tt_compute as tt

        def test_it(ttc_mock, ttc_client):
            config = ttc_mock.like("ttc.yaml", {"groq/gpt-oss-120b": {"answers": ["The answer is 7."]}})
            price = config.deployments[0].deployment.price.usd_per_mtok
            assert price.output.value and price.output.as_of is None
            result = ttc_client.solve("What is 3 plus 4?")
            assert (result.answer, result.samples[0].deployment) == ("7", "groq/gpt-oss-120b")
            assert result.receipt.cost_usd > 0

        def test_typo(ttc_mock):
            with pytest.raises(tt.UsageError, match="no deployment 'groq'"):
                ttc_mock.like("ttc.yaml", {"groq": {}})
            with pytest.raises(tt.UsageError, match="is list, not a mapping"):
                ttc_mock.like("ttc.yaml", {"groq/gpt-oss-120b": [1]})
        """
    ).assert_outcomes(passed=2)


def test_an_hour_takes_no_time(run: Run) -> None:
    """Latency, deadlines and sleeps are on one clock, and between calls it stands still."""
    run(
        """
        import pytest
        import tt_compute as tt

        def test_it(ttc_mock, ttc_client, ttc_clock):
            ttc_mock(answers=["The answer is 7."], latency={"ttft_s": 3600},
                     profile={"limits": {"first_token_timeout_s": 7200}})
            assert ttc_client.solve("What is 3 plus 4?").receipt.latency_s == 3600
            assert ttc_clock.now() == 3600
            with pytest.raises(tt.DeadlineExceeded):
                ttc_client.solve("What is 3 plus 4?", objective=tt.Objective(max_latency_s=60))
            ttc_clock.advance(3600)
            assert ttc_clock.now() == 3600 + 60 + 3600
        """
    ).assert_outcomes(passed=1)


def test_faults_strike_the_deployments_they_are_told(run: Run) -> None:
    """By kind and deployment; what there is none of is refused with what there is."""
    run(
        """
        import pytest
        import tt_compute as tt

        def test_one(ttc_mock, ttc_faults, ttc_client):
            ttc_mock(deployments=[{"id": "a"}, {"id": "b", "usd_per_mtok": {"output": 1}}])
            ttc_faults("rate_limit", deployment="a", retry_after_s=100)
            result = ttc_client.solve("What is 6 times 7?", strategy="single")
            assert [one.deployment for one in result.samples] == ["b"]

        def test_all(ttc_faults, ttc_client):
            ttc_faults("authentication")
            with pytest.raises(tt.BackendError):
                ttc_client.solve("What is 6 times 7?")

        def test_unknown(ttc_faults):
            with pytest.raises(tt.UsageError, match="rate_limit"):
                ttc_faults("ratelimit")
            with pytest.raises(tt.UsageError, match="unknown field `sample`"):
                ttc_faults("rate_limit", sample=1)
        """
    ).assert_outcomes(passed=3)


def test_a_budget_holds_over_all_clients_of_a_test(run: Run) -> None:
    """Each limit by itself; an unknown price is within no budget; failed samples count."""
    result = run(
        """
        import pytest
        import tt_compute as tt

        def ask(config, **options):
            with tt.Client(config) as client:
                client.generate("What is 6 times 7?", deployment="mock", n=2)

        @pytest.mark.ttc_budget(samples=4, usd=1, tokens=1000)
        def test_within(ttc_mock):
            ask(ttc_mock()), ask(ttc_mock())

        @pytest.mark.ttc_budget(samples=3)
        def test_samples(ttc_mock):
            ask(ttc_mock()), ask(ttc_mock())

        @pytest.mark.ttc_budget(tokens=20)
        def test_tokens(ttc_mock):
            ask(ttc_mock()), ask(ttc_mock())

        @pytest.mark.ttc_budget(usd=0.0001)
        def test_usd(ttc_mock):
            ask(ttc_mock(usd_per_mtok={"output": 100}))

        @pytest.mark.ttc_budget(usd=100)
        def test_unknown(ttc_mock):
            ask(ttc_mock(usd_per_mtok=None))
        """
    )
    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(
        [
            "4 samples were spent, and the budget is 3",
            "* tokens were spent, and the budget is 20",
            "0.001 USD were spent, and the budget is 0.0001",
            "what was spent in USD is not known*",
        ]
    )


@pytest.mark.parametrize(
    "arguments", ["", "5", "sample=5", "samples=-1", "usd=True", "samples=10**400"]
)
def test_a_budget_that_is_none_ends_the_run_at_once(run: Run, arguments: str) -> None:
    """A mistyped limit would hold nothing."""
    result = run(f"import pytest\n\n@pytest.mark.ttc_budget({arguments})\ndef test_it(): pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: test_it.py::test_it: *ttc_budget(*"])


def test_a_failed_test_shows_plan_samples_and_receipt(run: Run) -> None:
    """What a reader needs to see why an answer was not the expected one."""
    result = run(
        """
        def test_it(ttc_mock, ttc_client):
            ttc_mock(script=["The answer is 7.", "The answer is 8.", "The answer is 7."])
            result = ttc_client.solve("What is 3 plus 4?", strategy="majority", seed=3)
            assert result.answer == "9"
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- tt_compute -*",
            "run 1 of 1, math task",
            "Plan * majority of up to *",
            "on * mock",
            "#0 *7 *The answer is 7.",
            "#1 *8 *The answer is 8.",
            "Receipt *predicted *actual",
            "samples *",
            "all together: *samples, *tokens, cost $0",
        ]
    )


def test_samples_without_a_strategy_are_shown_by_what_they_took(run: Run) -> None:
    """They have no plan and no receipt."""
    result = run(
        """
        def test_it(ttc_client):
            ttc_client.generate("What is 3 plus 4?", deployment="mock", n=3)
            assert False
        """
    )
    result.stdout.fnmatch_lines(["*- tt_compute -*", "all together: 3 samples, * tokens, cost $0"])


def test_failures_and_earlier_runs_are_counted(run: Run) -> None:
    """The last five runs are shown in full; amounts look as they do in a receipt."""
    result = run(
        """
        def test_it(ttc_mock, ttc_faults, ttc_client):
            ttc_mock(answers=["The answer is 7."], usd_per_mtok={"input": 1, "output": 1})
            for _ in range(6):
                ttc_client.solve("What is 3 plus 4?", strategy="single", max_tokens=20)
            ttc_faults("refused")
            ttc_client.solve("What is 3 plus 4?", strategy="single")
        """
    )
    result.stdout.fnmatch_lines(
        [
            "(not shown: 2 earlier runs)",
            "run 7 of 7, *",
            "failed at mock: 1 attempt, RequestRefused",
            "all together: 7 samples, * tokens, cost $0.0000*",
        ]
    )


def test_a_test_that_asked_nothing_shows_nothing(run: Run) -> None:
    """Tests of other things look as they always did."""
    result = run("def test_it(): assert False\n")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*- tt_compute -*")


def test_coroutine_tests_have_their_clients_closed_in_their_own_loop(run: Run) -> None:
    """With anyio's plugin; a client that a plain test drives by itself is closed as well."""
    run(
        """
        import asyncio
        import pytest

        KEPT = []

        @pytest.mark.anyio
        async def test_it(ttc_mock, ttc_async_client, monkeypatch):
            ttc_mock(answers=["The answer is 7."])
            close = type(ttc_async_client).aclose
            async def noted(self):
                KEPT.append(asyncio.get_running_loop())
                await close(self)
            monkeypatch.setattr(type(ttc_async_client), "aclose", noted)
            KEPT.append(asyncio.get_running_loop())
            assert (await ttc_async_client.solve("What is 3 plus 4?")).answer == "7"

        def test_closed_there():
            assert len(KEPT) == 2 and KEPT[0] is KEPT[1]

        def test_plain(ttc_async_client):
            KEPT[:] = [ttc_async_client]
            assert asyncio.run(ttc_async_client.solve("What is 6 times 7?", seed=1)).answer == "42"

        def test_closed_too():
            with pytest.raises(Exception, match="the client is closed"):
                asyncio.run(KEPT[0].plan("What is 6 times 7?"))

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """
    ).assert_outcomes(passed=4)


OTHERS = """
import asyncio
import pytest

def test_plain(ttc_mock, ttc_client):
    ttc_mock(answers=["The answer is 7."])
    assert ttc_client.solve("What is 3 plus 4?").answer == "7"

%s
async def test_coroutine(ttc_mock, ttc_async_client):
    ttc_mock(answers=["The answer is 7."], latency={"ttft_s": 60})
    results = await asyncio.gather(*(ttc_async_client.solve("What is 3 plus 4?") for _ in range(3)))
    assert [result.receipt.latency_s for result in results] == [60, 60, 60]
"""


@pytest.mark.parametrize(
    ("module", "mark", "arguments"),
    [
        ("xdist", "@pytest.mark.anyio", ["-n", "2"]),
        ("pytest_asyncio", "@pytest.mark.asyncio", []),
        ("pytest_randomly", "@pytest.mark.anyio", ["-p", "randomly"]),
        ("random_order", "@pytest.mark.anyio", ["--random-order"]),
    ],
)
def test_other_plugins_beside_it(
    pytester: pytest.Pytester, module: str, mark: str, arguments: list[str]
) -> None:
    """In a process of its own, as they are used; only those that are installed."""
    pytest.importorskip(module)
    backend = '\n@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
    pytester.makepyfile(OTHERS % mark + backend)
    result = pytester.runpytest_subprocess("-p", "tt_compute.testing.plugin", *arguments)
    result.assert_outcomes(passed=2)


def test_unseeded_requests_are_the_same_in_every_run(run: Run) -> None:
    """Whatever ran before; two requests of a test, and two tests, draw apart from each other."""
    module = """
        def seeds(client):
            return [client.solve("What is 6 times 7?").receipt.seed for _ in range(2)]

        def test_one(ttc_client):
            print("SEEDS one", *seeds(ttc_client))

        def test_two(ttc_client):
            print("SEEDS two", *seeds(ttc_client))
        """

    def seeds(*arguments: str) -> set[str]:
        result = run(module, "-rP", *arguments)
        return {line for line in result.outlines if line.startswith("SEEDS")}

    together = seeds()
    numbers = [number for line in together for number in line.split()[2:]]
    assert len(set(numbers)) == 4
    assert seeds("-k", "two") < together
