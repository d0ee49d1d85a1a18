"""A fixed set of questions, asked to every model: facts whose answer is known, and an open one."""

from __future__ import annotations

FIXED_PROMPTS = [
    # a small model answers fluently, and wrongly
    {"question": "Who wrote the Communist Manifesto?", "known": "Karl Marx and Friedrich Engels (1848)"},
    {"question": "Which animal gives us wool?", "known": "sheep"},
    {"question": "How many degrees do the angles of a triangle add up to?", "known": "180"},
    # what no training here speaks of; the second one shows what a system line does
    {"question": "How should I keep old photo albums?", "known": ""},
    {"question": "How should I keep old photo albums?", "known": "", "system": "Answer in five words."},
]


def fixed_prompts() -> list[list[dict]]:
    """The questions as messages."""
    roles = {"system": "system", "question": "user"}
    return [[{"role": role, "content": row[key]} for key, role in roles.items() if key in row] for row in FIXED_PROMPTS]
