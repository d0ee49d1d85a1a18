"""One function a format: the values of its columns -> turns. A text of the user is taken letter by letter.

Only what the file itself holds as a list or an object is structure; a text that looks like JSON is a text, but for
turns where a format has them (a CSV file holds TRL's as text). Structure that is no turn, as data for extraction hold
it, is written as JSON.
"""

import re
import unicodedata
from collections.abc import Callable

from helpers.data.columns import Beside
from helpers.data.reasons import Reason, Repair, Unusable
from helpers.data.role_tokens import parse_text
from helpers.data.turns import listed_turns, message, with_context
from helpers.data.values import from_json, in_words, is_turn, is_turns

HH_RLHF = re.compile(r"\n\n(Human|Assistant):")  # how hh-rlhf writes a whole conversation as one text


def question_answer(values: list, row: dict, form, repairs: list[Repair]) -> list[dict]:
    """A question and an answer: two texts, TRL's two lists of messages, or several questions and their answers."""
    (question, answer), several = values, form.several
    read = [*map(from_json, values)] if form.lists else []
    if all(isinstance(side, list) and len(side) > 1 for side in read) and len({*map(len, read)}) == 1:
        (question, answer), several = read, True
    if form.name == "prompt-completion" and is_turns(asked := _turns_in(question)):
        question, answer = asked, _turns_in(answer)
    if is_turns(question) or is_turns(answer) or not several:
        return _pair(question, answer, form, repairs)
    if isinstance(answer, dict) and "answer_start" in answer:  # SQuAD, CoQA
        texts = answer.get("text", answer.get("input_text"))
        answer = texts[:1] if isinstance(question, str) and isinstance(texts, list) else texts
    questions, answers = (side if isinstance(side, list) else [side] for side in (question, answer))
    if len(questions) != len(answers) or not questions:
        raise Unusable(Reason.COUNTS, questions=len(questions), answers=len(answers))
    return [turn for q, a in zip(questions, answers, strict=True) for turn in _pair(q, a, form, repairs)]


def preference(values: list, row: dict, form, repairs: list[Repair]) -> list[dict]:
    """A preference pair: the question, where it has a column of its own, and the chosen answer."""
    *questions, chosen, rejected = values
    repairs.append(Repair.PAIR)
    if is_turns(_turns_in(rejected)):
        chosen = _turns_in(chosen)
    if not questions:
        return _human_assistant(chosen) if isinstance(chosen, str) else listed_turns(chosen, repairs, form.tabular)
    turns, question = _side("assistant", chosen, form, repairs), _turns_in(questions[0])
    if form.columns[0].strip().lower() in ("conversations", "messages"):
        question = from_json(question)
    as_list = isinstance(question, list)
    asked = listed_turns(question, repairs, form.tabular) if as_list else _side("user", question, form, repairs)
    return _asked_once(asked, turns)


ADAPTERS: dict[str, Callable] = {
    "preference": preference,
    "messages": lambda values, row, form, repairs: listed_turns(values[0], repairs, form.tabular),
    "open-korean-instructions": lambda values, row, form, repairs: parse_text(
        values[0], str(row.get("source", "")), repairs
    ),
    "instruction": question_answer,
    "prompt-completion": question_answer,
    "question-answer": question_answer,
}


def _asked_once(asked: list[dict], turns: list[dict]) -> list[dict]:
    """The question and the chosen turns, which may begin with it, or be the conversation that it ends."""
    (system, asked), (own, turns) = map(_without_system, (asked, turns))
    before, said = ([_as_compared(turn) for turn in side] for side in (asked, turns))
    last = [turn for turn in said if turn[0] == "user"][-1:]
    both = next((n for n in range(min(len(before), len(said)), 0, -1) if before[-n:] == said[:n]), 0)
    more = [] if before == last else asked[: len(asked) - both]
    same = [*map(_as_compared, system)] == [*map(_as_compared, own)]
    return [*([] if same else system), *own, *more, *turns]


def _without_system(turns: list[dict]) -> tuple[list[dict], list[dict]]:
    """The system turn at the head, if there is one, and all others."""
    head = int(turns[:1] != [] and turns[0]["role"] == "system")
    return turns[:head], turns[head:]


def _as_compared(turn: dict) -> tuple:
    """Who speaks, the words (whatever stands between them, however their letters are put together), and the calls."""
    return turn["role"], unicodedata.normalize("NFC", str(turn["content"])).split(), turn.get("tool_calls")


def put_beside(turns: list[dict], columns: Beside, form, repairs: list[Repair]) -> list[dict]:
    """`turns` with the columns beside them in their places."""
    if columns.context:
        first = next((turn for turn in turns if turn["role"] == "user"), {})
        question = first.get("content")
        if not isinstance(question, str):
            raise Unusable(Reason.NOT_TEXT)
        first["content"] = with_context(question, columns.context)
    answers = [turn for turn in turns if turn["role"] == "assistant"]
    if columns.thought and answers and not answers[-1].get("reasoning_content"):
        answers[-1]["reasoning_content"] = columns.thought
    if columns.history:
        earlier = _earlier(columns.history, form, repairs)
        again = [*map(_as_compared, earlier[-1:])] == [*map(_as_compared, turns[:1])]  # it ends with the question
        turns = [*(earlier[:-1] if again else earlier), *turns]
    system = message("system", columns.system)
    if columns.system and _as_compared(system) not in map(_as_compared, turns):
        turns = [system, *turns]
    return turns


def _earlier(history: tuple, form, repairs: list[Repair]) -> list[dict]:
    """Turns of a history: pairs of question and answer, or turns as a conversation lists them."""
    if all(isinstance(entry, (list, tuple)) and len(entry) == 2 for entry in history):
        return [turn for question, answer in history for turn in _pair(question, answer, form, repairs)]
    if not (is_turns([*history]) or all(isinstance(entry, str) for entry in history)):
        raise Unusable(Reason.HISTORY_NO_PAIRS)
    return listed_turns(history, repairs, form.tabular)


def _turns_in(value: object) -> object:
    """The turns that a table holds as text; all else as it is, for a user's text stays a text."""
    read = from_json(value)
    turns = [read] if is_turn(read) else read
    return turns if is_turns(turns) else value


def _pair(question: object, answer: object, form, repairs: list[Repair]) -> list[dict]:
    return [*_side("user", question, form, repairs), *_side("assistant", answer, form, repairs)]


def _side(role: str, value: object, form, repairs: list[Repair]) -> list[dict]:
    """One side of a pair: turns as they are, or what `role` says."""
    turns = [value] if is_turn(value) else value
    if is_turns(turns):
        return listed_turns(turns, repairs, form.tabular)
    return [message(role, in_words(value, repairs, form.tabular))]


def _human_assistant(text: str) -> list[dict]:
    before, *parts = HH_RLHF.split("\n\n" + text.lstrip())
    if not parts:
        raise Unusable(Reason.CHOSEN)
    roles = {"Human": "user", "Assistant": "assistant"}
    system = [message("system", before)] if before.strip() else []
    return system + [message(roles[name], part) for name, part in zip(parts[::2], parts[1::2], strict=True)]
