"""Answers questions of arithmetic, as sure of each as you ask: python examples/math_helper.py "What is 12 times 11?".

The quality is a target: more samples are drawn where the model wavers, and fewer where it does not. Where no
plan reaches it, the nearest one runs and says so.
"""

from __future__ import annotations

import argparse

import tt_compute as tt


def answer(client: tt.Client, question: str, quality: float) -> str:
    result = client.solve(question, task="math", objective=tt.Objective(quality=quality))
    if result.answer is None:
        return f"{question} I do not know."
    sure = "unknown" if result.confidence is None else f"{result.confidence:.0%}"
    receipt = result.receipt
    lines = [f"{question} {result.answer} (sure: {sure}; {receipt.samples_drawn} samples)"]
    return "\n".join([*lines, *(f"  note: {warning}" for warning in result.warnings)])


def main() -> None:
    parser = argparse.ArgumentParser(description="A math helper.")
    parser.add_argument("questions", nargs="+", metavar="QUESTION")
    parser.add_argument("--quality", type=float, default=0.9, help="wanted P(correct)")
    parser.add_argument("--config", help="a ttc.yaml; default: the one that is found")
    options = parser.parse_args()
    with tt.Client(options.config) as client:
        for question in options.questions:
            print(answer(client, question, options.quality))


if __name__ == "__main__":
    main()
