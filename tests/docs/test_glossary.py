"""Every term of the glossary is used in each notebook that it links, and explained once in two languages."""

import re

import nbformat
import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs/glossary.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| **")
]
# the notebooks use another form of the word
FORMS = {
    "quantisation": ("quantis",),
    "confidence interval": ("confidence interval", "95 % interval", "interval"),
    "gradient accumulation": ("gradient_accumulation_steps",),
    "learning rate": ("learning rate", "learning_rate"),
    "warm-up": ("warm-up", "warms up"),
    "activation checkpointing": ("activation_checkpointing", "checkpointing"),
    "EOS, end-of-turn token": ("eos", "end-of-turn", "ends a turn"),
}


def test_no_term_stands_twice_and_there_are_enough():
    terms = [row[0] for row in ROWS]
    assert len(terms) == len(set(terms)) >= 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("*"))
def test_a_term_is_explained_and_used_where_it_says(row):
    term, korean, meaning, where = row
    term = term.strip("*")
    english, _, sentence = meaning.partition("<br>")
    assert korean and english.endswith((".", ")")) and re.search("[가-힣].*[.]$", sentence), (
        "a sentence in each language"
    )
    links = re.findall(r"\((\S+)\)", where)
    assert links, "says nowhere where it is used"
    for link in links:
        cells = nbformat.read(PAGE.parent / link, as_version=4).cells
        text = "\n".join(cell.source for cell in cells).lower()
        assert any(re.search(rf"(?<![a-z]){re.escape(form)}", text) for form in FORMS.get(term, (term.lower(),))), link


def test_the_korean_words_are_those_of_the_korean_edition():
    """notebooks/ko/terms.md chooses one word for each term, and lists those that are not used."""
    page = (ROOT / "notebooks/ko/terms.md").read_text(encoding="utf-8").partition("\n## ")[0]
    terms = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")
    ]
    chosen = {english: korean for english, korean, _ in terms[1:]}
    ours = {row[0].strip("*"): row[1] for row in ROWS}
    both = chosen.keys() & ours.keys()
    assert len(both) > 15
    for term in both:
        assert ours[term].startswith(chosen[term]), f"{term} is {chosen[term]} in the Korean edition"
    for english, _, avoided in terms[1:]:
        for word in avoided.split(", "):
            assert word not in "".join(row[1] + row[2] for row in ROWS), f"{english}: {word} is not used"


# as a reader meets the pages: an appendix behind the page that it explains
ORDER = "00_first 00_plan 01 02 03 04 A3 A4 05 06 A2 A5 07 A1 08 09".split()
# where the plain word means something else as well, or is written otherwise
SEEN_AS = {
    "run": r"(?:an?|another|each|every|this|new|the) \**runs?",
    "held-out": "held[- ]out",
    "quantisation": r"quantis\w+",
    "merge": r"merg\w+",
    "batch": "batch(?:es)?",
    "EOS, end-of-turn token": "EOS",
    "confidence interval": "intervals?",
    "checkpoint": "(?<!activation )checkpoints?",
}
ORDINARY = {"messages"}  # of the first look: what people write to each other


def prose(cell: str) -> str:
    """A text cell without code, pictures, targets of links and the table of a head."""
    text = re.sub(r"```.*?```|`[^`]*`|!\[.*?\]\(.*?\)|<!--.*?-->|\]\([^)]+\)", "", cell, flags=re.S)
    return re.sub(r"(?m)^\|.*$", "", text) if cell.startswith("# ") else text


@pytest.mark.parametrize("term", sorted({row[0].strip("*") for row in ROWS} - ORDINARY))
def test_a_term_is_explained_where_a_reader_first_meets_it(term):
    """In bold, or in the heading of the cell; no page that comes earlier says it."""
    form = SEEN_AS.get(term, rf"{re.escape(term)}s?")
    for page in ORDER:
        [path] = (ROOT / "notebooks").glob(f"{page}*.ipynb")
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
        met = [text for cell in cells if re.search(rf"(?i)(?<![\w-]){form}(?![\w-])", text := prose(cell.source))]
        if met:
            explained = re.search(rf"(?i)\*\*[^*]*{form}[^*]*\*\*|(?m:^#.*{form})|{form}\*\*", met[0])
            assert explained, f"{path.name} says {term} before it is explained: {met[0][:200]}"
            return
    pytest.fail(f"no page says {term}")
