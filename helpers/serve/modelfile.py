"""An Ollama Modelfile made from the training template: every piece comes from rendering it, none is typed by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from helpers.show.words import _
from helpers.template.chat import adds_bos, fold_system, render, stop_ids, takes_system

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = re.compile("⟦.⟧")
SYSTEM = {"role": "system", "content": "⟦s⟧"}
Q1, Q2 = {"role": "user", "content": "⟦1⟧"}, {"role": "user", "content": "⟦3⟧"}
A1, A2 = {"role": "assistant", "content": "⟦2⟧"}, {"role": "assistant", "content": "⟦4⟧"}
THOUGHT = {"role": "assistant", "content": "<think>⟦t⟧</think>⟦2⟧"}


@dataclass(frozen=True)
class Pieces:
    """What the template writes: `opening`, then before and after each user's turn, before and after each answer."""

    opening: str  # of a conversation without a system turn
    system: tuple[str, str] | None  # before and after the system text, in place of `opening`
    before_user: str
    after_user: str  # with the generation prompt
    before_answer: str  # what a past answer has between the generation prompt and its text
    after_answer: str
    thinking: bool = False  # the template takes <think>...</think> out of past answers

    def put_together(self, messages: list[dict]) -> str:
        """A conversation from the pieces, as the Modelfile's template will write it, which asks for an answer."""
        text, note = self.opening, ""
        if messages[0]["role"] == "system":
            system, *messages = messages
            if self.system:
                text = self.system[0] + system["content"] + self.system[1]
            else:
                note = system["content"] + "\n\n"  # before the first question, as chat.fold_system does
        for message in messages:
            if message["role"] == "user":
                text, note = text + self.before_user + note + message["content"] + self.after_user, ""
            else:
                text += self.before_answer + message["content"] + self.after_answer
        return text


def template_pieces(tokenizer: PreTrainedTokenizerBase) -> Pieces:
    """The pieces of the chat template. Raises ValueError for one that is more (a date, counters, changing turns)."""
    if writes_date(tokenizer):
        sentence = _(
            "The chat template writes today's date, and a Modelfile would keep the day on which it was made: serve the "
            "model with vLLM or llama.cpp's own server, which fill the template in anew for every question."
        )
        raise ValueError(sentence)
    try:
        pieces = _pieces(tokenizer)
    except Exception:  # a template may fail in any way on what it does not take: a second question, say
        pieces = None
    if pieces is None:
        sentence = _("The chat template cannot be written as an Ollama template: serve the model with vLLM instead.")
        raise ValueError(sentence)
    return pieces


def _pieces(tokenizer: PreTrainedTokenizerBase) -> Pieces | None:
    """As `template_pieces`; None where they do not make the template's own text."""
    start, _answered, after_answer = MARK.split(render(tokenizer, [Q1, A1]))[:3]
    before_first, between = MARK.split(render(tokenizer, [Q1, A1, Q2, A2]))[1:3]
    after_user = MARK.split(render(tokenizer, [Q1], add_generation_prompt=True))[1]
    before_user, before_answer = between.removeprefix(after_answer), before_first.removeprefix(after_user)
    opening, system = start.removesuffix(before_user), None
    if takes_system(tokenizer):
        lead, middle = MARK.split(render(tokenizer, [SYSTEM, Q1]))[:2]
        system = (lead, middle.removesuffix(before_user))
    thinking = "⟦t⟧" not in render(tokenizer, [Q1, THOUGHT, Q2])
    pieces = Pieces(opening, system, before_user, after_user, before_answer, after_answer, thinking)
    written = "".join([opening, *(system or ()), before_user, after_user, before_answer, after_answer])
    talks = ([Q1], [Q1, A1, Q2], [SYSTEM, Q1, A1, Q2])
    same = all(pieces.put_together(talk) == render(tokenizer, talk, add_generation_prompt=True) for talk in talks)
    return pieces if same and "{{" not in written and '"""' not in written else None


def writes_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    """True when the chat template writes today's date, in one of the forms that it asks for."""
    template, now = tokenizer.get_chat_template(), datetime.now()
    forms = re.findall(r"strftime_now\(\s*['\"](.+?)['\"]\s*\)", template)
    if template.count("strftime_now(") > len(forms):
        return True  # a form that is not written out: taken as asked for
    asked = fold_system(tokenizer, [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}])
    texts = [render(tokenizer, messages) for messages in (asked, asked[-1:])]
    return any(now.strftime(form) in text for form in forms for text in texts)


def ollama_modelfile(tokenizer: PreTrainedTokenizerBase, weights: str, max_new_tokens: int, context: int) -> str:
    """A greedy Modelfile for the GGUF file `weights`, `context` tokens, with the training's template and stop tokens.

    Where the tokenizer puts BOS before every text, llama.cpp does too, so the template's own is left out. The repeat
    penalty, 1.1 in Ollama, would change words of the answer. A template that forgets past thinking names `.Thinking`,
    by which Ollama takes it out of past answers. Raises ValueError as `template_pieces`."""
    pieces, bos = template_pieces(tokenizer), str(tokenizer.bos_token) if adds_bos(tokenizer) else ""
    if bos and not pieces.opening and pieces.before_user.startswith(bos):
        sentence = _("The chat template writes BOS before each question, and Ollama would double the first: use vLLM.")
        raise ValueError(sentence)
    opening, note, thinking = pieces.opening.removeprefix(bos), "", ""
    if pieces.system:
        lead, end = pieces.system[0].removeprefix(bos), pieces.system[1]
        opening = "{{ if .System }}" + lead + "{{ .System }}" + end + "{{ else }}" + opening + "{{ end }}"
    else:  # the system text goes before the first question
        opening = "{{ $system := .System }}" + opening
        note = '{{ if $system }}{{ $system }}\n\n{{ $system = "" }}{{ end }}'
    if pieces.thinking:
        thinking = "{{ if and .Thinking (eq (len (slice $.Messages $i)) 1) }}<think>{{ .Thinking }}</think>{{ end }}"
    user = '{{ if eq .Role "user" }}' + pieces.before_user + note + "{{ .Content }}" + pieces.after_user
    answer = '{{ else if eq .Role "assistant" }}' + pieces.before_answer + thinking + "{{ .Content }}"
    turns = "{{ range $i, $_ := .Messages }}" + user + answer + pieces.after_answer + "{{ end }}{{ end }}"
    stops = "".join(f"PARAMETER stop {_quoted(str(tokenizer.decode([token])))}\n" for token in stop_ids(tokenizer))
    return (
        f'FROM {weights}\nTEMPLATE """{opening}{turns}"""\n'
        f"{stops}PARAMETER temperature 0\nPARAMETER repeat_penalty 1.0\n"
        f"PARAMETER num_predict {max_new_tokens}\nPARAMETER num_ctx {context}\n"
    )


def tools_note(rows: list[dict]) -> str:
    """What to know before a model that was trained on `rows` goes to Ollama: "" where they hold no tools."""
    called = any(turn.get("tool_calls") or turn["role"] == "tool" for row in rows for turn in row["messages"])
    if not called and not any(row.get("tools") for row in rows):
        return ""
    return _(
        "These rows call tools, and this Modelfile has no place for them: Ollama writes a tool's description in "
        "another form than the training template, so the model would be asked in words that it never saw. For tools, "
        "use llama-server or vLLM, which fill in the template itself."
    )


def _quoted(text: str) -> str:
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'
