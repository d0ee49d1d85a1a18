"""The Korean edition runs: the same code cells, what they print in Korean. The cheap pages stand for all, their code is
the English one's."""

import html
import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.evaluate.prompts import FIXED_PROMPTS
from helpers.plan.published import PROGRAMS
from helpers.plan.time import SPEEDS
from helpers.runs import RunDir
from helpers.series import copies, run_notebooks
from helpers.translate import CELL, build, messages
from helpers.workshop.board import page
from tests.conftest import ROOT


def shown(cell) -> str:
    """Texts and tables of a cell's outputs."""
    texts = [output.get("text", "") + json.dumps(output.get("data", {}), ensure_ascii=False) for output in cell.outputs]
    return "\n".join(texts)


def in_english(code: str) -> str:
    """A Korean code cell with the literals of the English: all the rest of it is the same."""
    for _, message in messages("ko", ROOT):
        if message.context == CELL:
            code = code.replace(f'"{message.string}"', f'"{message.id}"')
    return code


@pytest.mark.parametrize("name, said", [("02_login", "토큰이 없습니다"), ("08_compare_runs", "가장 좋은 것과 비교")])
def test_a_korean_page_runs_and_speaks_korean(name, said, whole_run, monkeypatch):
    monkeypatch.delenv("QLORA_LANG", raising=False)
    [path] = [path for path in build("ko") if path.stem == name]
    book, english = nbformat.read(path, 4), nbformat.read(ROOT / "notebooks" / path.name, 4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [in_english(cell.source) for cell in code[1:]] == [c.source for c in english.cells if c.cell_type == "code"]
    NotebookClient(book, kernel_name="qlora", timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    outputs = "\n".join(map(shown, code))
    assert said in outputs and "missing from" not in outputs  # no glyph is missing in a chart


def test_the_errors_of_a_korean_page_are_korean(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    [path] = [path for path in build("ko") if path.stem == "06_evaluation"]
    book = nbformat.read(path, 4)
    book.cells = book.cells[:6]
    client = NotebookClient(
        book, kernel_name="qlora", timeout=300, allow_errors=True, resources={"metadata": {"path": path.parent}}
    )
    client.execute()
    assert any(
        "없습니다. 먼저" in output.get("evalue", "") for cell in book.cells for output in cell.get("outputs", [])
    )


LIBRARY = (  # what others print: transformers' table, W&B, peft
    "Training Loss Validation Loss Input Tokens Seen No log [INFO] Running in WANDB offline mode",
    "Merge lora module to 4-bit linear may get different generations due to rounding errors.",
    "why, " * 9,  # of lab 15's template
)
WORDS = r"(?:[A-Za-z][a-z']*[ ,]+){3,}[A-Za-z][a-z']*"  # four English words in a row


def korean_pages(*names: str) -> list[Path]:
    return [path for name in names for path in sorted((ROOT / "notebooks/ko").glob(f"{name}.ipynb"))]


def english_shown(whole: RunDir, runs: Path, *names: str) -> list[str]:
    """English of ours in the outputs of Korean pages, in report and board; on a copy of the run in `runs`."""
    shutil.copytree(whole.path, runs / whole.path.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QLORA_RUNS_DIR", str(runs))
        patch.setenv("QLORA_LANG", "ko")
        build("ko")
        run = run_notebooks(korean_pages(*names), "tiny")
        seen = sorted(copies(run).glob("*.ipynb"))
        assert len(seen) == len(korean_pages(*names))
        known, english = not_ours(run), []
        for path in seen:
            english += [f"{path.stem} {words}" for words in english_of(nbformat.read(path, 4), known)]
        english += [f"report {words}" for words in english_in(run.report_html.read_text(encoding="utf-8"), known)]
        return english + [f"board {words}" for words in english_in(page(runs), known)]


def not_ours(run) -> str:
    """All that may stay English: rows, questions, replies, code, what a library prints."""
    data = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "notebooks/data").glob("*.jsonl"))]
    data += [path.read_text(encoding="utf-8") for path in (run.comparisons, run.evaluation, run.train_jsonl)]
    paths = [path for name in ("*", "labs/*") for path in sorted((ROOT / "notebooks").glob(f"{name}.ipynb"))]
    books = [nbformat.read(path, 4) for path in paths]
    data += [cell.source for book in books for cell in book.cells if cell.cell_type == "code"]
    data += [prompt["question"] for prompt in FIXED_PROMPTS]
    data += [source.source for source in (*PROGRAMS.values(), *SPEEDS)]  # titles of what A1 quotes
    return " ".join([*data, *LIBRARY]).replace("\\n", "\n").replace('\\"', '"')


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


@pytest.mark.slow
def test_a_korean_series_shows_no_english_sentence_of_ours(whole_run, tmp_path):
    """The series, an appendix and a lab; all of them by hand: proofs.proof_korean_pages."""
    english = english_shown(whole_run, tmp_path / "runs", "[0-9]*", "A1*", "labs/lab13*")
    assert not english, f"{len(english)}, as {english[:20]}"


def test_an_english_sentence_of_ours_would_be_seen():
    cell = nbformat.v4.new_code_cell(
        "1", outputs=[nbformat.v4.new_output("stream", name="stdout", text="행 3개: 24 rows to train on now\n")]
    )
    [found] = english_of(nbformat.v4.new_notebook(cells=[cell]), "")
    assert "rows to train on now" in found
    assert english_of(nbformat.v4.new_notebook(cells=[cell]), "24 rows to train on now") == []
