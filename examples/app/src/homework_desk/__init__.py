"""Answers pupils' homework questions: well enough, soon enough, and within an allowance."""

from __future__ import annotations

from homework_desk.allowance import Allowance, AllowanceSpent
from homework_desk.desk import CONFIG_FILE, Desk, DeskClosed, QuestionRefused, Reply, Rules

__all__ = [
    "CONFIG_FILE",
    "Allowance",
    "AllowanceSpent",
    "Desk",
    "DeskClosed",
    "QuestionRefused",
    "Reply",
    "Rules",
]
