"""English in what a Korean page shows: found where only we can have said it."""

import functools
import html
import re

import nbformat

from helpers.evaluate.prompts import FIXED_PROMPTS
from helpers.plan.published import PROGRAMS
from helpers.plan.time import SPEEDS
from helpers.translate import CELL, messages
from tests.conftest import ROOT

LIBRARY = (  # what others print: transformers' table, W&B, peft
    "Training Loss Validation Loss Input Tokens Seen No log [INFO] Running in WANDB offline mode",
    "Merge lora module to 4-bit linear may get different generations due to rounding errors.",
    "why, " * 9,  # of lab 15's template
)
WORDS = r"(?:[A-Za-z][a-z']*[ ,]+){3,}[A-Za-z][a-z']*"  # four English words in a row


def in_english(code: str) -> str:
    """A Korean code cell with the literals of the English: all the rest of it is the same."""
    for _, message in messages("ko", ROOT):
        if message.context == CELL:
            code = code.replace(f'"{message.string}"', f'"{message.id}"')
    return code


@functools.cache
def everywhere() -> str:
    """What may stay English in every run: questions, code, titles."""
    data = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "notebooks/data").glob("*.jsonl"))]
    paths = [path for name in ("*", "labs/*") for path in sorted((ROOT / "notebooks").glob(f"{name}.ipynb"))]
    books = [nbformat.read(path, 4) for path in paths]
    data += [cell.source for book in books for cell in book.cells if cell.cell_type == "code"]
    data += [prompt["question"] for prompt in FIXED_PROMPTS]
    data += [source.source for source in (*PROGRAMS.values(), *SPEEDS)]  # titles of what A1 quotes
    return " ".join([*data, *LIBRARY])


def not_ours(run) -> str:
    """All that may stay English: rows and replies of `run`, and what is `everywhere`."""
    files = [path for path in (run.comparisons, run.evaluation, run.train_jsonl) if path.exists()]
    texts = [everywhere(), *(path.read_text(encoding="utf-8") for path in files)]
    return " ".join(texts).replace("\\n", "\n").replace('\\"', '"')


def english_of(book, known: str) -> list[str]:
    """Runs of English words in the outputs of a page, which nobody but us can have said."""
    found = []
    for cell in book.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":  # a library's
                continue
            data = output.get("data", {})
            text = output.get("text", "") or data.get("text/html") or data.get("text/plain", "")
            found += [f"{cell.id}: {words}" for words in english_in(text, known)]
    return found


def english_in(text: str, known: str) -> list[str]:
    """The same in what is shown as text or HTML."""
    text = re.sub(r"(?s)<style.*?</style>|<script.*?</script>|base64,[A-Za-z0-9+/=]+", "", text)
    text = re.sub(r"\S*python -m .*", "", text)  # a command to type
    text += " ".join(re.findall(r'(?:alt|title)="([^"]*)"', text))
    lines = html.unescape(re.sub(r"<[^>]+>", "\n", text)).splitlines()
    return [words for line in lines for words in re.findall(WORDS, line) if words not in known]
