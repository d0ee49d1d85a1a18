"""A translation has the English code cells and cannot drift: what is missing, stale or says something else is told."""

import subprocess
from pathlib import Path

import nbformat
import pytest

from helpers.paths import PROJECT_ROOT
from helpers.translate import build, change, english, faults, fingerprint, pairs, terms, translated

ENGLISH = "## How long?\n\nAbout 20 minutes with `lora_r=8`, see [03](03_data.ipynb) or [the list](../docs/list.md)."
ENGLISH += "\n\n| a | b |\n|---|---|\n| 1 | 2 |"
KOREAN = "## 얼마나 걸리나요?\n\n`lora_r=8`이면 20분쯤입니다. [03](03_data.ipynb)이나 [목록](../docs/list.md)을 보세요."
KOREAN += "\n\n| 가 | 나 |\n|---|---|\n| 1 | 2 |"


@pytest.fixture
def project(tmp_path) -> Path:
    """A project of one notebook and one page; its translations are complete."""
    folder = tmp_path / "notebooks"
    (folder / "ko").mkdir(parents=True)
    cells = [
        nbformat.v4.new_markdown_cell("# 04 · Train", id="a"),
        nbformat.v4.new_code_cell("x = 1\nprint(x)", id="code"),
        nbformat.v4.new_markdown_cell(ENGLISH, id="b"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "04_train.ipynb")
    write(folder / "ko" / "04_train.md", {"a": ("# 04 · Train", "# 04 · 학습"), "b": (ENGLISH, KOREAN)})
    (tmp_path / "README.md").write_text("# Title\n\nOne page.\n\n```bash\n# no heading\n```\n\n## Second\n\nText.\n")
    (tmp_path / "docs").mkdir()
    return tmp_path


def write(path: Path, blocks: dict[str, tuple[str, str]]) -> None:
    path.write_text("\n".join(f"<!-- {name} en:{fingerprint(old)} -->\n{new}\n" for name, (old, new) in blocks.items()))


def check(project: Path, name: str = "04_train") -> list[tuple[str, str]]:
    return faults(project / "notebooks" / f"{name}.ipynb", project / "notebooks" / "ko" / f"{name}.md")


def test_a_faithful_translation_has_no_fault(project):
    assert check(project) == []


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("`lora_r=8`", "`lora_r=4`", "`lora_r=8`"),  # a setting
        ("20분", "30분", "'20'"),  # a number
        ("(03_data.ipynb)", "(04_train.ipynb)", "03_data.ipynb"),  # a link
        ("| 1 | 2 |", "| 1 | 2 | |", "|×3"),  # a column
        ("| 1 | 2 |", "", "'1'"),  # a row
    ],
)
def test_what_differs_from_the_english_is_told(project, old, new, told):
    path = project / "notebooks" / "ko" / "04_train.md"
    path.write_text(path.read_text().replace(old, new))
    found = check(project)
    assert found and {name for name, _ in found} == {"b"} and any(told in fault for _, fault in found)


def test_the_settings_of_slides_are_no_text_and_stay_first(project):
    """Marp reads them at the very beginning of a file, so a block cannot be headed above them."""
    source, target = project / "docs" / "slides.md", project / "docs" / "slides.ko.md"
    source.write_text("---\nmarp: true\ntitle: A talk\n---\n\n# Hello all of you\n\n---\n\n## Two\n\nWords.\n")
    blocks = english(source, source.read_text())
    assert blocks == {"0": "# Hello all of you\n\n---", "1": "## Two\n\nWords."}
    write(target, {"0": (blocks["0"], "# 안녕하세요\n\n---"), "1": (blocks["1"], "## 둘\n\n말.")})
    target.write_text("---\nmarp: true\ntitle: 이야기\n---\n\n" + target.read_text())
    assert faults(source, target) == []
    assert (source, target) in pairs("ko", project)


def test_a_missing_a_stale_and_an_untranslated_block_are_told(project):
    path = project / "notebooks" / "ko" / "04_train.md"
    write(path, {"b": (ENGLISH.replace("20", "10"), KOREAN)})
    assert [(name, fault.split(":")[0].split(",")[0]) for name, fault in check(project)] == [
        ("a", "not translated"),
        ("b", "the English has changed"),
    ]
    write(path, {"a": ("# 04 · Train", "# 04 · 학습"), "b": (ENGLISH, ENGLISH)})
    assert check(project) == [("b", "still in English")]
    write(path, {"b": (ENGLISH, KOREAN), "a": ("# 04 · Train", "# 04 · 학습"), "c": ("gone", "없음")})
    assert [fault for _, fault in check(project)] == [
        "there is no such block in the English",
        "the blocks stand in another order than in the English",
    ]


def test_a_word_that_the_glossary_calls_otherwise_is_told(project):
    source, target = project / "notebooks" / "04_train.ipynb", project / "notebooks" / "ko" / "04_train.md"
    assert faults(source, target, [("훈련", "학습")]) == []
    target.write_text(target.read_text().replace("# 04 · 학습", "# 04 · 훈련"))
    assert faults(source, target, [("훈련", "학습")]) == [("a", "'훈련' is called '학습' elsewhere")]


def test_a_page_of_text_is_cut_at_its_headings_outside_of_code():
    page = "# Title\n\nOne page.\n\n```bash\n# no heading\n```\n\n## Second\n\nText.\n"
    assert list(english(Path("README.md"), page).values()) == [
        "# Title\n\nOne page.\n\n```bash\n# no heading\n```",
        "## Second\n\nText.",
    ]


@pytest.mark.parametrize("language", ["ko", "eo"])
def test_built_notebooks_have_the_english_code_and_their_own_text(project, language):
    """A third language is as good as the second: nothing is Korean by accident."""
    folder = project / "notebooks"
    if language == "eo":
        (folder / "ko").rename(folder / "eo")
    [built] = build(language, project)
    there, here = nbformat.read(folder / "04_train.ipynb", 4), nbformat.read(built, 4)
    nbformat.validate(here)
    code = [cell.source for cell in here.cells if cell.cell_type == "code"]
    assert code == [f'import os\n\nos.environ["QLORA_LANG"] = "{language}"', there.cells[1].source]
    assert (
        here.cells[0].source.startswith("# 04 · 학습") and f"notebooks/{language}/04_train.md" in here.cells[0].source
    )
    assert "(../03_data.ipynb)" in here.cells[-1].source and "(../../docs/list.md)" in here.cells[-1].source
    (folder / language / "03_data.md").write_text("")
    assert "(03_data.ipynb)" in nbformat.read(build(language, project)[-1], 4).cells[-1].source


def test_the_change_of_the_english_is_looked_up_in_git(project):
    def git(*command):
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *name, *command], cwd=project, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    path = project / "notebooks" / "04_train.ipynb"
    path.write_text(path.read_text().replace("About 20", "Over 25"))
    shown = change(path, "b", translated(project / "notebooks" / "ko" / "04_train.md")["b"][0])
    assert "-About 20 minutes" in shown and "+Over 25 minutes" in shown


def test_every_translation_of_this_project_says_what_its_english_says():
    wrong = [
        (target.name, *fault)
        for language in sorted(path.parent.name for path in PROJECT_ROOT.glob("notebooks/*/terms.md"))
        for source, target in pairs(language)
        for fault in faults(source, target, terms(language))
    ]
    assert wrong == []
