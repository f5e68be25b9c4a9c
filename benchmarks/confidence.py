"""Do log-probabilities tell more of an answer than the votes do? Confidence of recorded votes, judged.

    python benchmarks/confidence.py --data FOLDER --output docs/figures/confidence.md

One half of the questions teaches, as a store would be taught: one run of each, of 1, 2, 4, 8 or 16 samples, judged
right or wrong. The other half judges: votes of each budget, by several orders of the recorded samples. Both halves
take both roles, in several splits. ``--also FILE`` adds recordings, such as those of the embedded model:

    python benchmarks/questions.py "times tables" "word problems" --count 100 --seed 7 > questions.jsonl
    ttc record smollm2_greedy.jsonl --questions questions.jsonl --deployment local/smollm2-135m-openvino \
        --samples 1 --temperature 0 --max-tokens 128 --task math --logprobs
    ttc record smollm2_sampled.jsonl --questions questions.jsonl --deployment local/smollm2-135m-openvino \
        --samples 8 --max-tokens 128 --task math --logprobs
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from confidence_lengths import length_table
from confidence_peers import Run, likelihood_product, logprob_alone, recalibrated
from confidence_scores import Scores, Told, intervals
from recorded import RIGHT, Recorded, load_file, load_gym
from report import conditions, markdown, write
from tt_compute.planning.ability import TaskAbility, ability_of
from tt_compute.planning.confidence import vote_confidence
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.logprobs import LEAST_ANSWERS, logprob_effect
from tt_compute.planning.observations import Observation
from tt_compute.profiles.schema import ModelProfile

LENGTHS = """\
What is learned of a kind of task counts more where prompts are about as long.
Loss of the predicted success rate of one sample, learned from the other half of the questions: 200 of GSM8K, and of each model 700 puzzles of 101 kinds, taken as one kind of task."""
FILES = {"GSM8K, Qwen2.5-0.5B": "gsm8k_qwen05b_k16_logprob.jsonl"}
BUDGETS = (1, 2, 4, 8, 16)
TAUGHT = (10, 20, 50, 100)
EXPLANATION = """\
Of each question of one half one run was judged, of {budgets} samples at random; the other half judges. {splits} random splits, both roles, {orders} orders of the samples.
Recordings named `smollm2` are of the embedded model on times tables and word problems; the head of the script tells how to make them.
Runs in which no sample holds an answer have no confidence and are left out.
Loss: mean of -ln of the probability given to what turned out true. Brier: mean squared error. ECE: mean distance of confidence and accuracy over ten parts of equal size. AUC: how often a right answer is surer than a wrong one.
Less than votes: difference to the first line, negative is better, with a 95 % interval (bootstrap over questions)."""
NAMES = """\
- **votes**: the ability model alone, Bayes over which answer is right.
- **votes, recalibrated**: the same, its log-odds shifted and scaled by logistic regression; whatever log-probabilities bring must be more than this.
- **log-probability alone**: logistic regression on the mean log-probability of all samples, blind to the votes.
- **both**: what the product does: the log-odds of the votes, moved by the mean log-probability of the samples that gave the answer. How cautious it is (one posterior standard deviation) was chosen on these recordings.
- **both, mean of all samples**: the same by the mean of all samples, whatever they answered.
- **both, every sample multiplied**: a normal distribution for right samples, one for wrong ones, and each sample of the answer counted as news of its own."""

Confidence = Callable[[Run], float]


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Questions of one recording, with the votes that can be drawn of them."""

    name: str
    questions: Sequence[Recorded]

    @property
    def budgets(self) -> tuple[int, ...]:
        most = min(len(one.answers) for one in self.questions)
        return tuple(budget for budget in BUDGETS if budget <= most)


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """How often everything is repeated."""

    splits: int
    orders: int
    resamples: int


def vote(place: int, question: Recorded, budget: int, rng: random.Random) -> Run | None:
    """A vote of samples picked at random; None without an answer."""
    assert question.logprobs is not None
    picked = rng.sample(range(len(question.answers)), budget)
    counts = Counter(one for index in picked if (one := question.answers[index]) is not None)
    if not counts:
        return None
    ranked = sorted(counts.items(), key=lambda item: (-item[1], rng.random()))
    leader = ranked[0][0]
    return Run(
        question=place,
        right=leader == RIGHT,
        votes=tuple(count for _, count in ranked),
        abstained=budget - counts.total(),
        own=tuple(question.logprobs[i] for i in picked if question.answers[i] == leader),
        others=tuple(question.logprobs[i] for i in picked if question.answers[i] != leader),
    )


def observation(run: Run, logprob: float | None) -> Observation:
    """What the store makes of a judged run."""
    return Observation(
        right=run.votes[0] if run.right else 0,
        wrong=run.votes[1:] if run.right else run.votes[:1],
        unsure=() if run.right else run.votes[1:],
        abstained=run.abstained,
        right_logprob=logprob if run.right else None,
        wrong_logprob=None if run.right else logprob,
    )


def learned(seen: Iterable[Observation]) -> TaskAbility:
    """Of a model that no profile knows."""
    estimates = Estimates(observations={("m", "math"): tuple(seen)})
    return ability_of(ModelProfile(id="m"), "math", estimates)


def of_votes(ability: TaskAbility) -> Confidence:
    def confidence(run: Run) -> float:
        found = vote_confidence(ability, run.votes, run.abstained)
        assert found is not None
        return found

    return confidence


def of_both(
    ability: TaskAbility, runs: Sequence[Run], logprob: Callable[[Run], float]
) -> Confidence:
    """As ``tt_compute.confidences`` does."""
    votes = of_votes(ability)
    effect = logprob_effect(ability, tuple(observation(run, logprob(run)) for run in runs))
    return lambda run: votes(run) if effect is None else effect.moved(votes(run), logprob(run))


def contestants(runs: Sequence[Run], silent: int) -> dict[str, Confidence]:
    """Everything that is compared, taught by the same judged runs.

    Args:
        runs: Those with an answer.
        silent: Samples in runs without one, by run.
    """
    seen = [observation(run, None) for run in runs]
    ability = learned([*seen, *(Observation(abstained=1) for _ in range(silent))])
    votes = of_votes(ability)
    return {
        "votes": votes,
        "votes, recalibrated": recalibrated(runs, votes),
        "log-probability alone": logprob_alone(runs),
        "both": of_both(ability, runs, lambda run: run.mean_own),
        "both, mean of all samples": of_both(ability, runs, lambda run: run.mean_all),
        "both, every sample multiplied": likelihood_product(runs, votes),
    }


def taught_by(pool: Pool, teachers: Sequence[int], rng: random.Random) -> tuple[list[Run], int]:
    """One run of each question, of a budget that differs, and how many found no answer."""
    found = [vote(at, pool.questions[at], rng.choice(pool.budgets), rng) for at in teachers]
    return [run for run in found if run is not None], found.count(None)


def played(
    pool: Pool, judges: Sequence[int], budget: int, orders: int, rng: random.Random
) -> list[Run]:
    found = [vote(at, pool.questions[at], budget, rng) for at in judges for _ in range(orders)]
    return [run for run in found if run is not None]


def halves(pool: Pool, seed: int) -> tuple[tuple[list[int], list[int]], ...]:
    """(who teaches, who judges), in both roles."""
    places = list(range(len(pool.questions)))
    random.Random(seed).shuffle(places)
    one, other = places[: len(places) // 2], places[len(places) // 2 :]
    return (one, other), (other, one)


def compare(pool: Pool, repeat: Experiment) -> dict[int, dict[str, list[Told]]]:
    """Budget -> contestant -> what it said of each answer."""
    found: dict[int, dict[str, list[Told]]] = {budget: {} for budget in pool.budgets}
    for split in range(repeat.splits):
        for role, (teachers, judges) in enumerate(halves(pool, split)):
            rng = random.Random(f"{split} {role}")
            who = contestants(*taught_by(pool, teachers, rng))
            for budget in pool.budgets:
                runs = played(pool, judges, budget, repeat.orders, rng)
                for name, confidence in who.items():
                    found[budget].setdefault(name, []).extend(
                        Told(run.question, confidence(run), run.right) for run in runs
                    )
    return found


def comparison(found: Mapping[int, Mapping[str, Sequence[Told]]], resamples: int) -> str:
    rows: list[list[object]] = []
    for budget, by_name in found.items():
        plain = by_name["votes"]
        for name, told in by_name.items():
            scores = Scores.of(told)
            gains = ["", ""] if told is plain else intervals(told, plain, resamples)
            rows.append([budget, name, *scores.shown(), *gains])
    header = ["samples", "confidence by", "loss", "Brier", "ECE", "AUC"]
    return markdown([*header, "loss less than votes", "ECE less than votes"], rows)


def learning(pool: Pool, repeat: Experiment) -> str:
    """How many judged runs it takes, by how many samples are drawn then."""
    rows: list[list[object]] = []
    most = len(pool.questions) // 2
    for count in sorted({min(count, most) for count in TAUGHT}):
        told: dict[int, dict[str, list[Told]]] = {budget: {} for budget in pool.budgets}
        for split in range(repeat.splits):
            for role, (teachers, judges) in enumerate(halves(pool, split)):
                rng = random.Random(f"{count} {split} {role}")
                runs, silent = taught_by(pool, teachers[:count], rng)
                who = contestants(runs, silent)
                for budget in pool.budgets:
                    for run in played(pool, judges, budget, 1, rng):
                        for name in ("votes", "both"):
                            said = Told(run.question, who[name](run), run.right)
                            told[budget].setdefault(name, []).append(said)
        gains = (intervals(one["both"], one["votes"], repeat.resamples)[0] for one in told.values())
        rows.append([count, *gains])
    return markdown(["judged runs", *(f"{budget} drawn" for budget in pool.budgets)], rows)


def described(pool: Pool) -> str:
    """What the log-probabilities of single samples look like, as reasons for what follows."""
    pairs = [
        (answer == RIGHT, logprob)
        for one in pool.questions
        for answer, logprob in zip(one.answers, one.logprobs or (), strict=True)
    ]
    right, wrong = (
        [logprob for is_right, logprob in pairs if is_right is kind] for kind in (True, False)
    )
    means = [statistics.fmean(one.logprobs or ()) for one in pool.questions]
    several = len(pool.questions[0].answers) > 1
    share = statistics.pvariance(means) / statistics.pvariance([one for _, one in pairs])
    alike = f" {100 * share:.0f} % of the variance lies between questions." if several else ""
    return (
        f"{len(pool.questions)} questions, {len(pool.questions[0].answers)} samples each; mean log-probability per "
        f"token {statistics.fmean(right):.3f} of right samples, {statistics.fmean(wrong):.3f} of others.{alike}"
    )


def run(pools: Sequence[Pool], repeat: Experiment) -> str:
    text = EXPLANATION.format(
        budgets=", ".join(map(str, BUDGETS)), splits=repeat.splits, orders=repeat.orders
    )
    parts = ["# What log-probabilities tell of an answer", f"{conditions()}.", text, NAMES]
    for pool in pools:
        found = comparison(compare(pool, repeat), repeat.resamples)
        curve = (
            f"Loss of both less than that of votes, by the number of judged runs; below {LEAST_ANSWERS} judged "
            "answers the product leaves log-probabilities alone."
        )
        parts += [f"## {pool.name}", described(pool), found, curve, learning(pool, repeat)]
    return "\n\n".join(parts)


def by_length(folder: Path, repeat: Experiment) -> str:
    """Questions of which the length of the prompt was recorded."""
    pools = {name: load_file(folder / file) for name, file in FILES.items()}
    for (model, _), questions in load_gym(folder).items():
        pools.setdefault(model.rpartition("_")[2], []).extend(questions)
    table = length_table(pools, max(1, repeat.splits // 5), repeat.resamples)
    return f"## Length of the prompt\n\n{LENGTHS}\n\n{table}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recorded samples")
    parser.add_argument(
        "--also", type=Path, action="append", default=[], metavar="FILE", help="a further recording"
    )
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--orders", type=int, default=4)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    paths = {name: options.data / file for name, file in FILES.items()}
    paths |= {path.stem: path for path in options.also}
    pools = [Pool(name=name, questions=load_file(path)) for name, path in paths.items()]
    repeat = Experiment(splits=options.splits, orders=options.orders, resamples=options.resamples)
    text = run(pools, repeat)
    write(options.output, f"{text}\n\n{by_length(options.data, repeat)}")


if __name__ == "__main__":
    main()
