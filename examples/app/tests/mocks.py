"""The deployments of the desk's ``ttc.yaml``, and what mocks of them say."""

from __future__ import annotations

from typing import Any

QUESTION = "A train goes 60 km in 45 minutes. How far does it go in 2 hours?"
SMALL = "groq/gpt-oss-20b"
BIG = "groq/gpt-oss-120b"
SPARE = "cerebras/gpt-oss-120b"
LOCAL = "local/smollm2-135m-openvino"
ALL = (SMALL, BIG, SPARE, LOCAL)

Mock = dict[str, Any]
RIGHT: Mock = {"answers": ["2 hours are 120 minutes. The answer is 160."]}
TORN: Mock = {"script": ["The answer is 160.", "The answer is 120."] * 8}
SILENT: Mock = {"answers": ["I would rather talk about the weather."]}
