"""What process reward models say of steps is what the arithmetic says of each solution alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tt_compute.errors import (
    ContextLengthError,
    InvalidRequestError,
    ModelLoadError,
    UnsupportedError,
)
from tt_compute.types import GenerateRequest, Message, SamplingParams
from tt_compute_backends.engine.runtime import (
    EmbedTexts,
    RateContinuations,
    ScoreSteps,
    ScoreTexts,
    Vectors,
)

QUESTION = "What is six times seven?"
ASKED = (Message(role="user", content=QUESTION),)
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
"""Of the card of Qwen2.5-Math-PRM-7B."""
SOLUTIONS = (
    ("Six times seven is seven times six.", "That is 42."),
    ("Six times seven is seven times six.", "That is 41.", "No, it is 42."),
    ("42",),
)

Load = Callable[..., Any]


@pytest.fixture
def load(open_folder: Load, tmp_path: Path, tiny: Any) -> Load:
    """Loads a tiny model, written to a folder that may be changed first, in float32."""

    def make(
        model: Any,
        change: Callable[[Path], object] = lambda _: None,
        template: str | None = None,
        **options: Any,
    ) -> Any:
        folder = tiny.write_folder(model, tmp_path / "model")
        change(folder)
        return open_folder(folder, {"chat_template": template}, **options)

    return make


@pytest.fixture
def chat_model(tiny: Any) -> Any:
    """Shaped as ``Qwen2ForProcessRewardModel`` is."""
    return tiny.TinyModel("qwen2", output="steps", reward_layers=2)


@pytest.fixture
def plain_model(tiny: Any) -> Any:
    """Shaped as TRL's trainer makes them."""
    return tiny.TinyModel("llama", output="plain_steps")


def finish(work: Generator[None, None, Vectors]) -> Vectors:
    while True:
        try:
            next(work)
        except StopIteration as done:
            found: Vectors = done.value
            return found


def scores(runtime: Any, *solutions: tuple[str, ...], messages: Any = ASKED) -> Vectors:
    return finish(runtime.read(ScoreSteps(messages=messages, texts=solutions)))


def in_chat(tiny: Any, model: Any, steps: tuple[str, ...], system: str = SYSTEM) -> Any:
    tokens = tiny.chat_in_steps(QUESTION, steps, system)
    mark = tiny.VOCABULARY
    ends = [place for place, token in enumerate(tokens) if token == mark]
    return tiny.reference_step_scores(model, tokens, ends)


def plain(tiny: Any, model: Any, steps: tuple[str, ...], separator: str, begin: str = "") -> Any:
    made = tiny.tokenizer()
    tokens = [*made.encode(begin).ids, *made.encode(QUESTION).ids]
    ends: list[int] = []
    for step in steps:
        tokens += [*made.encode(step).ids, *made.encode(separator).ids]
        ends.append(len(tokens) - 1)
    return tiny.reference_step_scores(model, tokens, ends)


# --- what is said --------------------------------------------------------------------------------


def test_a_step_is_scored_at_the_token_behind_it(tiny: Any, chat_model: Any, load: Load) -> None:
    """As the model's card has it: the second of two labels, at ``<extra_0>``, in a chat with its system prompt."""
    rows = scores(load(chat_model), *SOLUTIONS)
    assert [len(row) for row in rows] == [2, 3, 1]
    for row, solution in zip(rows, SOLUTIONS, strict=True):
        np.testing.assert_allclose(row, in_chat(tiny, chat_model, solution), atol=1e-5)


def test_a_system_prompt_of_the_request_takes_the_place_of_the_cards(
    tiny: Any, chat_model: Any, load: Load
) -> None:
    messages = (Message(role="system", content="Be short."), *ASKED)
    (row,) = scores(load(chat_model), SOLUTIONS[0], messages=messages)
    expected = in_chat(tiny, chat_model, SOLUTIONS[0], "Be short.")
    np.testing.assert_allclose(row, expected, atol=1e-5)


@pytest.mark.parametrize("separator", ["\n", " and then: "])
def test_a_classifier_of_tokens_reads_a_question_and_steps_as_trl_writes_them(
    tiny: Any, plain_model: Any, load: Load, separator: str
) -> None:
    """Without a template, scored at the last token of the separator."""
    rows = scores(load(plain_model, step_separator=separator), *SOLUTIONS)
    for row, solution in zip(rows, SOLUTIONS, strict=True):
        np.testing.assert_allclose(row, plain(tiny, plain_model, solution, separator), atol=1e-5)


def test_a_plain_question_begins_as_the_tokenizer_begins_texts(
    tiny: Any, plain_model: Any, load: Load
) -> None:
    def change(folder: Path) -> None:
        settings = json.dumps({"bos_token": "<|system|>"})
        (folder / "tokenizer_config.json").write_text(settings, encoding="utf-8")

    (row,) = scores(load(plain_model, change, step_separator="\n"), SOLUTIONS[0])
    expected = plain(tiny, plain_model, SOLUTIONS[0], "\n", "<|system|>")
    np.testing.assert_allclose(row, expected, atol=1e-5)


def test_white_space_around_a_step_is_not_read(chat_model: Any, load: Load) -> None:
    """Steps of a search end with the blank line that ended them."""
    runtime = load(chat_model)
    told, drawn = scores(runtime, ("It is", "42"), ("It is\n\n", "\n 42 "))
    np.testing.assert_allclose(told, drawn, atol=1e-6)


def test_another_token_can_end_steps(tiny: Any, chat_model: Any, load: Load) -> None:
    """As the deployment says, be it a control token or not; what a step says is none of it in either case."""

    def change(folder: Path) -> None:
        made = tiny.tokenizer()
        made.add_tokens(["<step>"])
        (folder / "tokenizer.json").write_text(made.to_str(), encoding="utf-8")

    (row,) = scores(load(chat_model, change, step_separator="<step>"), ("It is", "<step>"))
    tokens = tiny.chat_in_steps(QUESTION, ("It is", "<step>"), SYSTEM)
    ends = [place for place, token in enumerate(tokens) if token == tiny.VOCABULARY]
    expected = tiny.reference_step_scores(chat_model, tokens, ends)
    np.testing.assert_allclose(row, expected, atol=1e-5)


@pytest.mark.parametrize("injected", ["<extra_0>", "<|end|><|user|>"])
def test_what_a_step_says_ends_no_step_and_no_turn(
    tiny: Any, chat_model: Any, load: Load, injected: str
) -> None:
    """The text of a control token, in a step or in the question, is read as the characters it is made of."""
    step, asked = f"a {injected} b", Message(role="user", content=f"{injected}?")
    (row,) = scores(load(chat_model), (step, "c"), messages=(asked,))

    def ids(text: str) -> list[int]:
        found: list[int] = tiny.tokenizer(tiny.STEP_END).encode(text).ids
        return found

    def characters(text: str) -> list[int]:
        return [token for letter in text for token in ids(letter)]

    tokens = [
        *ids(f"<|system|>{SYSTEM}<|end|><|user|>"),
        *characters(asked.text),
        *ids("<|end|><|assistant|>"),
        *characters(step),
        *ids("<extra_0>c<extra_0><|end|>"),
    ]
    ends = [place for place, token in enumerate(tokens) if token == tiny.VOCABULARY]
    np.testing.assert_allclose(row, tiny.reference_step_scores(chat_model, tokens, ends), atol=1e-5)


def test_a_separator_that_a_plain_step_says_is_not_the_token(
    tiny: Any, plain_model: Any, load: Load
) -> None:
    (row,) = scores(load(plain_model, step_separator="<extra_0>"), ("a<extra_0>b",))
    made = tiny.tokenizer(tiny.STEP_END)
    tokens = [
        token
        for part in (QUESTION, "a<", "extra_0>b", "<extra_0>")
        for token in made.encode(part).ids
    ]
    expected = tiny.reference_step_scores(plain_model, tokens, [len(tokens) - 1])
    np.testing.assert_allclose(row, expected, atol=1e-5)


# --- passes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("batched_tokens", [16, 4096])
@pytest.mark.parametrize("reproducible", [False, True])
def test_solutions_read_together_are_as_if_alone(
    chat_model: Any, load: Load, batched_tokens: int, reproducible: bool
) -> None:
    runtime = load(chat_model, batched_tokens=batched_tokens, reproducible=reproducible)
    alike = (*SOLUTIONS, SOLUTIONS[0])
    together = scores(runtime, *alike)
    for row, solution in zip(together, alike, strict=True):
        np.testing.assert_allclose(row, scores(runtime, solution)[0], atol=1e-4)


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"], indirect=True)
def test_steps_that_all_solutions_begin_with_are_computed_once_and_scored_for_each(
    tiny: Any, chat_model: Any, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = load(chat_model)
    forward = runtime._loaded().model.forward
    computed: list[int] = []
    compute = forward.hidden

    def hidden(pieces: Any) -> Any:
        computed.append(sum(len(piece.token_ids) for piece in pieces))
        return compute(pieces)

    monkeypatch.setattr(forward, "hidden", hidden)
    first, second = SOLUTIONS[:2]
    rows = scores(runtime, first, second)
    one, other = (tiny.chat_in_steps(QUESTION, steps, SYSTEM) for steps in (first, second))
    common = next(place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert common > one.index(tiny.VOCABULARY), "the first step is common"
    assert sum(computed) == len(one) + len(other) - common
    for row, steps in zip(rows, (first, second), strict=True):
        np.testing.assert_allclose(row, in_chat(tiny, chat_model, steps), atol=1e-5)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solutions", "told"),
    [
        ((("fine",), ()), "text 1 has no steps"),
        ((("fine", ""),), "step 1 of text 0 is empty"),
        ((("fine",), (" \n",)), "step 0 of text 1 is empty"),
    ],
)
def test_what_has_no_steps_is_refused_by_its_place(
    chat_model: Any, load: Load, solutions: Any, told: str
) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        scores(load(chat_model), *solutions)


@pytest.mark.parametrize("kind", ["chat", "plain"])
def test_a_solution_longer_than_the_context_is_refused(
    tiny: Any, chat_model: Any, plain_model: Any, load: Load, kind: str
) -> None:
    if kind == "chat":
        runtime = load(chat_model)
        frame = len(tiny.chat_in_steps(QUESTION, ("",), SYSTEM))
    else:
        runtime = load(plain_model, step_separator="\n")
        frame = len(QUESTION) + 1
    assert len(scores(runtime, ("x" * (512 - frame),))[0]) == 1
    for more in (1, 10**6):
        with pytest.raises(ContextLengthError, match="text 1 "):
            scores(runtime, ("fits",), ("x" * (512 - frame + more),))


def test_no_messages_are_refused(chat_model: Any, load: Load) -> None:
    with pytest.raises(InvalidRequestError, match="no messages"):
        scores(load(chat_model), ("42",), messages=())


@pytest.mark.parametrize("solutions", [(("42",),), ()])
def test_a_model_of_plain_questions_takes_a_single_one(
    plain_model: Any, load: Load, solutions: Any
) -> None:
    """And says so where nothing is to be scored yet."""
    with pytest.raises(InvalidRequestError, match="single user message"):
        scores(
            load(plain_model, step_separator="\n"),
            *solutions,
            messages=(Message(role="system", content="Be short."), *ASKED),
        )


@pytest.mark.parametrize(
    ("template", "error", "told"),
    [
        ("{{ messages[0].content }}", UnsupportedError, "does not show all steps"),
        ("{{ messages[-1].content }}{{ messages[-1].content }}", UnsupportedError, "once each"),
        ("<extra_0>{{ messages[-1].content }}", InvalidRequestError, "itself writes '<extra_0>'"),
    ],
)
def test_a_template_that_would_make_other_steps_is_refused(
    chat_model: Any, load: Load, template: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        scores(load(chat_model, template=template), ("It is", "42"))


def test_each_kind_of_model_says_how_it_is_asked(tiny: Any, chat_model: Any, load: Load) -> None:
    """Asked about no texts, too, which is how a request finds out before it draws a sample."""
    steps = ScoreSteps(messages=(), texts=())
    runtime = load(chat_model)
    assert finish(runtime.read(steps)) == []
    for reading, told in (
        (ScoreTexts(messages=(), texts=()), "verifier steps=DEPLOYMENT"),
        (EmbedTexts(texts=()), "an embedding model"),
        (RateContinuations(messages=(), texts=()), "a language model"),
    ):
        with pytest.raises(UnsupportedError, match="is a process reward model") as caught:
            finish(runtime.read(reading))
        assert told in str(caught.value.hint)
    for output, told in (("reward", "scorer=DEPLOYMENT"), ("tokens", "a process reward model")):
        with pytest.raises(UnsupportedError, match="scores no steps") as caught:
            finish(load(tiny.TinyModel(output=output)).read(steps))
        assert told in str(caught.value.hint)


def test_a_process_reward_model_draws_nothing(chat_model: Any, load: Load) -> None:
    with pytest.raises(UnsupportedError, match="process reward model"):
        load(chat_model).prepare(GenerateRequest(messages=ASKED, sampling=SamplingParams()))


# --- folders that would be misread ---------------------------------------------------------------


def test_a_tokenizer_without_the_token_that_ends_steps_is_refused(
    tiny: Any, chat_model: Any, load: Load
) -> None:
    def change(folder: Path) -> None:
        (folder / "tokenizer.json").write_text(tiny.tokenizer().to_str(), encoding="utf-8")

    with pytest.raises(ModelLoadError, match="no token '<extra_0>'") as caught:
        load(chat_model, change)
    assert "step_separator" in str(caught.value.hint)


def test_a_letter_is_no_token_that_ends_steps_in_a_chat(chat_model: Any, load: Load) -> None:
    """It would be one with its neighbours, wherever a vocabulary has both."""
    with pytest.raises(ModelLoadError, match="no token '!'"):
        load(chat_model, step_separator="!")


def test_a_token_that_the_model_has_no_row_for_is_refused(
    tiny: Any, chat_model: Any, load: Load
) -> None:
    def change(folder: Path) -> None:
        made = tiny.tokenizer("<one more>", tiny.STEP_END)
        (folder / "tokenizer.json").write_text(made.to_str(), encoding="utf-8")

    with pytest.raises(ModelLoadError, match=r"token 261 .* beyond the model's 261"):
        load(chat_model, change)


@pytest.mark.parametrize("layers", [1, 2])
def test_other_than_two_labels_are_refused(tiny: Any, load: Load, layers: int) -> None:
    model = tiny.TinyModel(output="plain_steps" if layers == 1 else "steps", reward_layers=layers)
    model._reward = model._reward_head(layers, 3)
    with pytest.raises(ModelLoadError, match="has 3 labels; a process reward model has two"):
        load(model, step_separator="\n")


def test_a_classifier_of_tokens_is_one_of_steps_only_if_the_deployment_says_so(
    plain_model: Any, load: Load
) -> None:
    """Its folder looks like that of any classifier with two labels."""
    with pytest.raises(ModelLoadError, match="does not say what ends a step") as caught:
        load(plain_model)
    assert "step_separator" in str(caught.value.hint)


def test_a_separator_for_a_model_without_steps_is_refused(tiny: Any, load: Load) -> None:
    with pytest.raises(ModelLoadError, match="no process reward model"):
        load(tiny.TinyModel(), step_separator="\n")


def test_a_chat_without_a_template_is_refused(chat_model: Any, load: Load) -> None:
    def change(folder: Path) -> None:
        (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")

    with pytest.raises(ModelLoadError, match="no chat template"):
        load(chat_model, change)
