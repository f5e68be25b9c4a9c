"""Sorts messages into classes by vote, and leaves to a human what the votes do not settle.

python examples/classify.py billing,technical,other < messages.txt
"""

from __future__ import annotations

import argparse
import string
import sys

import tt_compute as tt


def classify(client: tt.Client, message: str, classes: list[str], share: float) -> str | None:
    """The class that at least ``share`` of the samples name; None = a human should look."""
    options = "\n".join(
        f"{letter}) {name}" for letter, name in zip(string.ascii_uppercase, classes, strict=False)
    )
    result = client.solve(
        f"Which class does this message belong to?\n\n{message}\n\n{options}\n\nAnswer with a letter.",
        task="choice",
        strategy="majority",
        objective=tt.Objective(max_samples=8),
    )
    # The votes of the answer come first.
    if result.answer is None or result.tally.votes[0] < share * result.receipt.samples_drawn:
        return None
    place = string.ascii_uppercase.index(result.answer)
    return classes[place] if place < len(classes) else None


def main() -> None:
    parser = argparse.ArgumentParser(description="Classification by vote.")
    parser.add_argument("classes", help="separated by commas, at most 26")
    parser.add_argument("--share", type=float, default=0.75, help="of votes that settle it")
    parser.add_argument("--config", help="a ttc.yaml; default: the one that is found")
    options = parser.parse_args()
    classes: list[str] = options.classes.split(",")
    with tt.Client(options.config) as client:
        for line in filter(None, map(str.strip, sys.stdin)):
            print(classify(client, line, classes, options.share) or "HUMAN", line, sep="\t")


if __name__ == "__main__":
    main()
