"""A translation has the English code cells and cannot drift: what is missing, stale or says something else is told."""

import subprocess
from pathlib import Path

import nbformat
import pytest

from docs.translation.drift import differences
from docs.translation.languages import Language, read_language
from docs.translation.review import UNREAD, catalogue_faults, change, faults, sign
from helpers.paths import PROJECT_ROOT
from helpers.translate import build, english, fingerprint, pairs, translated

KO = read_language(PROJECT_ROOT / "notebooks" / "ko" / "terms.md")
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
    """A page of blocks, id: (English, translation), signed."""
    heads = {name: (hashed := fingerprint(old), fingerprint(hashed + new)) for name, (old, new) in blocks.items()}
    text = {
        name: f"<!-- {name} en:{hashed} ko:{both} -->\n{blocks[name][1]}\n" for name, (hashed, both) in heads.items()
    }
    path.write_text("\n".join(text.values()))


def check(project: Path, name: str = "04_train") -> list[tuple[str, str]]:
    return faults(project / "notebooks" / f"{name}.ipynb", project / "notebooks" / "ko" / f"{name}.md", KO)


def test_a_faithful_translation_has_no_fault(project):
    assert check(project) == []


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("`lora_r=8`", "`lora_r=4`", "`lora_r=8`"),  # a setting
        ("20분", "30분", "number 20"),  # a number
        ("(03_data.ipynb)", "(04_train.ipynb)", "03_data.ipynb"),  # a link
        ("| 1 | 2 |", "| 1 | 2 | |", "other columns"),
        ("\n| 1 | 2 |", "", "other paragraphs, bullets or rows"),
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
    assert {name for name, fault in check(project) if "still in English" in fault} == {"b"}
    write(path, {"b": (ENGLISH, KOREAN), "a": ("# 04 · Train", "# 04 · 학습"), "c": ("gone", "없음")})
    assert [fault for _, fault in check(project)] == [
        "there is no such block in the English",
        "the blocks stand in another order than in the English",
    ]


def test_a_word_that_the_glossary_calls_otherwise_is_told(project):
    source, target = project / "notebooks" / "04_train.ipynb", project / "notebooks" / "ko" / "04_train.md"
    words = Language(terms=(("훈련", "학습"),))
    assert faults(source, target, words) == []
    target.write_text(target.read_text().replace("# 04 · 학습", "# 04 · 훈련"))
    assert faults(source, target, words)[0] == ("a", "'훈련' is called '학습' elsewhere")


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


FAITHFUL = [
    (
        "Of 48 messages 15 were right, 3 of 4 in English.",
        "메시지 48개 가운데 15개가, 영어로는 4개 중 3개가 맞았습니다.",
    ),
    ("The loss fell from 1.08 to 0.03.", "손실이 1.08에서 0.03으로 내려갔습니다."),
    ("Training needs 24 GB and 3 minutes.", "학습에는 24 GB와 3분이 필요합니다."),
    ("Of 20 messages 15 are right, 15 of 20.", "메시지 20개 가운데 15개, 곧 20개 중 15개가 맞습니다."),
    ("It has 135 million numbers.", "매개변수가 1억 3,500만 개입니다."),
    ("A 7-billion model, half a minute.", "매개변수 70억 개인 모델이고 30초 걸립니다."),
    ("It takes a minute, twice.", "1분씩 두 번 걸립니다."),
    ("2 of the 3 merges.", "병합 셋 가운데 둘입니다."),
    ("A quarter of the rows, 10 %.", "행의 4분의 1, 10 %입니다."),
    ("The label -100 is left out.", "라벨 -100은 빠집니다."),
    ("Rank 2 gives 1.190 nats, rank 16 1.125.", "랭크 2는 1.190나트, 랭크 16은 1.125나트입니다."),
    ("Stop keeps the volume. Terminate deletes it.", "Stop을 누르면 볼륨이 남습니다. Terminate를 누르면 지워집니다."),
    ("Never write it into a cell. A notebook is a file.", "셀에 절대로 적지 마세요. 노트북은 파일입니다."),
    ("The verdict is red.", "판정은 빨간색입니다."),
    ("See [03](a.ipynb) and [04](b.ipynb).", "[03](a.ipynb)과 [04](b.ipynb)를 보세요."),
    ("- one\n- two", "- 하나\n- 둘"),
    (
        "| key | meaning |\n|---|---|\n| red | bad |\n| green | good |",
        "| 키 | 뜻 |\n|---|---|\n| 빨간색 | 나쁨 |\n| 초록색 | 좋음 |",
    ),
    ("It ran on 2026-11-30 with Llama-2-7B.", "2026-11-30에 Llama-2-7B로 돌렸습니다."),
]
FALSE = [
    ("4개 중 3개가", "3개 중 4개가", "no whole"),
    ("48개 가운데 15개가,", "15개 가운데 48개가,", "no whole"),
    ("1.08에서 0.03으로", "0.03에서 1.08로", "other way round"),
    ("24 GB", "24 MB", "unit"),
    ("3분", "3시간", "unit"),
    ("20개 가운데 15개, 곧", "20개 가운데 51개, 곧", "number 51"),
    ("1억 3,500만", "1억 3,600만", "number 1.36e+08"),
    ("70억", "7억", "number 7e+08"),
    ("30초", "40초", "number 40"),
    ("1분씩", "40분씩", "number 40"),
    ("병합 셋", "병합 넷", "number 3"),
    ("4분의 1", "5분의 1", "number 0.2"),
    ("-100은", "100은", "number"),
    ("랭크 2는 1.190나트, 랭크 16은", "랭크 16은 1.190나트, 랭크 2는", "another order"),
    ("Stop을 누르면 볼륨이 남습니다. Terminate를", "Terminate를 누르면 볼륨이 남습니다. Stop을", "other way round"),
    ("셀에 절대로 적지 마세요. ", "", "1 sentences for 2"),
    ("빨간색입니다", "초록색입니다", "opposite"),
    ("[03](a.ipynb)과 [04](b.ipynb)", "[03](b.ipynb)과 [04](a.ipynb)", "other links"),
    ("- 하나\n- 둘", "- 하나", "bullets"),
    ("| 빨간색 | 나쁨 |", "| 초록색 | 좋음 |", "the same text twice"),
    ("2026-11-30", "2026-11-29", "on one side only"),
    ("Llama-2-7B로", "Llama-2-13B로", "on one side only"),
    ("판정은 빨간색입니다.", "판정은 빨간색입니다. 500 GB입니다.", "number 500"),
    ("판정은 빨간색입니다.", "The  verdict is red and we go on.", "still in English"),
]


@pytest.mark.parametrize("theirs, ours", FAITHFUL)
def test_what_korean_writes_otherwise_is_no_fault(theirs, ours):
    assert differences(theirs, ours, KO) == []


@pytest.mark.parametrize("old, new, fault", FALSE)
def test_a_falsified_text_is_noticed(old, new, fault):
    [pair] = [pair for pair in FAITHFUL if old in pair[1]]
    assert any(fault in found for found in differences(pair[0], pair[1].replace(old, new), KO))


def test_a_signed_block_that_changed_is_read_again(project):
    """Also where nothing that a program sees has changed, and where only the hash of the English was written anew."""
    source, target = project / "notebooks" / "04_train.ipynb", project / "notebooks" / "ko" / "04_train.md"
    sign(source, target, KO, "ko")
    assert check(project) == [] and all(block.both for block in translated(target).values())
    target.write_text(target.read_text().replace("걸리나요?", "걸릴까요?"))
    assert check(project) == [("b", UNREAD)]
    sign(source, target, KO, "ko")
    assert check(project) == []
    source.write_text(source.read_text().replace("About 20", "Some 20"))
    new = english(source, source.read_text())["b"]
    target.write_text(target.read_text().replace(f"en:{fingerprint(ENGLISH)}", f"en:{fingerprint(new)}"))
    assert check(project) == [("b", UNREAD)]
    target.write_text(target.read_text().replace("20분", "30분"))
    sign(source, target, KO, "ko")
    assert UNREAD in dict(check(project)).values(), "a block with a fault is not signed"


def test_a_row_of_the_glossary_is_held_like_a_block(project):
    page = project / "docs" / "glossary.md"
    row = "| **step** | 스텝 | One of 2 steps.<br><!-- step en:{} -->2스텝 가운데 하나. | [04](a) |\n"
    page.write_text(
        "| term | 한국어 | meaning | where |\n|---|---|---|---|\n" + row.format(fingerprint("One of 2 steps."))
    )
    assert (page, page) in pairs("ko", project) and faults(page, page, KO) == [("step", UNREAD)]
    sign(page, page, KO, "ko")
    assert faults(page, page, KO) == [] and translated(page)["step"].both
    page.write_text(page.read_text().replace("One of", "All of"))
    assert "the English has changed" in faults(page, page, KO)[0][1]
    page.write_text(page.read_text().replace("All of", "One of").replace("2스텝", "3스텝"))
    assert {name for name, _ in faults(page, page, KO)} == {"step"}


@pytest.mark.parametrize("ours", ["판정은 초록색입니다.", "판정은 빨간색입니다(3개)."])
def test_a_line_that_the_code_prints_is_held_too(project, ours):
    folder = project / "helpers" / "locale" / "ko"
    folder.mkdir(parents=True)
    (folder / "data.po").write_text(f'msgid "The verdict is red."\nmsgstr "{ours}"\n')
    [(file, sentence, _fault)] = catalogue_faults("ko", KO, project)
    assert file.endswith("data.po") and sentence == "The verdict is red."
    (folder / "data.po").write_text('msgid "The verdict is red."\nmsgstr "판정은 빨간색입니다."\n')
    assert catalogue_faults("ko", KO, project) == []


def test_every_translation_of_this_project_says_what_its_english_says():
    wrong = []
    for page in PROJECT_ROOT.glob("notebooks/*/terms.md"):
        language, words = page.parent.name, read_language(page)
        wrong += [
            (target.name, *fault) for source, target in pairs(language) for fault in faults(source, target, words)
        ]
        wrong += catalogue_faults(language, words)
    assert wrong == []
