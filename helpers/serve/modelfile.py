"""The merged model in other programs: an Ollama Modelfile made from the training template, and their commands.

A model asked in another format than it was trained on answers badly. So nothing here is typed by hand: every piece
comes from rendering the training template, and is checked by putting a conversation together from the pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

from helpers.model.chat import adds_bos, render, stop_ids, takes_system


@dataclass(frozen=True)
class Pieces:
    """What the template writes: `opening`, then before and after each user's turn, before and after each answer."""

    opening: str  # of a conversation without a system turn
    system: tuple[str, str] | None  # before and after the system text, in place of `opening`
    before_user: str
    after_user: str  # with the generation prompt
    before_answer: str  # what a past answer has between the generation prompt and its text
    after_answer: str

    def put_together(self, messages: list[dict]) -> str:
        """A conversation from the pieces, as the Modelfile's template will write it; it ends by asking for an answer."""
        has_system = messages[0]["role"] == "system"
        text = self.system[0] + messages[0]["content"] + self.system[1] if has_system else self.opening
        for message in messages[has_system:]:
            if message["role"] == "user":
                text += self.before_user + message["content"] + self.after_user
            else:
                text += self.before_answer + message["content"] + self.after_answer
        return text


def template_pieces(tokenizer) -> Pieces:
    """The pieces of the tokenizer's chat template.

    Raises ValueError for a template that is more than pieces (dates, counters, turns that change later turns).
    """

    def turn(role, text):
        return {"role": role, "content": text}

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
    pieces = Pieces(start.removesuffix(before_user), system, before_user, after_user, before_answer, after_answer)
    examples = [[u1], [u1, a1, u2]] + ([[turn("system", "⟦s⟧"), u1, a1, u2]] if system else [])
    for messages in examples:
        if pieces.put_together(messages) != render(tokenizer, messages, add_generation_prompt=True):
            raise ValueError(
                "The chat template cannot be written as an Ollama template: serve the model with vLLM instead."
            )
    return pieces


def ollama_modelfile(tokenizer, weights: str, max_new_tokens: int) -> str:
    """A Modelfile for the GGUF file `weights`, with the training template and its stop tokens; greedy.

    Where the tokenizer puts BOS before every text, llama.cpp does too, so the template's own is left out.
    Raises ValueError as `template_pieces`.
    """
    pieces, bos = template_pieces(tokenizer), tokenizer.bos_token if adds_bos(tokenizer) else ""
    if bos and not pieces.opening and pieces.before_user.startswith(bos):
        raise ValueError(
            "The chat template writes BOS before each question, and Ollama would double the first: use vLLM."
        )
    opening = pieces.opening.removeprefix(bos)
    if pieces.system:
        lead = pieces.system[0].removeprefix(bos)
        opening = f"{{{{ if .System }}}}{lead}{{{{ .System }}}}{pieces.system[1]}{{{{ else }}}}{opening}{{{{ end }}}}"
    user = f'{{{{ if eq .Role "user" }}}}{pieces.before_user}{{{{ .Content }}}}{pieces.after_user}'
    answer = f'{{{{ else if eq .Role "assistant" }}}}{pieces.before_answer}{{{{ .Content }}}}{pieces.after_answer}{{{{ end }}}}'
    stops = "".join(f'PARAMETER stop "{tokenizer.decode([token])}"\n' for token in stop_ids(tokenizer))
    return (
        f"FROM {weights}\n"
        f'TEMPLATE """{opening}{{{{ range .Messages }}}}{user}{answer}{{{{ end }}}}"""\n'
        f"{stops}PARAMETER temperature 0\nPARAMETER num_predict {max_new_tokens}\n"
    )


def _between(text: str) -> tuple[str, str]:
    """What stands between the marks 1 and 2, and between 2 and 3."""
    return text.split("⟦1⟧")[1].split("⟦2⟧")[0], text.split("⟦2⟧")[1].split("⟦3⟧")[0]
