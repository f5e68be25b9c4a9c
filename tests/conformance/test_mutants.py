"""The backend template with one line broken at a time: the kit names the rule that the line keeps."""

from __future__ import annotations

import random
import re
import sys
import types
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tt_compute.testing import (
    ConformanceError,
    Subject,
    VirtualClock,
    backend_env,
    check_backend,
    deployment_spec,
)

pytestmark = pytest.mark.anyio

TEMPLATE = Path(__file__).parents[2] / "examples" / "backend-template"
SOURCE = (TEMPLATE / "tt_ngram" / "__init__.py").read_text(encoding="utf-8")

NO_EVENT_AFTER_CANCEL = (
    """            self._end(row, "cancelled")""",
    """            del self._rows[row.index]""",
)
INDEX_IS_USED_AGAIN = ("""        self._drawn += n""", """        self._drawn = 0""")
DRAW_AFTER_EXIT = ("""        self._left = True""", """        self._left = False""")
LEAVES_SAMPLES_RUNNING = (
    """        self.cancel()
        self._left = True""",
    """        self._left = True""",
)
USAGE_OF_THE_PROMPT_IS_MISSING = ("""input_tokens=input_tokens, """, "")
TOKENS_ARE_COUNTED_TWICE = (
    """output_tokens=len(row.tokens)""",
    """output_tokens=2 * len(row.tokens)""",
)
CANCELLED_TOKENS_ARE_FORGOTTEN = (
    """output_tokens=len(row.tokens)""",
    """output_tokens=0 if reason == "cancelled" else len(row.tokens)""",
)
PARTIAL_TEXT_IS_DROPPED = (
    """text="".join(""",
    """text="" if reason == "cancelled" else "".join(""",
)
OPEN_IS_NO_SCOPE = ("""    @asynccontextmanager\n    async def open""", """    async def open""")
THERE_IS_NO_MODEL = (
    """async def models(self) -> Sequence[tt.ModelInfo]:\n        return [""",
    """async def models(self) -> Sequence[tt.ModelInfo]:\n        return []\n        [""",
)
CANCEL_ENDS_ALL = ("""if index in {None, row.index}""", """if True""")
CANCEL_WAITS_FOR_NOTHING = ("""if index in {None, row.index}""", """if False""")
CANCEL_RAISES = (
    """        for row in [row for row in self._rows.values() if index in {None, row.index}]:""",
    """        for row in list(self._rows.values()) if index is None else [self._rows[index]]:""",
)
DEADLINE_IS_NOT_KEPT = ("""clock.now() >= deadline""", """clock.now() < 0""")
DEADLINE_HAS_A_NAME_OF_ITS_OWN = ("""(row, "deadline")""", """(row, "cancelled")""")
DRAWS_WHEN_OPENED = (
    """        self._drawn, self._left, self._iterated = 0, False, False""",
    """        self._drawn, self._left, self._iterated = 0, False, False
        self.draw()""",
)
FIRST_INDEX_IS_1 = (
    """        self._drawn, self._left""",
    """        self._drawn = 1; _, self._left""",
)
TWO_MAY_ITERATE = ("""        self._iterated = True""", """        self._iterated = False""")
NO_SAMPLE_AFTER_THE_FIRST = (
    """                if not self._rows:""",
    """                if not self._rows or 0 not in self._rows:""",
)
ENDS_TWICE = (
    """        self._events.append(sample)""",
    """        self._events.extend((sample, sample))""",
)
DELTAS_UNASKED = ("""if self._request.deltas != "none":""", """if True:""")
DELTAS_LACK_SPACES = (
    """index=row.index, text=text, """,
    """index=row.index, text=text.strip(), """,
)
NEVER_STREAMS = ("""if self._request.deltas != "none":""", """if False:""")
LIMIT_IS_ONE_TOO_HIGH = ("""len(row.tokens) == self._limit""", """len(row.tokens) > self._limit""")
CONTEXT_IS_NOT_CHECKED = ("""if not 0 < self._limit <= room:""", """if False:""")
REQUEST_IS_NOT_CHECKED = ("""        check_request(request, CAPABILITIES)\n""", "")
SEED_IS_IGNORED = ("""secrets.randbits(31) if seed is None else seed""", """secrets.randbits(31)""")
SEEDS_ARE_ADDED = ("""tt.sample_seed(self._seed, index)""", """self._seed + index""")
INDEX_IS_NOT_IN_THE_SEED = ("""tt.sample_seed(self._seed, index)""", """self._seed""")
NO_LOGPROBS = (
    """logprobs=tuple(row.tokens) if self._sampling.logprobs else ()""",
    """logprobs=()""",
)
LOGPROBS_UNASKED = (
    """tuple(row.tokens) if self._sampling.logprobs else ()""",
    """tuple(row.tokens)""",
)
PROBABILITIES_FOR_LOGPROBS = ("""logprob=logprob)""", """logprob=2.718 ** logprob)""")
CLAIMS_STOP_STRINGS = ("""    streaming=True,""", """    streaming=True,\n    stop=True,""")
CLAIMS_SCHEMAS = ("""    streaming=True,""", """    streaming=True,\n    json_schema=True,""")
CLAIMS_A_SHARED_PREFILL = (
    """    streaming=True,""",
    """    streaming=True,\n    prefix_sharing=True,""",
)
LOSES_A_STEP_WHEN_CANCELLED = (
    """        finally:
            self._iterated = False""",
    """        except BaseException:
            if not isinstance(sys.exception(), StopAsyncIteration):
                self._rows.clear()
            raise
        finally:
            self._iterated = False""",
)
WRAPS_ERRORS = (
    """            yield generation
""",
    """            yield generation
        except ValueError as exc:
            raise ExceptionGroup("unhandled errors in a TaskGroup", [exc]) from exc
""",
)
KEEPS_GENERATIONS = (
    """            generation.leave()""",
    """            generation.leave()
            KEPT.append(generation)""",
)
CLOSES_ONCE = (
    '''        """Nothing is held that the garbage collector would not free."""''',
    """        del self.model""",
)
FORGETS_WHEN_ITERATED_AGAIN = (
    """        return self

    async def __anext__""",
    """        self._events.clear()
        return self

    async def __anext__""",
)
SHARES_ROWS = (
    """        self._rows: dict[int, Row] = {}""",
    """        self._rows = backend.__dict__.setdefault("rows", {})""",
)
DROPS_WHAT_HAS_NO_ROOM = (
    """        for index in indices:""",
    """        for index in indices[:32]:""",
)
NOT_STARTED_HAS_NO_END = (
    """            self._end(row, "cancelled")""",
    """            self._end(row, "cancelled") if row.tokens else self._rows.pop(row.index)""",
)
ANOTHER_VERSION = (
    """api_version: ClassVar[int] = tt.API_VERSION""",
    """api_version: ClassVar[int] = 0""",
)

MUTANTS: dict[str, tuple[tuple[str, str], str]] = {
    "no event after cancel": (NO_EVENT_AFTER_CANCEL, "cancel_spares_the_others"),
    "no event after cancel of all": (NO_EVENT_AFTER_CANCEL, "cancel_all_ends_every_sample"),
    "no event after leaving": (NO_EVENT_AFTER_CANCEL, "leaving_the_scope_ends_everything"),
    "index used again": (INDEX_IS_USED_AGAIN, "draw_numbers_the_samples"),
    "index used again later": (INDEX_IS_USED_AGAIN, "iteration_stops_and_resumes"),
    "index used again inside the loop": (INDEX_IS_USED_AGAIN, "draws_while_iterating"),
    "draw after exit": (DRAW_AFTER_EXIT, "nothing_is_drawn_after_the_scope"),
    "samples run on after exit": (LEAVES_SAMPLES_RUNNING, "leaving_the_scope_ends_everything"),
    "no usage of the prompt": (USAGE_OF_THE_PROMPT_IS_MISSING, "usage_adds_up"),
    "tokens counted twice": (TOKENS_ARE_COUNTED_TWICE, "max_tokens_is_kept"),
    "cancelled tokens forgotten": (
        CANCELLED_TOKENS_ARE_FORGOTTEN,
        "cancel_keeps_the_partial_text",
    ),
    "partial text dropped": (PARTIAL_TEXT_IS_DROPPED, "cancel_keeps_the_partial_text"),
    "cancel ends all": (CANCEL_ENDS_ALL, "cancel_spares_the_others"),
    "cancel of a finished one ends others": (CANCEL_ENDS_ALL, "cancel_is_idempotent"),
    "cancel ends nothing": (CANCEL_WAITS_FOR_NOTHING, "cancel_all_ends_every_sample"),
    "cancel of an unknown index raises": (CANCEL_RAISES, "cancel_is_idempotent"),
    "deadline not kept": (DEADLINE_IS_NOT_KEPT, "deadline_ends_every_live_sample"),
    "passed deadline not kept": (DEADLINE_IS_NOT_KEPT, "a_passed_deadline_ends_every_sample"),
    "deadline called cancelled": (
        DEADLINE_HAS_A_NAME_OF_ITS_OWN,
        "a_passed_deadline_ends_every_sample",
    ),
    "open draws": (DRAWS_WHEN_OPENED, "open_draws_nothing"),
    "first index is 1": (FIRST_INDEX_IS_1, "draw_numbers_the_samples"),
    "two consumers": (TWO_MAY_ITERATE, "refuses_a_second_consumer"),
    "iteration stops too early": (NO_SAMPLE_AFTER_THE_FIRST, "draws_while_iterating"),
    "iteration does not resume": (NO_SAMPLE_AFTER_THE_FIRST, "iteration_stops_and_resumes"),
    "two ends": (ENDS_TWICE, "every_sample_ends_once"),
    "deltas unasked": (DELTAS_UNASKED, "no_deltas_unless_asked"),
    "deltas of another text": (DELTAS_LACK_SPACES, "deltas_make_the_text"),
    "streaming claimed, no deltas": (NEVER_STREAMS, "deltas_make_the_text"),
    "one token too many": (LIMIT_IS_ONE_TOO_HIGH, "max_tokens_is_kept"),
    "context not checked": (CONTEXT_IS_NOT_CHECKED, "refuses_what_exceeds_the_context"),
    "empty prompt accepted": (REQUEST_IS_NOT_CHECKED, "refuses_prompts_that_are_no_prompts"),
    "bad sampling accepted": (REQUEST_IS_NOT_CHECKED, "refuses_bad_sampling"),
    "lacking ability ignored": (REQUEST_IS_NOT_CHECKED, "refuses_abilities_it_lacks"),
    "seed ignored": (SEED_IS_IGNORED, "keeps_its_seed_contract"),
    "seed + index": (SEEDS_ARE_ADDED, "other_seeds_and_indices_differ"),
    "seed without index": (INDEX_IS_NOT_IN_THE_SEED, "other_seeds_and_indices_differ"),
    "no logprobs": (NO_LOGPROBS, "tells_logprobs"),
    "logprobs unasked": (LOGPROBS_UNASKED, "tells_logprobs"),
    "probabilities for logprobs": (PROBABILITIES_FOR_LOGPROBS, "tells_logprobs"),
    "stop strings claimed": (CLAIMS_STOP_STRINGS, "stop_strings_cut_exactly"),
    "schemas claimed": (CLAIMS_SCHEMAS, "keeps_json_schemas"),
    "shared prefill claimed": (CLAIMS_A_SHARED_PREFILL, "usage_adds_up"),
    "a cancelled consumer loses samples": (
        LOSES_A_STEP_WHEN_CANCELLED,
        "a_cancelled_consumer_harms_nothing",
    ),
    "events lost by a break": (FORGETS_WHEN_ITERATED_AGAIN, "iteration_goes_on_after_a_break"),
    "generations share samples": (SHARES_ROWS, "concurrent_generations_do_not_mix"),
    "no room, no sample": (DROPS_WHAT_HAS_NO_ROOM, "queued_samples_end_too"),
    "cancelled before the start, no end": (
        NOT_STARTED_HAS_NO_END,
        "cancel_before_the_start_costs_nothing",
    ),
    "errors wrapped": (WRAPS_ERRORS, "errors_leave_the_scope_unchanged"),
    "generations kept": (KEEPS_GENERATIONS, "leaves_nothing_behind"),
    "closes once": (CLOSES_ONCE, "closes_twice"),
    "another version": (ANOTHER_VERSION, "describes_itself"),
    "open is no scope": (OPEN_IS_NO_SCOPE, "describes_itself"),
}
"""What is broken -> the line and what stands in its place, and the rule that must be named."""

Mutant = Callable[[str], Callable[[], Any]]


@pytest.fixture
def mutant(monkeypatch: pytest.MonkeyPatch) -> Generator[Mutant]:
    """A function that makes a factory of subjects from the source of a backend."""
    monkeypatch.setattr(sys, "path", [str(TEMPLATE), *sys.path])

    def make(source: str) -> Callable[[], Any]:
        module = types.ModuleType("mutant")
        module.__dict__.update(KEPT=[], sys=sys)
        # msgspec looks annotations up in the module that is registered.
        monkeypatch.setitem(sys.modules, "mutant", module)
        exec(compile(source, "mutant.py", "exec"), module.__dict__)
        # Seeds that nobody states, the same in every run.
        seeds = random.Random(0)
        module.__dict__["secrets"] = types.SimpleNamespace(randbits=seeds.getrandbits)

        async def create() -> Subject:
            clock = VirtualClock()
            spec = deployment_spec("ngram", options={"steps_per_s": 20})
            backend = await module.NgramBackend.create(spec, backend_env(clock=clock))
            return Subject(backend=backend, clock=clock)

        return create

    yield make
    for name in ("tt_ngram", "tt_ngram.model"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", MUTANTS)
async def test_the_kit_names_the_rule_that_a_mutant_breaks(name: str, mutant: Mutant) -> None:
    (line, instead), rule = MUTANTS[name]
    assert line in SOURCE, "the template has changed; change the mutant with it"
    factory = mutant(SOURCE.replace(line, instead, 1))
    with pytest.raises(ConformanceError) as caught:
        await check_backend(factory, timeout_s=5)
    assert rule in caught.value.report.failed, str(caught.value)
    assert re.search(rf"FAIL {rule}: \S", str(caught.value))


async def test_a_backend_without_a_model_is_told_the_same_by_every_rule(mutant: Mutant) -> None:
    """None of them trips over the empty list."""
    line, instead = THERE_IS_NO_MODEL
    with pytest.raises(ConformanceError) as caught:
        await check_backend(mutant(SOURCE.replace(line, instead, 1)), timeout_s=5)
    assert "describes_itself" in caught.value.report.failed
    assert set(caught.value.report.failed.values()) == {"models() is empty"}


async def test_the_template_itself_breaks_no_rule(mutant: Mutant) -> None:
    """So that what a mutant breaks is its own doing; and each rule that it keeps has a mutant."""
    report = await check_backend(mutant(SOURCE))
    assert set(report.passed) - {rule for _, rule in MUTANTS.values()} == set()
