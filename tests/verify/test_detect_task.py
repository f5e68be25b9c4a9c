"""What kind of task a prompt is taken for."""

from __future__ import annotations

import pytest

from tt_compute.types import Message
from tt_compute.verify.detect import detect_task

PROMPTS = [
    ("If 3 pens cost $4.50, what do 7 cost?", "math"),
    ("What is 7 times 8?", "math"),
    ("What is 7 x 8?", "math"),
    ("What is 17 * 23?", "math"),
    ("12+5=", "math"),
    ("Explain step by step: what is 17 * 23?", "math"),
    ("Tom has 5 apples and buys 3 more. How many apples does he have?", "math"),
    ("A train runs 60 km in 2 hours. What is its average speed?", "math"),
    (r"Compute $\frac{1}{2} + \frac{1}{3}$.", "math"),
    ("Solve x^2 - 5x + 6 = 0 for x.", "math"),
    ("What is 15% of 80?", "math"),
    ("What is the square root of 144?", "math"),
    ("Let $a = 3$. Find the value of $a^2$.", "math"),
    ("What is the capital of France?\nA) London\nB) Paris", "choice"),
    ("Which is prime? (A) 4 (B) 5 (C) 6 (D) 8", "choice"),
    ("How many legs has a spider?\nA. 6\nB. 8", "choice"),
    ("Return the name and age as JSON: Ann is 5.", "json"),
    ("Respond with a JSON object that has the keys a and b.", "json"),
    ("Write a Python function that adds two numbers.", "code"),
    ("Implement a binary search algorithm in C.", "code"),
    ("Complete this:\n\ndef add(a, b):\n", "code"),
    ("What is the capital of France?", "open"),
    ("Who wrote Faust?", "open"),
    ("Write a poem about the number 7.", "open"),
    ("Summarise how many people moved in 2019 and 2020.", "open"),
    ("What happened in 1914 and 1939?", "open"),
    ("What is JSON?", "open"),
    ("Tell me about the code of Hammurabi.", "open"),
    ("What is the best method to cook rice?", "open"),
    ("Hello", "open"),
    ("", "open"),
]


@pytest.mark.parametrize(("prompt", "kind"), PROMPTS)
def test_a_prompt_is_classified_conservatively(prompt: str, kind: str) -> None:
    assert detect_task([Message(role="user", content=prompt)]) == kind


def test_only_the_last_user_message_counts() -> None:
    messages = [
        Message(role="user", content="What is 2 + 2?"),
        Message(role="assistant", content="4. What is 3 + 3?"),
        Message(role="user", content="Who was Euler?"),
        Message(role="system", content="Answer as JSON"),
    ]
    assert detect_task(messages) == "open"
    assert detect_task(messages[:1]) == "math"
    assert detect_task([]) == "open"
