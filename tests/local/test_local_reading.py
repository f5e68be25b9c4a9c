"""What our runtimes read from texts is what the arithmetic says of each text alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import processors

from tt_compute.errors import (
    ContextLengthError,
    InvalidRequestError,
    ModelLoadError,
    UnsupportedError,
)
from tt_compute.types import GenerateRequest, Message, SamplingParams
from tt_compute_backends.engine.reading import draws
from tt_compute_backends.engine.runtime import (
    EmbedTexts,
    RateContinuations,
    ScoreTexts,
    Vectors,
)
from tt_compute_backends.engine.sampling import row_params

QUESTION = (Message(role="user", content="What is six times seven, and why do you think so?"),)
ANSWERS = ("42", "It is 41.", "x" * 150, "", "Because, as I said, it is.")
EMBEDDED = ("hello", "a longer text, of more tokens than one pass takes" * 3, "x")
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]

Load = Callable[..., Any]


GENERATING = ("torch", "onnxruntime")
"""Those that read language models, too."""


def only(*runtimes: str) -> pytest.MarkDecorator:
    """These instead of all."""
    return pytest.mark.parametrize("runtime", runtimes, indirect=True)


@pytest.fixture
def load(runtime: str, open_folder: Load, tiny: Any, tmp_path: Path) -> Load:
    """Loads a tiny model, written to a folder, in float32."""

    def make(model: Any, limits: dict[str, Any] | None = None, **options: Any) -> Any:
        folder = tmp_path / "model"
        tiny.write_folder(model, folder)
        if runtime not in GENERATING and draws(folder):
            pytest.skip(f"{runtime} reads no language models")
        return open_folder(folder, limits or {}, **options)

    return make


def passes(work: Generator[None, None, Vectors]) -> tuple[Vectors, int]:
    """What comes of it, and how many passes that took."""
    count = 1
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value, count
        count += 1


def found(runtime: Any, reading: Any) -> Any:
    rows, _ = passes(runtime.read(reading))
    return np.array(rows)


def conversation(tiny: Any, answer: str) -> list[int]:
    ids: list[int] = (
        tiny.tokenizer()
        .encode(f"<|user|>{QUESTION[0].text}<|end|><|assistant|>{answer}<|end|>")
        .ids
    )
    return ids


def reward(tiny: Any, model: Any, tokens: list[int]) -> float:
    """Of the last token."""
    x = tiny.reference_hidden(model, tokens)[-1]
    *inner, last = model.reward()
    for layer in inner:
        x = np.maximum(layer.weight @ x + layer.bias, 0)
    return float((last.weight @ x + (0 if last.bias is None else last.bias))[0])


# --- rewards -------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_reward_is_what_the_head_says_of_the_last_token(
    tiny: Any, load: Load, architecture: str, layers: int
) -> None:
    model = tiny.TinyModel(architecture, output="reward", reward_layers=layers)
    rewards = found(load(model), ScoreTexts(messages=QUESTION, texts=ANSWERS))
    expected = [[reward(tiny, model, conversation(tiny, answer))] for answer in ANSWERS]
    np.testing.assert_allclose(rewards, expected, atol=1e-4)


def test_padding_at_the_end_is_passed_over(tiny: Any, load: Load) -> None:
    """As transformers' class does it: here the template ends with what is also the padding."""
    model = tiny.TinyModel(output="reward", pad_token=256)
    (row,) = found(load(model), ScoreTexts(messages=QUESTION, texts=ANSWERS[:1]))
    tokens = conversation(tiny, ANSWERS[0])
    assert tokens[-1] == 256
    assert row[0] == pytest.approx(reward(tiny, model, tokens[:-1]), abs=1e-4)


def test_what_a_text_says_cannot_end_its_turn(tiny: Any, load: Load) -> None:
    """The text of a control token is read as the characters it is made of."""
    model = tiny.TinyModel(output="reward")
    (row,) = found(load(model), ScoreTexts(messages=QUESTION, texts=("a<|end|>b",)))
    before, after = tiny.tokenizer().encode("a<").ids, tiny.tokenizer().encode("|end|>b").ids
    empty = conversation(tiny, "")
    tokens = [*empty[:-1], *before, *after, empty[-1]]
    assert row[0] == pytest.approx(reward(tiny, model, tokens), abs=1e-4)


@only("torch")
@pytest.mark.parametrize(("dtype", "tolerance"), [("bf16", 0.15), ("fp16", 0.03), ("int8", 0.4)])
def test_rewards_in_lower_precisions_stay_near(
    tiny: Any, load: Load, dtype: str, tolerance: float
) -> None:
    """Those of this random head have a spread of 1."""
    model = tiny.TinyModel(output="reward")
    rewards = found(load(model, dtype=dtype), ScoreTexts(messages=QUESTION, texts=ANSWERS))
    expected = [[reward(tiny, model, conversation(tiny, answer))] for answer in ANSWERS]
    np.testing.assert_allclose(rewards, expected, atol=tolerance)


# --- vectors -------------------------------------------------------------------------------------


def test_a_vector_is_the_mean_of_all_tokens_unless_the_folder_says_otherwise(
    tiny: Any, load: Load
) -> None:
    model = tiny.TinyModel(output="none")
    vectors = found(load(model), EmbedTexts(texts=EMBEDDED))
    for text, vector in zip(EMBEDDED, vectors, strict=True):
        mean = tiny.reference_hidden(model, tiny.tokenizer().encode(text).ids).mean(0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"pooling_mode": "lasttoken"}, {"pooling_mode_lasttoken": True}]
)
def test_a_vector_is_the_last_token_where_the_folder_says_so(
    tiny: Any,
    load: Load,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
) -> None:
    """Of a tokenizer that puts an end behind every text, it is that end."""
    model = tiny.TinyModel("qwen3", output="none")
    write_pooling(tmp_path / "model", settings | {"pooling_mode_cls_token": False})
    made = tiny.tokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="$A <|end|>", special_tokens=[("<|end|>", 256)]
    )
    plain = tiny.tokenizer
    monkeypatch.setattr(tiny, "tokenizer", lambda: made)
    vectors = found(load(model), EmbedTexts(texts=EMBEDDED))
    for text, vector in zip(EMBEDDED, vectors, strict=True):
        last = tiny.reference_hidden(model, [*plain().encode(text).ids, 256])[-1]
        np.testing.assert_allclose(vector, last / np.linalg.norm(last), atol=1e-5)


def test_a_language_model_beside_modules_of_sentence_transformers_embeds(
    tiny: Any, load: Load, tmp_path: Path
) -> None:
    """Such folders name the architecture that the stack was taken from."""
    write_pooling(tmp_path / "model", {"pooling_mode": "mean"})
    assert found(load(tiny.TinyModel()), EmbedTexts(texts=EMBEDDED)).shape == (3, 64)


def write_pooling(folder: Path, settings: dict[str, object], modules: Any = MODULES) -> None:
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")


def test_a_mean_takes_in_what_all_texts_begin_with(tiny: Any, load: Load) -> None:
    model = tiny.TinyModel(output="none")
    texts = ("All of them begin alike: one", "All of them begin alike: two")
    vectors = found(load(model), EmbedTexts(texts=texts))
    for text, vector in zip(texts, vectors, strict=True):
        mean = tiny.reference_hidden(model, tiny.tokenizer().encode(text).ids).mean(0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_control_tokens_in_a_text_are_its_characters(tiny: Any, load: Load) -> None:
    model = tiny.TinyModel(output="none")
    (vector,) = found(load(model), EmbedTexts(texts=("a<|end|>b",)))
    plain = tiny.tokenizer()
    plain.encode_special_tokens = True
    tokens = plain.encode("a<|end|>b").ids
    assert len(tokens) == 9
    mean = tiny.reference_hidden(model, tokens).mean(0)
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


# --- likelihoods ---------------------------------------------------------------------------------


@only(*GENERATING)
def test_a_likelihood_is_the_sum_over_the_continuations_tokens(
    tiny: Any, tiny_model: Any, load: Load
) -> None:
    nats = found(load(tiny_model), RateContinuations(messages=QUESTION, texts=ANSWERS))
    prompt = tiny.tokenizer().encode(f"<|user|>{QUESTION[0].text}<|end|><|assistant|>").ids
    for answer, (sum_nats,) in zip(ANSWERS, nats, strict=True):
        tokens = tiny.tokenizer().encode(answer).ids
        hidden = tiny.reference_hidden(tiny_model, [*prompt, *tokens])[len(prompt) - 1 : -1]
        logits = hidden @ tiny_model.head().T
        expected = sum(
            row[token] - np.log(np.exp(row).sum())
            for row, token in zip(logits, tokens, strict=True)
        )
        assert sum_nats == pytest.approx(expected, abs=2e-3)


@only(*GENERATING)
def test_an_assistants_message_is_gone_on_from(tiny: Any, load: Load) -> None:
    """P(ab) = P(a) P(b | a)."""
    runtime = load(tiny.TinyModel())
    begun = (*QUESTION, Message(role="assistant", content="It "))
    whole, first = found(runtime, RateContinuations(messages=QUESTION, texts=("It is", "It ")))
    then = found(runtime, RateContinuations(messages=begun, texts=("is",)))
    assert whole[0] == pytest.approx(first[0] + then[0][0], abs=1e-4)


# --- passes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"batched_tokens": 16}, {"batched_tokens": 4096}])
@pytest.mark.parametrize("reproducible", [False, True])
@pytest.mark.parametrize("output", ["tokens", "reward", "none"])
def test_texts_read_together_are_as_if_alone(
    tiny: Any, runtime: str, load: Load, output: str, options: dict[str, int], reproducible: bool
) -> None:
    loaded = load(tiny.TinyModel(output=output), reproducible=reproducible, **options)
    texts = tuple(text for text in ANSWERS if text)
    make: dict[str, Callable[[tuple[str, ...]], Any]] = {
        "tokens": lambda texts: RateContinuations(messages=QUESTION, texts=texts),
        "reward": lambda texts: ScoreTexts(messages=QUESTION, texts=texts),
        "none": lambda texts: EmbedTexts(texts=texts),
    }
    together = found(loaded, make[output](texts))
    alone = np.concatenate([found(loaded, make[output]((text,))) for text in texts])
    exact = reproducible or runtime != "openvino"
    np.testing.assert_allclose(together, alone, atol=1e-3 if exact else 0.1)


def forward_of(runtime: Any) -> Any:
    """What computes its passes."""
    loaded = runtime._model if hasattr(runtime, "_model") else runtime._loaded().model
    return loaded.forward


def test_a_pass_computes_as_many_tokens_as_are_allowed_and_a_common_beginning_once(
    tiny: Any, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = load(tiny.TinyModel(output="reward"), batched_tokens=16, reproducible=False)
    forward = forward_of(runtime)
    computed: list[int] = []
    compute = forward.hidden

    def hidden(pieces: Any) -> Any:
        computed.append(sum(len(piece.token_ids) for piece in pieces))
        return compute(pieces)

    monkeypatch.setattr(forward, "hidden", hidden)
    texts = ("one answer", "one other", "one more")
    _, count = passes(runtime.read(ScoreTexts(messages=QUESTION, texts=texts)))
    beginning = len(conversation(tiny, "one ")) - 1
    ends = sum(len(conversation(tiny, text)) - beginning for text in texts)
    assert count == len(computed)
    assert max(computed) == 16
    assert sum(computed) == beginning + ends


REQUEST = GenerateRequest(messages=QUESTION, sampling=SamplingParams(temperature=0, max_tokens=12))


def say(runtime: Any, between: Callable[[], object] = lambda: None) -> str:
    """One greedy sample."""
    prompt = runtime.prepare(REQUEST)
    runtime.add(0, prompt, row_params(REQUEST, prompt, 1, 0))
    said: list[str] = []
    while True:
        for step in runtime.step():
            said.append(step.text)
            if step.finish is not None:
                return "".join(said)
        between()


@only(*GENERATING)
def test_a_sample_beside_texts_says_what_it_says_alone(tiny: Any, load: Load) -> None:
    model = tiny.TinyModel()
    alone = say(load(model))
    runtime = load(model, batched_tokens=16)
    work = runtime.read(RateContinuations(messages=QUESTION, texts=("x" * 400, "y" * 400)))
    assert say(runtime, lambda: next(work)) == alone
    work.close()


@only(*GENERATING)
def test_a_sample_waits_for_texts_that_hold_the_memory_and_they_free_it_when_given_up(
    tiny: Any, load: Load
) -> None:
    runtime = load(tiny.TinyModel(), SMALL, batched_tokens=16)
    prompt = runtime.prepare(REQUEST)
    assert runtime.has_room(prompt)
    work = runtime.read(RateContinuations(messages=QUESTION, texts=("x" * 80,)))
    next(work)
    assert not runtime.has_room(prompt)
    work.close()
    assert runtime.has_room(prompt)


@only(*GENERATING)
def test_texts_wait_for_the_samples_that_hold_the_memory(tiny: Any, load: Load) -> None:
    runtime = load(tiny.TinyModel(), SMALL, batched_tokens=16)
    reading = RateContinuations(messages=QUESTION, texts=("x" * 80,))
    _, alone = passes(runtime.read(reading))
    work = runtime.read(reading)
    say(runtime, lambda: next(work))
    assert not runtime.has_room(runtime.prepare(REQUEST))
    assert passes(work)[1] == alone


SMALL = {"memory_bytes": 300 * 512}
"""Of 300 tokens of the tiny models in float32."""


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "make", "controls"),
    [
        ("reward", partial(ScoreTexts, messages=QUESTION), 4),
        ("none", EmbedTexts, None),
        ("tokens", partial(RateContinuations, messages=QUESTION), 3),
    ],
    ids=["reward", "none", "tokens"],
)
def test_a_text_longer_than_the_context_is_refused_by_its_place(
    tiny: Any,
    load: Load,
    output: str,
    make: Callable[..., Any],
    controls: int | None,
) -> None:
    """One token a byte and one for each mark of the template; what no tokens could hold is not even tokenised."""
    frame = 0 if controls is None else len(QUESTION[0].text) + controls
    fitting = 512 - frame
    runtime = load(tiny.TinyModel(output=output))
    texts = ("fits", "x" * fitting)
    assert len(passes(runtime.read(make(texts=texts)))[0]) == 2
    for more, told in ((1, "513 (tokens|bytes)"), (10**6, "bytes")):
        with pytest.raises(ContextLengthError, match=f" 1 .*{told}"):
            passes(runtime.read(make(texts=("fits", "x" * (fitting + more)))))


@pytest.mark.parametrize(
    ("output", "reading"),
    [
        ("none", EmbedTexts(texts=("fits", ""))),
        ("reward", ScoreTexts(messages=(), texts=("what for?",))),
        ("tokens", RateContinuations(messages=(), texts=("what for?",))),
    ],
)
def test_what_cannot_be_read_is_refused(tiny: Any, load: Load, output: str, reading: Any) -> None:
    with pytest.raises(InvalidRequestError):
        passes(load(tiny.TinyModel(output=output)).read(reading))


READINGS = {
    "reward": ScoreTexts(messages=(), texts=()),
    "none": EmbedTexts(texts=()),
    "tokens": RateContinuations(messages=(), texts=()),
}


@pytest.mark.parametrize("output", READINGS)
def test_no_texts_tell_what_the_model_is_good_for(tiny: Any, load: Load, output: str) -> None:
    runtime = load(tiny.TinyModel(output=output))
    for wanted, reading in READINGS.items():
        if wanted == output:
            assert passes(runtime.read(reading)) == ([], 1)
        else:
            with pytest.raises(UnsupportedError, match="model") as caught:
                passes(runtime.read(reading))
            assert caught.value.hint


@pytest.mark.parametrize("output", ["reward", "none"])
def test_a_model_that_does_not_generate_draws_nothing(tiny: Any, load: Load, output: str) -> None:
    with pytest.raises(UnsupportedError, match="no samples"):
        load(tiny.TinyModel(output=output)).prepare(REQUEST)


@pytest.mark.parametrize(
    ("settings", "modules", "told"),
    [
        ({"pooling_mode": "cls"}, MODULES, "cls"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": True}, MODULES, "lasttoken"),
        (
            {},
            [*MODULES, {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}],
            "Dense",
        ),
        ({}, {"no": "list"}, "modules.json"),
        ({"pooling_mode": [["mean"]]}, MODULES, "pooling"),
        ({}, [{"path": "a\0b", "type": "Pooling"}], "path"),
        ({}, [{"path": "../1_Pooling", "type": "Pooling"}], "path"),
    ],
)
def test_what_would_make_other_vectors_is_refused(
    tiny: Any, load: Load, tmp_path: Path, settings: dict[str, object], modules: Any, told: str
) -> None:
    write_pooling(tmp_path / "model", settings, modules)
    with pytest.raises(ModelLoadError, match=told):
        load(tiny.TinyModel(output="none"))


def test_very_many_texts_are_not_all_made_into_tokens_at_once(tiny: Any, load: Load) -> None:
    """Samples would wait for it, and the deadline: what is wrong with the last one comes later than the first pass."""
    runtime = load(tiny.TinyModel(output="none"))
    work = runtime.read(EmbedTexts(texts=(*["x" * 500] * 150, "x" * 600)))
    next(work)
    with pytest.raises(ContextLengthError, match="text 150"):
        next(work)
