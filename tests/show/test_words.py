"""A Korean run says our sentences in Korean and leaves everything else alone: replies, rows, names of columns."""

import ast
import io
import json
import re

import pytest
from babel.messages.extract import extract, extract_from_dir
from babel.messages.pofile import read_po

from helpers.paths import PROJECT_ROOT
from helpers.plan.published import PROGRAMS
from helpers.plan.time import SPEEDS
from helpers.settings import RULES
from helpers.show.tables import Answer, Table
from helpers.show.verdict import Verdict
from helpers.show.words import HEADING, LOCALE, _, catalogue, heading, language
from helpers.translate import CELL

LABELS = ("caption", "title", "xlabel", "ylabel", "label")  # what a chart or a table is given to show
NO_COLUMNS = set("a event forgetting known lengths numbers verdicts".split())  # other dicts
SAID = r'\b(?:say|fail|words|install) "([^"$]*)"'  # in setup_kernel.sh: nothing is filled in by the shell
FILLED = re.compile(r"\{(\w*)(?:![rs])?(?::[^}]*)?\}")
HOSTILE = [*"no ok better text rows green".split(), "The senate voted against the bill."]
HOSTILE.append("I wrote 3 tensors, then left.")


@pytest.fixture
def korean(monkeypatch):
    monkeypatch.setenv("QLORA_LANG", "ko")


def sentences() -> set[tuple[str, str]]:
    """(context, sentence) of every sentence that the code marks for translation."""
    keywords = {"_": None, "N_": None}
    script, asked = ((PROJECT_ROOT / f"setup_kernel.{kind}").read_text(encoding="utf-8") for kind in ("sh", "py"))
    marked = {("", sentence) for sentence in re.findall(SAID, script)}
    marked |= {("", found[1]) for found in extract("python", io.BytesIO(asked.encode()), keywords)}
    for folder in ("helpers", "docs"):
        kinds = [("**.py", "python"), ("**.j2", "jinja2")]
        files = extract_from_dir(str(PROJECT_ROOT / folder), kinds, keywords=keywords)
        marked |= {("", message) for _file, _line, message, _comments, _context in files}
    for path in (PROJECT_ROOT / "notebooks").glob("*.ipynb"):
        cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        code = io.BytesIO("\n".join("".join(cell["source"]) for cell in cells).encode())
        marked |= {("", message) for _line, message, _comments, _context in extract("python", code, keywords)}
    rules = {("", rules[part]) for rules in RULES.values() for part in ("help", "unit") if rules[part]}
    theirs = {("", program.difference) for program in PROGRAMS.values()} | {("", row.settings) for row in SPEEDS}
    return marked | rules | theirs | {("", kind) for kind in ("setting", "variable")}


def literals() -> tuple[set[str], set[str]]:
    """What stands between double quotes in the code cells: all of it, and what of it is printed or drawn."""
    every, shown = set(), set()
    for path in [*PROJECT_ROOT.glob("notebooks/*.ipynb"), *PROJECT_ROOT.glob("notebooks/labs/*.ipynb")]:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            code = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
            nodes = list(ast.walk(ast.parse(code)))
            told = {
                id(inner)
                for node in nodes
                if isinstance(node, ast.keyword) and node.arg in LABELS
                for inner in ast.walk(node)
            }
            told |= {
                id(inner)
                for node in nodes
                if getattr(getattr(node, "func", None), "id", "") == "print"
                for inner in node.args
            }
            for node in nodes:
                if isinstance(node, ast.JoinedStr) or isinstance(node, ast.Constant) and isinstance(node.value, str):
                    text = re.sub(r'^\w?"|"$', "", ast.get_source_segment(code, node) or "")
                    every.add(text)
                    words = re.findall(r"\b[a-z]{2,}\b", re.sub(r"\{[^}]*\}", "", text))
                    shown |= {text} if id(node) in told and len(words) > 1 else set()
    return every, shown


def entries() -> dict[tuple[str, str], str]:
    """The Korean catalogue: (context, English) -> Korean."""
    found = {}
    for file in sorted((LOCALE / "ko").glob("*.po")):
        for message in read_po(file.read_bytes().splitlines()):
            if message.id:
                key = (message.context or "", message.id)
                assert key not in found or found[key] == message.string, f"{key} stands twice, in {file.name} otherwise"
                found[key] = message.string
    return found


def test_each_sentence_of_the_code_has_its_korean():
    korean = entries()
    missing = sorted(sentence for context, sentence in sentences() if not korean.get((context, sentence)))
    assert not missing, f"{len(missing)} without Korean, as {missing[:5]}"


def test_the_catalogue_has_no_sentence_that_nobody_says():
    unused = [english for (context, english) in entries().keys() - sentences() if context not in (HEADING, CELL)]
    assert not unused, f"{len(unused)} that no code says, as {sorted(unused)[:5]}"


def test_what_a_cell_prints_has_its_korean_and_no_other():
    """`translate build` writes it into the Korean notebook, so the English cell stays as short as it is."""
    every, shown = literals()
    known = {english for (context, english) in entries() if not context}  # said with _() in the cell
    korean = {english: ours for (context, english), ours in entries().items() if context == CELL}
    missing, unused = sorted(shown - known - korean.keys()), sorted(korean.keys() - every)
    assert not missing and not unused, f"without Korean: {missing[:5]}; in no cell: {unused[:5]}"
    for english, ours in korean.items():
        both = [sorted(re.findall(r"\{[^}]*\}", re.sub(r" or '[^']*'", "", text))) for text in (english, ours)]
        assert both[0] == both[1], english
        assert '"' not in ours, ours


def code_cells() -> list[tuple[str, list[ast.AST]]]:
    """(code, its nodes) of every code cell of notebooks and labs."""
    books = [*PROJECT_ROOT.glob("notebooks/*.ipynb"), *PROJECT_ROOT.glob("notebooks/labs/*.ipynb")]
    cells = [cell for path in books for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [(code, list(ast.walk(ast.parse(code)))) for code in codes]


def test_a_cell_in_korean_does_what_the_english_one_does():
    """A4 asked `call.startswith("train")` of a name whose Korean began otherwise: its table was another one."""
    korean = {english: ours for (context, english), ours in entries().items() if context == CELL}
    for code, nodes in code_cells():
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        for start in re.findall(r'\.startswith\("(.+?)"\)', code):
            own = {text: korean[text] for text in texts & korean.keys() if text.startswith(start)}
            assert all(ours.startswith(start) for ours in own.values()), own
        assert not re.search(r"\{\w+\['verdict'\]\}", code), "a verdict is a word: _(gap['verdict'])"


def test_the_columns_of_a_cell_have_their_korean():
    korean = {english for (context, english) in entries() if context in (HEADING, CELL)}
    names = set()
    for code, nodes in code_cells():
        keys = [key for node in nodes if isinstance(node, ast.Dict) and "Table(" in code for key in node.keys]
        names |= {key.value for key in keys if isinstance(key, ast.Constant)}
    words = {name for name in names if re.fullmatch("[A-Z]?[a-z ,-]+", name)}
    assert len(words) > 30 and words - korean - NO_COLUMNS == set()


def test_a_sentence_and_its_korean_are_filled_with_the_same_values():
    for (_context, english), korean in entries().items():
        assert sorted(FILLED.findall(english)) == sorted(FILLED.findall(korean)), english


def test_the_set_up_finds_its_sentences_before_there_is_a_python():
    """Line by line, by awk: a sentence in two lines, or with quotation marks, would stay English."""
    lines = (LOCALE / "ko" / "set_up.po").read_text(encoding="utf-8").splitlines()[6:]
    assert {line[:4] for line in lines} == {"", "msgi", "msgs"} and not any("\\" in line for line in lines)


def test_the_set_up_says_nothing_that_the_catalogue_does_not_see():
    script = (PROJECT_ROOT / "setup_kernel.sh").read_text(encoding="utf-8")
    said = re.findall(r"(?m)\b(?:say|fail) (?!\(\))(.+?)$", script.partition("\nsay() ")[2])
    assert said and not [words for words in said if not re.match('"[^"$]*"', words)]


def test_a_sentence_is_marked_before_anything_is_filled_in():
    for path in (PROJECT_ROOT / "helpers").rglob("*.py"):
        assert not re.search(r"\b_\(\s*f[\"']", path.read_text(encoding="utf-8")), f"{path.name}: f-string inside _()"


@pytest.mark.parametrize("word", HOSTILE)
def test_a_value_is_shown_as_it_is(korean, word):
    table = Table([{"base": word, word: word}], foreign=(word,))
    for shown in (repr(table), table._repr_html_()):
        assert shown.count(word) >= 3 or word in ("I wrote 3 tensors, then left.",) and word in shown


def test_headings_and_words_of_ours_are_translated(korean):
    assert heading("seconds") != "seconds" and heading("no such heading") == "no such heading"
    assert "no" not in repr(Table([{"a": False}])).split()
    assert Verdict.GREEN.word != "green" and Verdict.GREEN == "green"
    assert "Solved" not in repr(Answer(True, "x"))
    assert _("") == "" and catalogue("xx").gettext("no") == "no"


def test_english_is_the_code_s_own(monkeypatch):
    monkeypatch.delenv("QLORA_LANG", raising=False)
    assert _("Not yet.") == "Not yet." and heading("seconds") == "seconds"


def test_importing_the_helpers_changes_nothing():
    code = (PROJECT_ROOT / "helpers/__init__.py").read_text()
    assert "import" not in re.sub(r'""".*?"""', "", code, flags=re.S)


def test_what_a_reader_sees_goes_through_the_catalogue():
    """A sentence that is printed or raised as it stands would be English on every page."""
    bare = []
    for path in sorted({*(PROJECT_ROOT / "helpers").rglob("*.py")} - {PROJECT_ROOT / "helpers" / "translate.py"}):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else node
            shown = isinstance(node, ast.Raise) or getattr(getattr(node, "func", None), "id", "") == "print"
            for value in call.args if shown and isinstance(call, ast.Call) else ():
                parts = value.values if isinstance(value, ast.JoinedStr) else [value]
                text = " ".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
                if len(re.findall(r"\b[a-z]{2,}\b", text)) > 2:
                    bare.append(f"{path.relative_to(PROJECT_ROOT)}:{node.lineno}")
    assert not bare, f"{len(bare)} sentences that no catalogue sees, as {bare[:5]}"


@pytest.mark.parametrize("name", ["ko", "KO", " ko ", "ko_KR.UTF-8", "ko-KR", "Korean"])
def test_a_locale_is_as_good_as_its_two_letters(monkeypatch, name):
    monkeypatch.setenv("QLORA_LANG", name)
    assert language() == "ko" and _("Not yet.") != "Not yet."
    monkeypatch.setenv("QLORA_LANG", " ")
    assert language() == "en"
