"""Every notebook keeps the house's rules; each rule names the notebook and the cell that breaks it."""

import importlib
import re

import nbformat
import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIRST_LOOK = "00_first_look"
PARAMETERS = """\
import os

PRESET = os.environ.get("QLORA_PRESET", "demo")
OVERRIDES = {}"""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    book = nbformat.read(request.param, as_version=4)
    nbformat.validate(book)
    book.cells = [cell for cell in book.cells if cell.id != "set-up"]  # docs/make_badges.py made it
    book.path = request.param
    return book


def code(book):
    return [(i, cell) for i, cell in enumerate(book.cells) if cell.cell_type == "code"]


def text(book):
    return "\n\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


def test_the_series_is_complete():
    expected = "00_first_look 00_plan 01_env_setup 02_login 03_data_preview 04_qlora_training 05_merge_and_push 06_evaluation 07_serve 08_compare_runs 09_data_that_counts".split()
    assert [path.stem for path in NOTEBOOKS][:11] == expected


def test_what_a_notebook_imports_is_there(notebook):
    lines = re.findall(r"^ *from (helpers\S*) import (.+)$", "\n".join(cell.source for _, cell in code(notebook)), re.M)
    modules = {name: importlib.import_module(name) for name, _ in lines}
    names = [(module, name) for module, names in lines for name in re.findall(r"\w+", names)]
    assert [f"{module}: {name}" for module, name in names if not hasattr(modules[module], name)] == []


def test_no_outputs_in_git(notebook):
    for i, cell in code(notebook):
        assert not cell.outputs and cell.execution_count is None, f"cell {i} has outputs"


def test_kernel(notebook):
    assert notebook.metadata.kernelspec.name == "qlora"


def test_one_parameters_cell(notebook):
    tagged = [cell for _, cell in code(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0].source.startswith(PARAMETERS)


def test_size(notebook):
    fewest, most = (6, 12) if notebook.path.stem == FIRST_LOOK else (12, 36)
    assert fewest <= len(notebook.cells) <= most
    for i, cell in code(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert 1 <= len(lines) <= 15, f"code cell {i} has {len(lines)} lines"
    texts = len(notebook.cells) - len(code(notebook))
    assert texts >= 0.7 * len(code(notebook)), "too little text for so much code"


def words(text: str) -> int:
    """Words of a text cell: without pictures, targets of links, names of figures and the lines of a table."""
    plain = re.sub(r"!\[.*?\]\(.*?\)|<!--.*?-->|<[^>]+>", "", text)
    return len(re.findall(r"\S*\w\S*", re.sub(r"\]\([^)]+\)|\|", " ", plain)))


def test_text_cells_are_short(notebook):
    """35 to 45 words each on average, so that the eye goes back to the output."""
    counts = [words(cell.source) for cell in notebook.cells if cell.cell_type == "markdown"]
    assert sum(counts) / len(counts) <= 45, f"{sum(counts) / len(counts):.1f} words per text cell"


EXERCISE = re.compile(r"(\d)\. (🐢|🐕|🦁) \*[^*]*\b(?:minutes?|hours?)\b[^*]*\.\* \S")


def test_exercises_have_one_form(notebook):
    """🐢🐕🦁, minutes, the task; a cell that checks each; the answers, folded; then the way on."""
    tasks, checks, answers = notebook.cells[-3:]
    numbers = [found[1] for found in EXERCISE.finditer(tasks.source)]
    assert tasks.source.startswith("## Try it") and numbers == re.findall(r"^(\d)\.", tasks.source, re.M) != []
    assert re.findall(r'check\("\w+\.(\d)"', checks.source) == numbers, "a check for each"
    folded, _, after = answers.source.partition("</details>")
    assert (
        folded.startswith("<details><summary>Answers</summary>\n\n") and re.findall(r"^(\d)\.", folded, re.M) == numbers
    )
    assert re.match(r"\s*\*\*(Next|Back):\*\* \[", after)


def test_no_item_of_a_list_begins_as_a_list():
    """1. 2. The loss: Markdown reads a list in a list."""
    for path in [*ROOT.glob("notebooks/**/*.ipynb"), *ROOT.glob("notebooks/ko/**/*.md")]:
        assert re.findall(r'^[ "]*(?:\d+\.|-) (?:\d+\.|-) .*', path.read_text(encoding="utf-8"), re.M) == [], path.name


def test_starts_and_ends_as_a_lesson(notebook):
    first = notebook.cells[0].source
    number = notebook.path.stem[:2]
    assert re.match(rf"# {number} · \S", first) and "**Goal:**" in first
    for row in ("Time", "Memory", "Reads", "Writes"):
        assert f"| {row} |" in first, f"the first table lacks {row}"
    body = text(notebook)
    for heading in ("Start here after a restart", "What was written", "Summary", "Try it"):
        assert heading in body, f"{heading!r} is missing"


def test_nothing_that_a_notebook_must_not_do(notebook):
    for i, cell in code(notebook):
        for pattern in (r"^\s*[!%]", r"\bsys\.path\b", r"import \*", r"trust_remote_code=True", r"\btoken\s*=\s*['\"]"):
            assert not re.search(pattern, cell.source, re.M), f"cell {i} holds {pattern}"


def test_no_token_like_strings(notebook):
    whole = notebook.path.read_text()
    assert not re.search(r"hf_[A-Za-z0-9]{20,}|\b[0-9a-f]{40}\b", whole)


def test_links_resolve(notebook):
    for target in re.findall(r"\]\(([^)#]+)", text(notebook)):
        if not target.startswith(("http://", "https://")):
            assert (notebook.path.parent / target).exists(), f"link to {target} leads nowhere"


def test_neighbours_are_linked(notebook):
    """In the series; an appendix is linked with the notebook that it explains."""
    series = [path for path in NOTEBOOKS if path.stem[0] != "A"]
    if notebook.path not in series:
        explained = [path for path in series if f"({notebook.path.name})" in path.read_text(encoding="utf-8")]
        assert explained and any(f"({path.name})" in text(notebook) for path in explained), (
            "no notebook links to it and back"
        )
        return
    position = series.index(notebook.path)
    for neighbour in series[max(position - 1, 0) : position] + series[position + 1 : position + 2]:
        assert f"({neighbour.name})" in text(notebook), f"no link to {neighbour.name}"


ROOMS = dict(
    zip(
        "00 01 02 03 04 05 06 07 08 09 A1 A2 A3 A4 A5".split(),
        "plan machine machine data train merge evaluate serve compare compare plan train train train train".split(),
        strict=True,
    )
)


def test_another_room_is_borrowed_from_only_with_a_reason(notebook):
    """Imports come from the notebook's own folder, model/ and the ground, and its exercises' checks from workshop/;
    from others where the text says why."""
    own = {
        "train" if notebook.path.stem == FIRST_LOOK else ROOMS[notebook.path.stem[:2]],
        "model",
        "template",
        "show",
        "runs",
        "workshop",
    }
    borrowed = {
        room for _, cell in code(notebook) for room in re.findall(r"from helpers\.(\w+)\.\w+ import", cell.source)
    }
    for room in borrowed - own:
        assert f"`helpers/{room}`" in text(notebook), f"the text does not say why helpers/{room} is needed"


def test_slow_cells_say_so(notebook):
    """A cell that trains, merges, generates or builds is introduced by a text that names its time."""
    for i, cell in code(notebook):
        if re.search(r"trainer\.train\(|merge_shards\(|generate_replies\(", cell.source):
            before = next(cell for cell in reversed(notebook.cells[:i]) if cell.cell_type == "markdown")
            assert re.search(r"\b(seconds?|minutes?|hours?)\b", before.source), f"cell {i}"


def test_no_bare_assert(notebook):
    """A reader who meets a fault gets a sentence, never an AssertionError."""
    for i, cell in code(notebook):
        assert not re.search(r"^\s*assert\b", cell.source, re.M), f"cell {i}"


WORDS_A_MINUTE = 120  # of technical English, code counted as words, for somebody who reads it as a second language


def test_the_head_says_how_long_reading_takes(notebook):
    """Beside the minutes of the machine, and never wrong by more than two."""
    words = sum(len(cell.source.split()) for cell in notebook.cells)
    said = re.search(r"^\| Time \|.+; reading: (\d+) minutes \|$", notebook.cells[0].source, re.M)
    assert said, f"the row Time lacks '; reading: {round(words / WORDS_A_MINUTE)} minutes'"
    assert abs(int(said[1]) - words / WORDS_A_MINUTE) <= 2, f"{words} words are {words / WORDS_A_MINUTE:.1f} minutes"
