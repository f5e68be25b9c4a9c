"""LaTeX around an answer: taken off where it is dressing, put into one spelling where it is the answer."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["canonical_latex", "undress", "ungroup", "unwrap_text"]

_REPLACED = (
    (re.compile(r"\\(?:left|right|displaystyle|big|Big|bigl|bigr|limits)(?![A-Za-z])"), ""),
    (re.compile(r"\\[!,]"), ""),
    (re.compile(r"\\(?:[;: ]|quad(?![A-Za-z])|qquad(?![A-Za-z]))|~|\u00a0|\u202f|\u2009"), " "),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\^\s?\{?\s?\\circ\s?\}?|\\degree(?![A-Za-z])"), "°"),
    (re.compile(r"\\(?:approx|simeq|thickapprox)(?![A-Za-z])|≈"), "="),
    (re.compile("\u2212"), "-"),
    (re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])|π"), r"\\pi "),
    (
        re.compile(r"(?<![A-Za-z\\])sqrt\s?\(([^()]{1,80})\)|√\(([^()]{1,80})\)|√([0-9]+|[a-z])"),
        r"\\sqrt{\1\2\3}",
    ),
    (re.compile("\u00d7"), r"\\times "),
    (re.compile("÷"), r"\\div "),
    (re.compile("≤"), r"\\le "),
    (re.compile("≥"), r"\\ge "),
    (re.compile("∞"), r"\\infty "),
    (re.compile(r"\\\$|\$|\\[()\[\]]|\*\*|__|`"), " "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"(?<![0-9A-Za-z)}\]] )(?<![0-9A-Za-z)}\]])- (?=[0-9.\\])"), "-"),
)
_WRAPPED = re.compile(
    r"\s*\\(?:text|textbf|textrm|textit|texttt|mathrm|mathbf|mathit|mbox|boxed|fbox|underline|bf)"
    r"\s?\{([^{}]*)\}\s*[.]?\s*"
)
_GROUPED = re.compile(r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mbox)\s?\{([^{}]*)\}")
_EDGES = " \t\n\"',;:!?*_"
_VULGAR = re.compile("[¼-¾⅐-⅞]")


def undress(text: str) -> str:
    """``text`` without math delimiters, spacing commands, emphasis, currency escapes and outer punctuation."""
    text = _VULGAR.sub(lambda match: " " + unicodedata.normalize("NFKC", match[0]), text)
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    return text.rstrip(_EDGES + ".").lstrip(_EDGES)


def unwrap_text(text: str) -> str:
    r"""``X`` of ``\text{X}`` and its like when that is all there is, else ``text``."""
    match = _WRAPPED.fullmatch(text)
    while match is not None:
        text = match[1].strip(_EDGES)
        match = _WRAPPED.fullmatch(text)
    return text


def canonical_latex(text: str) -> str:
    """One spelling for expressions that differ only in white space.

    A space stays where dropping it would change the meaning: between two digits, and between a
    command and a letter.
    """
    pieces: list[str] = []
    spaced = False
    for token in re.findall(r"\\[A-Za-z]+|\\.|\s+|.", text, re.DOTALL):
        if token.isspace():
            spaced = True
            continue
        if spaced and pieces and _needs_space(pieces[-1], token):
            pieces.append(" ")
        pieces.append(token)
        spaced = False
    return "".join(pieces)


def _needs_space(left: str, right: str) -> bool:
    command = len(left) > 1 and left[-1].isalpha()
    return (command and right[0].isalpha()) or (left[-1].isdigit() and right[0].isdigit())


def ungroup(text: str) -> str:
    r"""``text`` with every ``\text{...}`` and its like replaced by what it holds."""
    return _GROUPED.sub(r" \1 ", text)
