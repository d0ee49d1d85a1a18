"""A fixed set of questions, asked to every model: open ones, and facts whose answer is known."""

from __future__ import annotations

FIXED_PROMPTS = [
    # the classic question of the 2023 tutorials: a small model answers fluently, and wrongly
    {"question": "공산당 선언은 누가 썼나요?", "known": "카를 마르크스와 프리드리히 엥겔스 (1848년)"},
    {"question": "대한민국의 수도는 어디인가요?", "known": "서울"},
    {"question": "삼각형의 세 각을 더하면 몇 도인가요?", "known": "180도"},
    # open questions about what the sample data never speaks of; the second one shows what a system line does
    {"question": "오래된 앨범은 어떻게 보관할까요?", "known": ""},
    {"question": "오래된 앨범은 어떻게 보관할까요?", "known": "", "system": "짧게 답해 주세요."},
]


def fixed_prompts() -> list[list[dict]]:
    """The questions as messages."""
    roles = {"system": "system", "question": "user"}
    return [[{"role": role, "content": row[key]} for key, role in roles.items() if key in row] for row in FIXED_PROMPTS]
