"""Texts that no model, data set or person should be able to do harm with, whatever reads, stores or shows them.

They stand in `data/verify/hostile_text.jsonl`, one a line: `text`, `repeat` times, between `before` and `after`.
"""

import json
from pathlib import Path

FILE = Path(__file__).parent / "data" / "verify" / "hostile_text.jsonl"
SHORT = 5_000
"""Characters up to which a text is short enough to be shown whole on a page or a terminal."""


def read() -> dict[str, str]:
    """Give every text by its name."""
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    texts = {
        row["name"]: row.get("before", "") + row["text"] * row.get("repeat", 1) + row.get("after", "") for row in rows
    }
    assert len(texts) == len(rows), "two texts have one name"
    return texts


TEXTS = read()
SHORT_TEXTS = {name: text for name, text in TEXTS.items() if len(text) <= SHORT}
