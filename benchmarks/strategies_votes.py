"""The section of votes: our strategies in the replay lab, peers as their code describes them, in the same orders."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from report import conditions, markdown
from stop_rules_peers import ADAPTIVE_IN_WAVES, PEERS, Ended
from tt_compute.replay.answers import Question, read_questions
from tt_compute.replay.figures import Figures
from tt_compute.replay.lab import Lab, fixed
from tt_compute.replay.play import Orders, Policy, orders_of
from tt_compute.replay.recording import load_recordings
from tt_compute.reporting import wilson
from tt_compute.verify.base import Answer
from tt_compute.verify.math_process import MathProcess

__all__ = ["TITLE", "section", "table"]

TITLE = "Votes"
SETS = (
    ("GSM8K, Qwen2.5-0.5B", "gsm8k_qwen05b_k16_logprob.jsonl", "gsm8k-test"),
    ("MATH-500, Qwen2.5-1.5B", "math500_qwen15b_k8_prm.jsonl", "MATH-500"),
    ("GSM8K, Qwen2.5-1.5B", "math500_qwen15b_k8_prm.jsonl", "gsm8k-test"),
    ("MATH-100, Qwen2.5-Math", "math100_qwen_k8_with_reward.jsonl", None),
)
RULES = ("beta", "beta:0.8", "dirichlet", "esc", "lead", "ppr", "agreement", "certain")
SHUFFLES = 10
SEED = 0
AHEAD = (0.7, 0.3)
HEADER = [
    "rule", "", "accuracy, % (95 %)", "samples", "tokens", "cancelled", "waves", "latency"
]  # fmt: skip
EXPLANATION = f"""\
Ours run the strategy `majority` itself, on recorded samples in virtual time (`ttc replay`), in deficit waves: only what could still end the vote is drawn.
Peers are restated from their packages' code, none of which was installed or run; they see the same samples in the same {SHUFFLES} orders.
Answers compare as `--equal math`; a sample without an answer has no vote, save in ESC's code, where "no answer" is an answer.
its_hub's Beta decodes all samples at once, votes in the order of ending and pays for what it cancels; MATH-100 has no recorded tokens, so there it cannot be told from one that waits.
The interval is Wilson's over the questions; MATH-500 is 40 questions with three seeds each, so its interval is too narrow. Waves: samples that follow one upon the other, one by one as many as samples.
Cancelled: the part of the tokens in samples that were cut.
Latency: decode steps until the answer over those of one wave of all samples, where every row of a batch advances by one token a step.
Ahead from a chance: samples are drawn, too, that the vote will need with that chance; its answers stay the same."""
Vote = Callable[[Sequence[int | None], Sequence[float]], Ended]


async def section(data: Path) -> str:
    parts = [f"{conditions('math-verify')}.", EXPLANATION]
    process = MathProcess()
    try:
        for name, file, dataset in SETS:
            recordings = load_recordings(data / file)
            mine = [one for one in recordings if dataset in (None, one.dataset)]
            questions, warnings = await read_questions(mine, "math", process)
            assert not warnings, warnings
            parts.append(await table(name, questions))
    finally:
        process.close()
    return "\n\n".join(parts)


async def table(
    name: str, questions: Sequence[Question], further: Mapping[str, Policy] = {}
) -> str:
    """Our rules and the peers' on one set.

    Args:
        name: Of the set.
        questions: With equally many samples each.
        further: Of ours, by the label to show.
    """
    budget = len(questions[0].right)
    lab = Lab(questions, seed=SEED, shuffles=SHUFFLES, bill=None)
    baselines = await lab.baselines(budget)
    full = baselines.fixed_n.latency_tokens_mean

    def row(name: str, note: str, found: Figures | Means) -> list[object]:
        return [*_row(name, note, found), _latency(found, full)]

    rows = [
        row("one sample", "", baselines.single),
        row(f"fixed {budget}", "", baselines.fixed_n),
    ]
    for policy in (fixed(4), *_policies(budget)):
        label = f"`{policy.stop_rule}`" if policy.stop_rule else f"fixed {policy.budget}"
        rows.append(row(label, _note(policy, budget), await lab.figures(policy)))
    rows += [row(label, "ours", await lab.figures(one)) for label, one in further.items()]
    orders = orders_of(questions, SEED, SHUFFLES)
    known = [(question, await _classes(question)) for question in questions]
    peers: dict[str, Vote] = {**PEERS, **ADAPTIVE_IN_WAVES}
    for label, vote in peers.items():
        rows.append(row(label, "as described", _played(known, orders, vote, timed=lab.timed)))
    rows.append(row(f"any of {budget} right", "", baselines.oracle))
    title = f"### {name}: {len(questions)} questions, {budget} samples each"
    return f"{title}\n\n{markdown(HEADER, rows)}"


def _policies(budget: int) -> Iterator[Policy]:
    for rule in RULES:
        yield Policy(strategy="majority", stop_rule=rule, budget=budget, wave=budget)
    yield Policy(strategy="majority", stop_rule="beta", budget=budget, wave=4)
    for rule in ("beta", "beta:0.8", "lead"):
        for ahead in AHEAD:
            yield Policy(
                strategy="majority", stop_rule=rule, budget=budget, wave=budget, ahead=ahead
            )


def _note(policy: Policy, budget: int) -> str:
    if policy.stop_rule is None:
        return ""
    if policy.ahead < 1:
        return f"ours, ahead from {policy.ahead:.0%}"
    return "ours" if policy.wave == budget else f"ours, at most {policy.wave} at once"


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """Of a peer, named as in ``Figures``."""

    accuracy: float
    accuracy_ci95: tuple[float, float]
    samples_mean: float
    output_tokens_mean: float | None
    """None without recorded tokens, as what follows from them."""
    cancelled_tokens_mean: float | None
    waves_mean: float
    latency_tokens_mean: float | None


async def _classes(question: Question) -> list[int | None]:
    """The number of each sample's answer: equal answers, as the strategy compares them, have one number."""
    firsts: list[Answer] = []
    found: list[int | None] = []
    for answer in question.answers:
        if answer is None:
            found.append(None)
            continue
        same = [at for at, one in enumerate(firsts) if await question.task.equivalent(one, answer)]
        if not same:
            firsts.append(answer)
        found.append(same[0] if same else len(firsts) - 1)
    return found


def _played(
    known: Sequence[tuple[Question, Sequence[int | None]]],
    orders: Orders,
    vote: Vote,
    *,
    timed: bool,
) -> Means:
    right: list[float] = []
    ended: list[Ended] = []
    for (question, classes), own in zip(known, orders, strict=True):
        tokens = question.recording.tokens or (1,) * len(classes)
        for order in own:
            answers = [classes[place] for place in order]
            found = vote(answers, [tokens[place] for place in order])
            ended.append(found)
            spoke = [order[answers.index(leader)] for leader in found.leaders]
            # The share of luck that is right; an answer is judged by whoever gave it first, as in the lab.
            right.append(statistics.fmean(question.right[place] for place in spoke) if spoke else 0)
    accuracy = statistics.fmean(right)
    interval = wilson(accuracy * len(known), len(known))
    return Means(
        accuracy=accuracy,
        accuracy_ci95=(max(0.0, interval.low), min(1.0, interval.high)),
        samples_mean=statistics.fmean(one.samples for one in ended),
        output_tokens_mean=statistics.fmean(one.tokens for one in ended) if timed else None,
        cancelled_tokens_mean=(
            statistics.fmean(one.cancelled_tokens for one in ended) if timed else None
        ),
        waves_mean=statistics.fmean(one.waves for one in ended),
        latency_tokens_mean=statistics.fmean(one.steps for one in ended) if timed else None,
    )


def _row(name: str, note: str, found: Figures | Means) -> list[object]:
    low, high = found.accuracy_ci95
    cells = (found.output_tokens_mean, found.cancelled_tokens_mean)
    return [
        name,
        note,
        f"{100 * found.accuracy:.1f} ({100 * low:.0f}-{100 * high:.0f})",
        f"{found.samples_mean:.2f}",
        *("unknown" if cell is None else f"{cell:.0f}" for cell in cells),
        f"{found.waves_mean:.2f}",
    ]


def _latency(found: Figures | Means, full: float | None) -> str:
    if found.latency_tokens_mean is None or full is None:
        return "unknown"
    return f"{found.latency_tokens_mean / full:.2f}"
