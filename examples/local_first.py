"""Asks the model on this machine first, and a cloud only where it is not sure: python examples/local_first.py QUESTION.

What is marked private never leaves the machine: `locality: local` is a constraint, not a preference.
"""

from __future__ import annotations

import argparse

import tt_compute as tt

LOCAL = tt.Objective(locality="local", max_samples=16)
ANYWHERE = tt.Objective(quality=0.95, prefer="cost")


def ask(client: tt.Client, question: str, *, private: bool, wanted: float) -> tt.Result:
    """The local answer if it is sure enough, else that of the cheapest deployment that should be."""
    first = client.solve(question, objective=LOCAL)
    sure = first.answer is not None and (first.confidence or 0.0) >= wanted
    if private or sure:
        return first
    try:
        return client.solve(question, objective=ANYWHERE)
    except tt.BackendError as error:
        print(f"the clouds cannot be had ({error}); this is the local answer")
        return first


def main() -> None:
    parser = argparse.ArgumentParser(description="Local first, a cloud as fallback.")
    parser.add_argument("question")
    parser.add_argument("--private", action="store_true", help="never send it anywhere")
    parser.add_argument("--sure", type=float, default=0.9, help="P(correct) that is enough")
    parser.add_argument("--config", help="a ttc.yaml with a local deployment and others")
    options = parser.parse_args()
    with tt.Client(options.config) as client:
        result = ask(client, options.question, private=options.private, wanted=options.sure)
    chosen = result.plan.chosen
    place = "nowhere" if chosen is None else chosen.deployment
    cost = result.receipt.cost_usd
    price = "unknown cost" if cost is None else f"${cost:.6f}"
    print(f"{result.answer} (from {place}, {price})")


if __name__ == "__main__":
    main()
