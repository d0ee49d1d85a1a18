"""A fixed set of questions, asked to every model: open ones, and facts whose answer is known."""

from __future__ import annotations

FIXED_PROMPTS = [
    # the classic question of the 2023 tutorials: a small model answers fluently, and wrongly
    {"question": "공산당 선언은 누가 썼나요?", "known": "카를 마르크스와 프리드리히 엥겔스 (1848년)"},
    {"question": "대한민국의 수도는 어디인가요?", "known": "서울"},
    {"question": "물은 몇 도에서 끓나요?", "known": "섭씨 100도 (1기압에서)"},
    {"question": "잠이 안 올 때는 어떻게 하면 좋을까요?", "known": ""},
    {"question": "친구 생일 선물을 추천해 주세요.", "known": ""},
]


def fixed_prompts() -> list[list[dict]]:
    """The questions as messages."""
    return [[{"role": "user", "content": row["question"]}] for row in FIXED_PROMPTS]
