"""An Ollama Modelfile made from the training template.

A model asked in another format than it was trained on answers badly. So nothing here is typed by hand: every piece
comes from rendering the training template, and is checked by putting a conversation together from the pieces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from helpers.show.words import _
from helpers.template.chat import adds_bos, fold_system, render, stop_ids, takes_system


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
        """A conversation from the pieces, as the Modelfile's template will write it; it ends by asking for an answer."""
        has_system = messages[0]["role"] == "system"
        note = (
            messages[0]["content"] + "\n\n" if has_system else ""
        )  # before the first question, as chat.fold_system does
        text = self.opening
        if has_system and self.system:
            text, note = self.system[0] + messages[0]["content"] + self.system[1], ""
        for message in messages[has_system:]:
            if message["role"] == "user":
                text, note = text + self.before_user + note + message["content"] + self.after_user, ""
            else:
                text += self.before_answer + message["content"] + self.after_answer
        return text


def template_pieces(tokenizer) -> Pieces:
    """The pieces of the tokenizer's chat template.

    Raises ValueError for a template that is more than pieces (today's date, counters, turns that change later turns).
    """

    def turn(role, text):
        return {"role": role, "content": text}

    if writes_date(tokenizer):
        raise ValueError(
            _(
                "The chat template writes today's date, and a Modelfile would keep the day on which it was made: serve the "
                "model with vLLM or llama.cpp's own server, which fill the template in anew for every question."
            )
        )
    u1, a1, u2, a2 = turn("user", "⟦1⟧"), turn("assistant", "⟦2⟧"), turn("user", "⟦3⟧"), turn("assistant", "⟦4⟧")
    start, between = render(tokenizer, [u1, a1]).split("⟦1⟧")[0], _between(render(tokenizer, [u1, a1, u2, a2]))
    after_user = render(tokenizer, [u1], add_generation_prompt=True).split("⟦1⟧")[1]
    after_answer = render(tokenizer, [u1, a1]).split("⟦2⟧")[1]
    before_user = between[1].removeprefix(after_answer)
    system = None
    if takes_system(tokenizer):
        lead, middle = render(tokenizer, [turn("system", "⟦s⟧"), u1]).split("⟦1⟧")[0].split("⟦s⟧")
        system = (lead, middle.removesuffix(before_user))
    before_answer = between[0].removeprefix(after_user)
    opening = start.removesuffix(before_user)
    thought = render(tokenizer, [u1, turn("assistant", "<think>⟦t⟧</think>⟦2⟧"), u2])
    pieces = Pieces(opening, system, before_user, after_user, before_answer, after_answer, "⟦t⟧" not in thought)
    written = "".join([opening, *(system or ()), before_user, after_user, before_answer, after_answer])
    plain = "{{" not in written and '"""' not in written
    for messages in ([u1], [u1, a1, u2], [turn("system", "⟦s⟧"), u1, a1, u2]):
        if not plain or pieces.put_together(messages) != render(tokenizer, messages, add_generation_prompt=True):
            raise ValueError(
                _("The chat template cannot be written as an Ollama template: serve the model with vLLM instead.")
            )
    return pieces


def writes_date(tokenizer) -> bool:
    """True when the chat template writes today's date, in one of the forms that it asks for."""
    template, now = tokenizer.get_chat_template(), datetime.now()
    forms = re.findall(r"strftime_now\(\s*['\"](.+?)['\"]\s*\)", template)
    if template.count("strftime_now(") > len(forms):
        return True  # a form that is not written out: taken as asked for
    asked = fold_system(tokenizer, [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}])
    texts = [render(tokenizer, messages) for messages in (asked, asked[-1:])]
    return any(now.strftime(form) in text for form in forms for text in texts)


def ollama_modelfile(tokenizer, weights: str, max_new_tokens: int, context: int) -> str:
    """A Modelfile for the GGUF file `weights`, with the training template and its stop tokens; greedy, in `context` tokens.

    Where the tokenizer puts BOS before every text, llama.cpp does too, so the template's own is left out. The repeat
    penalty, 1.1 in Ollama, is set to none: it changes words that belong to the answer. A template that forgets past
    thinking names `.Thinking`, by which Ollama takes the thinking out of a reply before it is a past answer.
    Raises ValueError as `template_pieces`.
    """
    pieces, bos = template_pieces(tokenizer), tokenizer.bos_token if adds_bos(tokenizer) else ""
    if bos and not pieces.opening and pieces.before_user.startswith(bos):
        raise ValueError(
            _("The chat template writes BOS before each question, and Ollama would double the first: use vLLM.")
        )
    opening = pieces.opening.removeprefix(bos)
    if pieces.system:
        lead = pieces.system[0].removeprefix(bos)
        opening = f"{{{{ if .System }}}}{lead}{{{{ .System }}}}{pieces.system[1]}{{{{ else }}}}{opening}{{{{ end }}}}"
        note = ""
    else:  # the system text goes before the first question
        opening = "{{ $system := .System }}" + opening
        note = '{{ if $system }}{{ $system }}\n\n{{ $system = "" }}{{ end }}'
    thinking = ""
    if pieces.thinking:
        thinking = "{{ if and .Thinking (eq (len (slice $.Messages $i)) 1) }}<think>{{ .Thinking }}</think>{{ end }}"
    user = f'{{{{ if eq .Role "user" }}}}{pieces.before_user}{note}{{{{ .Content }}}}{pieces.after_user}'
    answer = f'{{{{ else if eq .Role "assistant" }}}}{pieces.before_answer}{thinking}{{{{ .Content }}}}{pieces.after_answer}{{{{ end }}}}'
    stops = "".join(f"PARAMETER stop {_quoted(tokenizer.decode([token]))}\n" for token in stop_ids(tokenizer))
    return (
        f"FROM {weights}\n"
        f'TEMPLATE """{opening}{{{{ range $i, $_ := .Messages }}}}{user}{answer}{{{{ end }}}}"""\n'
        f"{stops}PARAMETER temperature 0\nPARAMETER repeat_penalty 1.0\n"
        f"PARAMETER num_predict {max_new_tokens}\nPARAMETER num_ctx {context}\n"
    )


def tools_note(rows: list[dict]) -> str:
    """What to know before a model that was trained on `rows` goes to Ollama: "" where they hold no tools."""
    if not any(row.get("tools") for row in rows):
        return ""
    return _(
        "These rows call tools, and this Modelfile has no place for them: Ollama writes a tool's description in another form "
        "than the training template, so the model would be asked in words that it never saw. For tools, use llama-server or "
        "vLLM, which fill in the template itself."
    )


def _quoted(text: str) -> str:
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'


def _between(text: str) -> tuple[str, str]:
    """What stands between the marks 1 and 2, and between 2 and 3."""
    return text.split("⟦1⟧")[1].split("⟦2⟧")[0], text.split("⟦2⟧")[1].split("⟦3⟧")[0]
