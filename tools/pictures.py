"""Draws the pictures of ``docs/how-a-request-is-planned.md`` into ``docs/pictures``: ``python tools/pictures.py``.

Plain SVG from the standard library: readable on a code host and on the site, without a script in the page.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

__all__ = ["FOLDER", "PICTURES"]

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
INK, PALE, ACCENT, FAINT = "#1f2937", "#eef2ff", "#4f46e5", "#9ca3af"


class Box(NamedTuple):
    """A labelled rectangle; the first line is bold."""

    x: int
    y: int
    width: int
    lines: tuple[str, ...]
    stroke: str = ACCENT
    fill: str = PALE

    @property
    def height(self) -> int:
        return 14 + 18 * len(self.lines)


def svg(width: int, height: int, title: str, *parts: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">\n<title>{escape(title)}</title>\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{INK}"/></marker></defs>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def box(one: Box) -> str:
    lines = [
        (
            f'<rect x="{one.x}" y="{one.y}" width="{one.width}" height="{one.height}" rx="6" '
            f'fill="{one.fill}" stroke="{one.stroke}"/>'
        )
    ]
    for i, line in enumerate(one.lines):
        weight = "bold" if i == 0 else "normal"
        lines.append(text(one.x + one.width // 2, one.y + 22 + 18 * i, line, weight=weight))
    return "\n".join(lines)


def text(
    x: int, y: int, said: str, *, weight: str = "normal", fill: str = INK, anchor: str = "middle"
) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}">'
        f"{escape(said)}</text>"
    )


def arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{INK}" marker-end="url(#tip)"/>'


def request() -> str:
    """From the question to the receipt, and back into the next plan."""
    stages = [
        ("Request", "question, objective"),
        ("Planner", "candidates, choice"),
        ("Strategy", "draws, votes, stops"),
        ("Dispatcher", "retry, limits, caps"),
        ("Backend", "runs the model"),
    ]
    boxes = [Box(16 + 168 * i, 70, 140, lines) for i, lines in enumerate(stages)]
    links = [arrow(b.x + b.width, 92, b.x + b.width + 28, 92) for b in boxes[:-1]]
    result = Box(352, 180, 140, ("Result", "answer, receipt"))
    store = Box(184, 180, 140, ("Store", "what runs taught"))
    profiles = Box(184, 8, 140, ("Profiles (YAML)",), FAINT, "#f9fafb")
    return svg(
        872,
        250,
        "The way of a request",
        *map(box, [*boxes, result, store, profiles]),
        *links,
        arrow(422, 120, 422, 180),
        arrow(352, 205, 324, 205),
        arrow(254, 180, 254, 120),
        arrow(254, 40, 254, 70),
        text(760, 145, "samples come back one by one", fill=FAINT),
    )


def choice() -> str:
    """Candidates by p95 latency and quality: those that meet the constraints, and the one that is chosen."""
    left, bottom, right, top = 70, 250, 560, 30
    points = [(0.15, 0.35), (0.25, 0.62), (0.42, 0.8), (0.55, 0.86), (0.8, 0.94), (0.35, 0.45)]
    limit, floor = 0.65, 0.7
    parts = [
        (
            f'<rect x="{left}" y="{top}" width="{int((right - left) * limit)}" '
            f'height="{int((bottom - top) * (1 - floor))}" fill="{PALE}"/>'
        ),
        arrow(left, bottom, right, bottom),
        arrow(left, bottom, left, top - 12),
        text(right, bottom + 20, "p95 latency", anchor="end"),
        text(left + 8, top - 12, "predicted quality", anchor="start"),
        text(left + 8, top + 18, "meets every constraint", fill=ACCENT, anchor="start"),
    ]
    for x, y in points:
        chosen = (x, y) == points[3]
        px, py = int(left + x * (right - left)), int(bottom - y * (bottom - top))
        fill = ACCENT if chosen else FAINT
        parts.append(f'<circle cx="{px}" cy="{py}" r="{8 if chosen else 5}" fill="{fill}"/>')
        if chosen:
            parts.append(text(px, py + 26, "chosen: the best quality in it", fill=ACCENT))
    return svg(590, 290, "Constraints first, then what is preferred", *parts)


def waves() -> str:
    """A vote under beta:0.95: four are drawn, one disagrees, and what it rules out is drawn at once."""
    rows = [("A", 0, 90), ("A", 0, 110), ("B", 0, 120), ("A", 0, 260), ("A", 120, 170)]
    rows += [("A", 120, 250), ("A", 120, 200)]
    parts = [text(16, 24, "sample", anchor="start", fill=FAINT), text(120, 24, "time", fill=FAINT)]
    for i, (answer, start, length) in enumerate(rows):
        y = 40 + 28 * i
        fill = "#fde68a" if answer == "B" else "#c7d2fe"
        parts += [
            text(40, y + 15, str(i)),
            f'<rect x="{100 + start}" y="{y}" width="{length}" height="20" rx="4" fill="{fill}"/>',
            text(100 + start + length - 14, y + 15, answer, weight="bold"),
        ]
    parts += [
        f'<line x1="470" y1="36" x2="470" y2="240" stroke="{ACCENT}" stroke-dasharray="4 3"/>',
        text(478, 60, "settled at 6 : 1", anchor="start", fill=ACCENT),
        text(478, 80, "(posterior 0.965)", anchor="start", fill=ACCENT),
        text(300, 262, "Four could settle it; B rules that out, so three more start at once."),
    ]
    return svg(620, 280, "A deficit wave", *parts)


PICTURES = {"request.svg": request, "choice.svg": choice, "waves.svg": waves}


def main() -> None:
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
