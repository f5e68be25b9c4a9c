"""What kind of task a prompt is, in doubt ``open``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tt_compute.profiles.schema import TaskKind
from tt_compute.types import Message
from tt_compute.verify.choice_task import find_options

__all__ = ["detect_task"]

MAX_PROMPT_CHARS = 20_000
"""Looked at from each end of a longer prompt."""

_JSON = re.compile(
    r"\b(?:return|respond|reply|answer|output|produce|give|format|write|generate|print|convert|provide)\b"
    r"[^.?!\n]{0,80}\bjson\b(?!\s+(?:file|parser|library|schema\s+is))"
    r"|\bas\s+(?:a\s+|valid\s+)?json\b|\bvalid\s+json\b|\bjson\s+(?:object|array|document)\s+with\b",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"\b(?:write|implement|complete|create|code|develop|fix|refactor|debug|define)\b[^.?!\n]{0,60}"
    r"\b(?:function|program|script|method|class|code|regex|regular\s+expression|sql|query|algorithm|decorator)\b"
    r"|^[ \t]*(?:def|class)[ \t]+\w+[^\n]*:[ \t]*$|^[ \t]*```",
    re.IGNORECASE | re.MULTILINE,
)
_COMPUTATION = re.compile(
    r"[0-9)]\s?(?:[-+*/^\u00d7÷\u2212·]|\\times|\\cdot|\\div)\s?[0-9(\\]"
    r"|[0-9]\s(?:x|plus|minus|times|multiplied\sby|divided\sby|modulo|mod)\s[0-9]"
    r"|[0-9]\s?%\s(?:of|off)\b|[0-9]\spercent\sof\b|\b(?:sum|product|difference)\sof\s[0-9]"
    r"|\b(?:square|cube)\sroot\sof\b|\b(?:gcd|lcm)\b",
    re.IGNORECASE,
)
_FORMULA = re.compile(
    r"\\(?:frac|sqrt|sum|int|binom|sin|cos|tan|log|ln|pi|theta|mathbb)\b|\$[^$\n]{1,200}\$"
    r"|\b[a-z]\s?(?:\^|=)\s?-?[0-9a-z(]|[0-9][a-z]\b\s?[-+=]",
)
_MATH_VERB = re.compile(
    r"\b(?:solve|calculate|compute|evaluate|simplify|factor(?:ise|ize)?|differentiate|integrate|find|determine"
    r"|what\s(?:is|are|was|will)|convert)\b",
    re.IGNORECASE,
)
_QUANTITY = re.compile(
    r"\bhow\s(?:many|much|long|far|fast|old|tall|big|heavy|often)\b|\bwhat\s(?:percent(?:age)?|fraction|number)\b",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"\b(?:what|how|find|calculate|compute|determine)\b", re.IGNORECASE)
_MEASURED = re.compile(
    r"[$€£]\s?[0-9]|\b(?:cost|costs|price|total|altogether|each|per|left|remain(?:s|ing)?|average|speed|area"
    r"|perimeter|volume|probability|percent|twice|half|profit|sum|difference|ratio|earns?|sells?|buys?)\b",
    re.IGNORECASE,
)
_WRITING = re.compile(
    r"\s*(?:please\s+|can\s+you\s+|could\s+you\s+)?(?:write|explain|describe|summari[sz]e|translate|list|draft"
    r"|tell\s+me|discuss|compose|rewrite|prove|compare|suggest|recommend|give\s+me)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![A-Za-z0-9])[0-9][0-9,.]*")
_TWO = 2


def detect_task(messages: Sequence[Message]) -> TaskKind:
    """The kind of the last user message.

    ``json`` and ``code`` when they are asked for, ``choice`` when there are lettered options, ``math``
    when a number is: a computation, a formula with a verb, "how many", or a question over several
    numbers with a measure in it. Everything else is ``open``.
    """
    prompt = next((message.text for message in reversed(messages) if message.role == "user"), "")
    if len(prompt) > 2 * MAX_PROMPT_CHARS:
        prompt = f"{prompt[:MAX_PROMPT_CHARS]}\n{prompt[-MAX_PROMPT_CHARS:]}"
    if _JSON.search(prompt):
        return "json"
    if find_options(prompt):
        return "choice"
    if _CODE.search(prompt):
        return "code"
    return "math" if _is_math(prompt) else "open"


def _is_math(prompt: str) -> bool:
    writing = _WRITING.match(prompt) is not None
    if _COMPUTATION.search(prompt) or (_FORMULA.search(prompt) and _MATH_VERB.search(prompt)):
        return not writing or prompt.rstrip().endswith("?")
    if writing:
        return False
    if _QUANTITY.search(prompt):
        return True
    numbers = _NUMBER.findall(prompt)
    return bool(len(numbers) >= _TWO and _QUESTION.search(prompt) and _MEASURED.search(prompt))
