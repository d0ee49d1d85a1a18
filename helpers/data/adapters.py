"""One function a format: the values of its columns -> turns. A text of the user is taken letter by letter.

Only what the file itself holds as a list or an object is structure; a text that looks like JSON is a text.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from helpers.data.columns import Beside, as_number, as_text, from_json, missing
from helpers.data.reasons import Reason, Repair, Unusable
from helpers.data.role_tokens import parse_text
from helpers.data.turns import listed_turns, message


def marked_text(values: list, row: dict, form, repairs: list[Repair]) -> list[dict]:
    """open-korean-instructions: one text with role tokens."""
    if not isinstance(values[0], str):
        raise Unusable(Reason.TEXT_MISSING)
    return parse_text(values[0], str(row.get("source", "")), repairs)


def messages(values: list, row: dict, form, repairs: list[Repair]) -> list[dict]:
    """A list of turns, which a CSV file holds as text."""
    return listed_turns(values[0], repairs, form.tabular)


def question_answer(values: list, row: dict, form, repairs: list[Repair]) -> list[dict]:
    """A question and an answer: two texts, two lists of texts, or TRL's two lists of messages."""
    question, answer = values
    if form.lists:  # asked for by dataset_format: several questions in one cell
        question, answer = from_json(question), from_json(answer)
    if isinstance(answer, dict) and isinstance(answer.get("text", answer.get("input_text")), list):  # SQuAD, CoQA
        answer = answer.get("text", answer.get("input_text"))
        answer = answer[:1] if isinstance(question, str) else answer
    if _is_turns(question) and isinstance(answer, list):
        return listed_turns(question + answer, repairs, form.tabular)
    if not isinstance(question, list) and not isinstance(answer, list):
        return _pair(question, answer, repairs)
    questions, answers = ([side] if not isinstance(side, list) else side for side in (question, answer))
    if len(questions) != len(answers) or not questions:
        raise Unusable(Reason.COUNTS, questions=len(questions), answers=len(answers))
    return [turn for pair in zip(questions, answers, strict=True) for turn in _pair(*pair, repairs)]


def preference(values: list, row: dict, form, repairs: list[Repair]) -> list[dict]:
    """A preference pair: the question, where it has a column of its own, and the chosen answer."""
    *question, chosen, _ = values
    repairs.append(Repair.PAIR)
    chosen = [chosen] if isinstance(chosen, dict) else chosen
    if isinstance(chosen, str) and not question:
        return _human_assistant(chosen)
    turns = listed_turns(chosen, repairs, form.tabular) if isinstance(chosen, list) else _said("assistant", chosen)
    if not question:
        return turns
    if form.columns[0].strip().lower() in ("conversations", "messages"):
        question = [from_json(question[0])]
    asked = (
        listed_turns(question[0], repairs, form.tabular)
        if isinstance(question[0], list)
        else _said("user", question[0])
    )
    begins_with_it = turns[: len(asked)] == asked or (len(turns) > 1 and turns[0]["content"] == asked[0]["content"])
    return turns if begins_with_it else asked + turns


ADAPTERS: dict[str, Callable] = {
    "preference": preference,
    "messages": messages,
    "open-korean-instructions": marked_text,
    "instruction": question_answer,
    "prompt-completion": question_answer,
    "question-answer": question_answer,
}


def put_beside(turns: list[dict], found: Beside, repairs: list[Repair]) -> list[dict]:
    """`turns` with the columns beside them in their places."""
    if found.context:
        _add_context(turns, found.context)
    answers = [turn for turn in turns if turn["role"] == "assistant"]
    if found.thought and answers and not answers[-1].get("reasoning_content"):
        answers[-1]["reasoning_content"] = found.thought
    if found.history:
        turns = [*_earlier(found.history, repairs), *turns]
    if found.system and not any(turn["role"] == "system" and turn["content"] == found.system for turn in turns):
        turns = [message("system", found.system), *turns]
    return turns


def _add_context(turns: list[dict], context: str) -> None:
    first = next((turn for turn in turns if turn["role"] == "user"), None)
    if first is None or not isinstance(first["content"], str):
        raise Unusable(Reason.NOT_TEXT)
    if context not in first["content"]:
        first["content"] = f"{first['content']}\n\n{context}" if first["content"].strip() else context


def _earlier(history: tuple, repairs: list[Repair]) -> list[dict]:
    """Turns of a history: pairs of question and answer, or turns."""
    turns = []
    for entry in history:
        if not isinstance(entry, (list, tuple)):
            turns.append(entry)
        elif len(entry) == 2:
            turns += _pair(*entry, repairs)
        else:
            raise Unusable(Reason.HISTORY_NO_PAIRS)
    if all(isinstance(turn, dict) and "role" in turn and "content" in turn for turn in turns):
        return turns
    try:
        return listed_turns(turns, repairs)
    except Unusable:
        raise Unusable(Reason.HISTORY_NO_PAIRS) from None


def _pair(question: object, answer: object, repairs: list[Repair]) -> list[dict]:
    if isinstance(answer, bool):
        answer = str(answer).lower()
        repairs.append(Repair.WORD)
    return [*_said("user", _written(question, repairs)), *_said("assistant", _written(answer, repairs))]


def _written(value: object, repairs: list[Repair]) -> object:
    """An object in place of a text, as data for extraction holds it, as its JSON; all else as it is."""
    if not isinstance(value, dict) or not value or "role" in value:
        return value
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        return value
    repairs.append(Repair.OBJECT)
    return text


def _said(role: str, value: object) -> list[dict]:
    """One turn; a number becomes its text, and what is no text is refused when the conversation is normalised."""
    if isinstance(value, (int, float)) and as_number(value) is not None and not missing(value):
        value = as_text(value)
    return [message(role, value)]


def _is_turns(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(turn, dict) for turn in value)


def _human_assistant(text: str) -> list[dict]:
    """ "\\n\\nHuman: ... \\n\\nAssistant: ...", as hh-rlhf writes a whole conversation."""
    marked = "\n\n" + text.lstrip()
    for role, name in (("user", "Human"), ("assistant", "Assistant")):
        marked = marked.replace(f"\n\n{name}:", f"\0{role}\1")
    parts = [part.partition("\1") for part in marked.split("\0")]
    turns = [message(role, text) for role, mark, text in parts if mark]
    if not turns:
        raise Unusable(Reason.CHOSEN)
    return turns
