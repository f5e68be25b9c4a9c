"""Answers a file of questions under one budget: python examples/nightly.py questions.jsonl --max-cost-usd 0.50.

The budget is spent where it brings the most, and never exceeded. One question that fails costs the others nothing.
A line of the file: {"id": "a", "prompt": "What is 12 times 12?"}
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import tt_compute as tt


def answered(client: tt.Client, prompts: list[str], budget: tt.Budget) -> list[str | None]:
    """The answers in order; None where a question failed or has none."""
    results = client.solve_many(prompts, budget=budget, concurrency=8, on_error="return")
    done = [result for result in results if isinstance(result, tt.Result)]
    costs = [result.receipt.cost_usd for result in done]
    known = sum(cost for cost in costs if cost is not None)
    unknown = sum(cost is None for cost in costs)
    samples = sum(result.receipt.samples_drawn for result in done)
    print(
        f"{len(done)} of {len(prompts)} questions, {samples} samples, ${known:.4f}"
        + (f", {unknown} of unknown cost" if unknown else ""),
        file=sys.stderr,
    )
    return [result.answer if isinstance(result, tt.Result) else None for result in results]


def main() -> None:
    parser = argparse.ArgumentParser(description="A batch under a budget.")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--max-cost-usd", type=float)
    parser.add_argument("--max-samples", type=int)
    parser.add_argument("--config", help="a ttc.yaml; default: the one that is found")
    options = parser.parse_args()
    lines = options.questions.read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines if line.strip()]
    budget = tt.Budget(max_cost_usd=options.max_cost_usd, max_samples=options.max_samples)
    with tt.Client(options.config) as client:
        answers = answered(client, [item["prompt"] for item in items], budget)
    for item, answer in zip(items, answers, strict=True):
        print(json.dumps({"id": item["id"], "answer": answer}, ensure_ascii=False))


if __name__ == "__main__":
    main()
