"""What is answered follows from the script, the seed and the number of the request."""

from __future__ import annotations

from typing import Any

import pytest

from raw_client import ASKED
from ttc_servers import Limits, Script
from ttc_servers.limits import Limiter, Over
from ttc_servers.script import Reply, reply_to, serve
from ttc_servers.services import SHAPES


def reply(script: Script, number: int = 0, choice: int = 0, **more: Any) -> Reply:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello there"}], **more}
    return reply_to(body, script, number, choice)


def test_the_same_seed_and_number_say_the_same() -> None:
    assert reply(Script(), 3) == reply(Script(), 3)
    assert reply(Script(), 3) != reply(Script(), 4)
    assert reply(Script(), 3) != reply(Script(seed=1), 3)
    assert reply(Script(), 3) != reply(Script(), 3, choice=1)


def test_a_seed_of_the_request_makes_its_number_no_matter() -> None:
    assert reply(Script(), 3, seed=5) == reply(Script(), 4, seed=5)


def test_texts_come_in_turn_or_are_drawn() -> None:
    texts = ("one", "two", "three")
    assert [reply(Script(texts=texts), at).text for at in range(4)] == [
        "one",
        "two",
        "three",
        "one",
    ]
    drawn = [reply(Script(texts=texts, pick="seeded"), at).text for at in range(60)]
    assert set(drawn) == set(texts)
    assert drawn == [reply(Script(texts=texts, pick="seeded"), at).text for at in range(60)]
    assert drawn != [reply(Script(texts=texts, pick="seeded", seed=1), at).text for at in range(60)]


@pytest.mark.parametrize("text", ["a b", " a\n\n  b ", "a", "  ", ""])
def test_tokens_are_words_with_the_space_before_them(text: str) -> None:
    made = reply(Script(texts=(text,)))
    assert made.text == text
    assert all(len(token.split()) <= 1 for token in made.tokens)


def test_the_limit_counts_reasoning_too() -> None:
    script = Script(texts=("a b c",), reasoning="x y z")
    assert reply(script, max_completion_tokens=6).finish_reason == "stop"
    cut = reply(script, max_completion_tokens=4)
    assert (cut.text, cut.count, cut.finish_reason) == ("a", 4, "length")
    thinking = reply(script, max_tokens=2)
    assert (thinking.text, thinking.reasoning) == ("", ("x", " y"))


def test_nothing_is_said_from_a_stop_on() -> None:
    assert reply(Script(texts=("a b c d",)), stop=["c", "x"]).text == "a b "


def test_the_finish_reason_can_be_set() -> None:
    assert reply(Script(finish_reason="content_filter")).finish_reason == "content_filter"


def test_a_schema_is_met() -> None:
    schema = {"properties": {"count": {"type": "integer"}, "kind": {"enum": ["x", "y"]}}}
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert reply(Script(), response_format=wanted).text == '{"count":42,"kind":"x"}'


def test_the_prompt_is_counted_once_whatever_n_is() -> None:
    served = serve({**ASKED, "n": 2}, Script(cached_share=0.5), 0)
    assert (served.prompt_tokens, served.cached_tokens, served.count) == (6, 3, 10)


# --- limits ----------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_requests_over_the_limit_wait_for_their_share_of_the_window() -> None:
    clock = Clock()
    limits = Limits(requests=2, requests_window_s=10)
    limiter = Limiter(limits, SHAPES["openai"], clock)
    assert [isinstance(limiter.admit(ASKED), Over) for _ in range(3)] == [False, False, True]
    assert limiter.admit(ASKED) == Over("requests", 5.0, 429)
    clock.now += 5
    assert not isinstance(limiter.admit(ASKED), Over)


def test_tokens_are_taken_before_and_given_back_after() -> None:
    """Prompt and limit of the answer; what is left says so at once."""
    clock = Clock()
    limiter = Limiter(Limits(tokens=30), SHAPES["openai"], clock)
    taken = limiter.admit(ASKED)
    assert taken == 11
    assert limiter.headers()["x-ratelimit-remaining-tokens"] == "19"
    limiter.settle(11, 8)
    assert limiter.headers()["x-ratelimit-remaining-tokens"] == "22"
    assert limiter.headers()["x-ratelimit-reset-tokens"] == "16s"


def test_cerebras_takes_its_most_where_the_request_says_nothing() -> None:
    body = {name: value for name, value in ASKED.items() if name != "max_completion_tokens"}
    limiter = Limiter(Limits(tokens=20_000), SHAPES["cerebras"], Clock())
    assert limiter.admit(body) == 6 + 16_384
    assert isinstance(limiter.admit(body), Over)


@pytest.mark.parametrize(("service", "status"), [("groq", 413), ("cerebras", 429)])
def test_what_can_never_pass_is_refused_in_the_services_way(service: str, status: int) -> None:
    found = Limiter(Limits(tokens=10), SHAPES[service], Clock()).admit(ASKED)
    assert isinstance(found, Over)
    assert found.status == status
