import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from helpers.evaluate.comparison import OtherQuestions, comparison_rows, comparison_table, one_by_one, write_comparisons
from helpers.evaluate.decoding import Sampling
from helpers.evaluate.evaluation import Evaluation
from helpers.evaluate.generation import Reply, generate_replies
from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import CHRF, NLL
from helpers.evaluate.numbers import (
    CUT,
    chrf_by_reply,
    model_numbers,
    numbers_table,
    really_better,
    repetition,
    reply_metrics,
)
from helpers.evaluate.page import pack, write_report
from helpers.evaluate.prompts import FIXED_PROMPTS, fixed_prompts
from helpers.evaluate.voting import blind_pairs
from helpers.files import read_json, read_jsonl, write_json
from helpers.model.load import load_base_model
from helpers.model.lora import load_adapter
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.series import NOTEBOOKS
from helpers.settings import RunConfig
from helpers.template.chat import Prompt
from helpers.workshop.progress import Lab, participant
from tests.notebooks.kernel import run as run_page

EVIL = '<script>alert("x")</script>'
MODELS = ("base", "adapter", "merged")


def reply(text, stopped=True):
    return Reply(text, tuple(range(len(text))), stopped, 3)


def test_replies_to_other_questions_are_refused():
    """Also when there are as many of them: somebody changed a question and did not ask again."""
    prompts, references = fixed_prompts(), []
    given = [Reply("네.", (1,), True, 3, question=messages[-1]["content"]) for messages in prompts]
    assert len(comparison_rows(prompts, references, {"base": given})) == len(prompts)
    changed = [*prompts[:-1], [{"role": "user", "content": "다른 질문"}]]
    for asked in (changed, prompts[:-1]):
        with pytest.raises(OtherQuestions, match="base"):
            comparison_rows(asked, references, {"base": given})


def test_a_question_in_the_place_of_a_fixed_one_has_no_known_answer():
    """06 asks the reader to write prompts[0] anew: beside it stood the answer to who wrote the Communist Manifesto."""
    prompts = [*fixed_prompts(), [{"role": "user", "content": "질문"}]]
    prompts[0] = [{"role": "user", "content": "김치는 왜 시어져요?"}]
    rows = comparison_rows(prompts, ["답"], {"base": [reply("네")] * len(prompts)})
    known = [row["known"] for row in FIXED_PROMPTS]
    assert [row["reference"] for row in rows] == ["", *known[1:], "답"]
    assert "Communist Manifesto" in FIXED_PROMPTS[0]["question"] and known[0].startswith(
        "Karl Marx and Friedrich Engels (1848"
    )


def test_numbers_about_replies_and_chrf_is_sacrebleus():
    numbers = reply_metrics([reply("네"), reply("아니요", stopped=False)], ["x", "y"])
    assert numbers == {"replies": 2, "stops": 0.5, "tokens": 2, "repetition": 0, "in_thought": 0, "chrf": 0}
    assert reply_metrics([reply("같은 말")], ["같은 말"])["chrf"] == pytest.approx(100)
    assert chrf_by_reply([reply("같은 말"), reply("zzz")], ["같은 말", "다른"]) == [pytest.approx(100), 0]
    assert repetition([1, 2, 3, 4] * 10) > 0.8 and repetition([1]) == 0
    with pytest.raises(ValueError, match="no reply to measure"):
        reply_metrics([], [])


@pytest.fixture
def run(tmp_path):
    """A run directory as 06 leaves it, with hostile text in prompt and replies."""
    run = RunDir(tmp_path / "evil")
    prompts = fixed_prompts() + [[{"role": "system", "content": EVIL}, {"role": "user", "content": EVIL}]]
    said = {name: [reply(f"{EVIL} {name}")] * len(prompts) for name in MODELS}
    write_comparisons(run, comparison_rows(prompts, ["b"], said))
    scores = dict.fromkeys(MODELS, Scores([10.0, 12.0], [5, 5], [0.1, 0.1], [4, 4]))
    held_out = {name: given[-1:] for name, given in said.items()}
    models = {name: model_numbers(scores[name], held_out[name], ["b"]) for name in MODELS}
    about = {"created": EVIL, "decoding": EVIL, "versions": {EVIL: EVIL}, "models": models}
    skill = {"replies": 1, "models": {EVIL: {EVIL: 1}}}
    write_json(run.evaluation, {**about, "paired": really_better(scores, held_out, ["b"]), "skill": skill})
    line = {"nll": 1.0, "nll_low": 0.9, "nll_high": 1.1}
    report = {"verdict": EVIL, "verdict_reason": EVIL, "chosen": EVIL, "measured": {EVIL: line}}
    write_json(run.merge_report, {**report, "counts": {"rows": EVIL, "tokens": EVIL}})
    write_json(run.config_json, {"run_name": EVIL, "model_id": EVIL, "dataset_id": EVIL})
    for folder in (run.adapter, run.merged):
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"w")
    return run


def test_rows_tell_where_a_question_came_from(run):
    rows = read_jsonl(run.comparisons)
    assert [row["kind"] for row in rows] == ["fixed"] * len(FIXED_PROMPTS) + ["held-out"]
    assert rows[0]["reference"] == FIXED_PROMPTS[0]["known"] and rows[-1]["reference"] == "b"
    assert rows[-1]["merged"] == f"{EVIL} merged" and rows[-1]["stopped"] == dict.fromkeys(MODELS, True)


def test_the_report_begins_with_the_replies_to_one_held_out_message(run):
    first = write_report(run).read_text(encoding="utf-8").split("<h2>")[0]
    assert all(f" {name}</div>" in first for name in MODELS) and "Manifesto" not in first


def test_nothing_from_strangers_becomes_html(run):
    page = write_report(run).read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "http" not in page
    assert "<script>" not in comparison_table(read_jsonl(run.comparisons))._repr_html_()


def test_a_korean_page_leaves_replies_rows_and_names_alone(run, monkeypatch):
    """Headings and our own words are Korean; what a model, a row or a person wrote stays, even where it is a word of
    ours."""
    words = ["no", "better", "Korean", "3 of 4", "the same"]
    prompts = fixed_prompts() + [[{"role": "user", "content": word}] for word in words]
    said = [reply("text")] * len(FIXED_PROMPTS) + [reply(word) for word in words]
    write_comparisons(run, comparison_rows(prompts, words, dict.fromkeys(MODELS, said)))
    content = read_json(run.evaluation)
    write_json(run.evaluation, {**content, "skill": {"replies": 1, "models": {"base": {"won": 1, "stops": 0}}}})
    monkeypatch.setenv("QLORA_LANG", "ko")
    page = write_report(run).read_text()
    assert '<html lang="ko">' in page and "답변 나란히 보기" in page and "행이 너무 적음" in page and "판정" in page
    shown = repr(comparison_table(read_jsonl(run.comparisons)))
    for word in words:
        times = 2 if word == words[0] else 1  # the first held-out message stands at the head, too
        assert (page.count(f">{word}</p>"), page.count(f"\n{word}</div>")) == (times, 4 * times), word
        assert shown.count(f"{word}  ") >= 3, word
    assert "won</td>" in page.replace("</b>", "") and "stops</td>" in page  # names of somebody's checks


def test_the_page_fits_a_phone_and_shows_the_curve_with_its_text(run):
    assert "<svg" not in write_report(run).read_text()
    run.metrics.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0, "eval_loss": 2.5}\n')
    page = write_report(run).read_text()
    assert 'aria-label="Loss over 2 steps' in page and "width=device-width" in page and "prefers-color-scheme" in page
    assert page.count("<table") == page.count('<div class="wide"') > 0


def test_the_turns_before_a_question_are_shown(run):
    """'Is it like that too?' cannot be judged alone, nor a question without the order of its system line."""
    said = [{"role": "system", "content": "짧게"}, {"role": "user", "content": "앨범은?"}]
    shown = comparison_rows([said, said[1:]], [], {"base": [reply("a"), reply("끝없이", stopped=False)]})
    assert "끝없이 …" in repr(comparison_table(shown))  # it was cut
    for page in (repr(comparison_table(shown)), one_by_one(shown).data):
        assert "system: 짧게\nuser: 앨범은?" in page.replace("\\n", "\n") and page.count("user:") == 1


def test_an_order_that_all_questions_share_is_told_once_above_them():
    """It stood in each of 48 rows, so that no question could be seen."""
    asked = [
        [{"role": "system", "content": "짧게"}, {"role": "user", "content": text}] for text in ("앨범은?", "양은?")
    ]
    rows = comparison_rows(asked, [], {"base": [reply("a"), reply("b")]})
    table = comparison_table(rows)
    assert "짧게" in table.caption and [row["asked"] for row in table.rows] == ["앨범은?", "양은?"]
    assert one_by_one(rows).data.count("짧게") == 1
    turns = [[{"role": "user", "content": "안녕"}, {"role": "assistant", "content": "네"}, *asked[0][1:]]] * 2
    same = comparison_table(comparison_rows(turns, [], {"base": [reply("a"), reply("b")]}))
    assert not same.caption and "안녕" in same.rows[0]["asked"], "a turn of the conversation is no order"


def test_checks_are_on_the_page_where_they_were_made_and_an_old_skill_is_one(run):
    assert Evaluation.read(run).checks == {EVIL: {EVIL: 1, "of": 1}} and "The checks" in write_report(run).read_text()
    content = read_json(run.evaluation)
    write_json(run.evaluation, content | {"skill": None})
    assert "The checks" not in write_report(run).read_text()


def test_an_evaluation_is_read_as_it_was_written(tmp_path):
    config, run = RunConfig.load("tiny", temperature=0.5), RunDir(tmp_path)
    written = Evaluation.of(config, {"base": {"nll": 1.0}}, [], checks={"c": {"base": 1, "of": 2}})
    written.write(run)
    assert Evaluation.read(run) == written and read_json(run.evaluation)["schema"] == 1
    assert Evaluation.from_json({"models": {}, "top_p": 1.0, "decoding": "greedy"}).how == "greedy"  # an older one


CUT_REPLY = Reply("", tuple(range(48)), False, 3, thought=f"생각 {EVIL}", in_thought=True, answer_ids=())


def test_a_thought_is_never_shown_as_the_answer():
    prompts = [*fixed_prompts(), Prompt([{"role": "user", "content": "?"}], [{"function": {"name": "f"}}])]
    said = dict.fromkeys(MODELS, [reply("네")] * 5 + [CUT_REPLY])
    rows = json.loads(json.dumps(comparison_rows(prompts, ["b"], said)))
    assert rows[-1]["base"] == "" and rows[-1]["thoughts"]["base"].startswith("생각") and rows[-1]["tools"]
    table = comparison_table(rows)
    assert "(cut inside the thought)" in repr(table) and "생각" not in repr(table)
    page = one_by_one(rows).data
    assert "its thought" in page and "(cut inside the thought)" in page and "<script>" not in page
    assert page.startswith('<div class="mathjax_ignore'), "a reply that holds $5 and $6 is no formula"
    assert blind_pairs(rows[-1:]) == []


def test_replies_cut_inside_their_thoughts_are_counted_and_settle_nothing():
    """Answers are measured alone: a thought that repeats itself is no repetition, one that was cut is no stop."""
    loop = Reply("네 그래요", (1, 2, 3, 4) * 9, True, 3, thought="끝없이", answer_ids=(7, 8, 9, 5, 6))
    numbers = reply_metrics([loop, CUT_REPLY, reply("네 그래요")], ["네 그래요"] * 3)
    assert (numbers["in_thought"], numbers["stops"], numbers["repetition"]) == (1, pytest.approx(2 / 3), 0)
    scores = dict.fromkeys(MODELS, Scores([10.0, 12.0] * 20, [5, 5] * 20))
    for cut, told in ((8, "better"), (9, CUT)):
        adapter = [CUT_REPLY] * cut + [reply("네")] * (40 - cut)
        some = {"base": [reply("아니")] * 40, "adapter": adapter, "merged": [reply("네")] * 40}
        verdicts = {(row["model"], row["number"]): row["verdict"] for row in really_better(scores, some, ["네"] * 40)}
        assert verdicts["adapter", CHRF] == told
    models = {name: model_numbers(scores[name], given, ["네"] * 40) for name, given in some.items()}
    assert "22%" in repr(numbers_table(models)) and "thought" not in repr(numbers_table({"base": models["base"]}))


def test_the_archive_holds_the_adapter_and_not_the_merged_model(run):
    write_report(run)
    names = set(zipfile.ZipFile(pack(run)).namelist())
    assert {"adapter/weights.safetensors", "config.json", "merge_report.json", "report.html"} <= names
    assert not any(name.startswith("merged/") for name in names)


def test_the_archive_holds_the_labs_of_every_run_and_the_votes(run):
    write_report(run)
    for folder in (run.labs, run.path.parent / "labs" / "labs"):
        folder.mkdir(parents=True)
        write_json(folder / "lab1.json", {"solved": True})
    run.votes.write_text("{}")
    assert {"labs/lab1.json", "labs/labs/lab1.json", "votes.jsonl"} <= set(zipfile.ZipFile(pack(run)).namelist())


@pytest.mark.slow
def test_what_is_taken_home_opens_alone(whole_run, tmp_path):
    """On another computer: the report without any other file, the adapter on its base, settings, labs."""
    kept = shutil.ignore_patterns("merged", "gguf", "trainer", "notebooks", "data")
    run = RunDir(Path(shutil.copytree(whole_run.path, tmp_path / "kim" / "tiny", ignore=kept)))
    run.labs.mkdir(exist_ok=True)
    write_json(run.labs / "lab1.json", {"solved": True, "tries": 2})
    home = tmp_path / "home" / "tiny"
    zipfile.ZipFile(pack(run)).extractall(home)
    shutil.rmtree(run.path)
    page = (home / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(?!#|data:)([^"]*)', page) == []
    config = RunDir(home).stored_config()
    model = load_adapter(load_base_model(config), home / "adapter")
    assert model.peft_config["default"].r == config.lora_r
    assert participant(home.parent).labs == {"lab1": Lab(solved=True, tries=2)}


def test_same_is_not_called_better(run):
    paired = read_json(run.evaluation)["paired"]
    assert {row["verdict"] for row in paired if row["number"] == NLL} == {"too few rows"}
    same, said = Scores([10.0, 12.0] * 6, [5] * 12), [reply("같은 말")] * 12
    paired = really_better(dict.fromkeys(MODELS, same), dict.fromkeys(MODELS, said), ["같은 말이"] * 12)
    assert {row["verdict"] for row in paired} == {"no difference that matters"}


@pytest.mark.slow
def test_drawn_replies_in_notebook_06(merged_run, tmp_path, monkeypatch, kernel):
    """The setting reaches the replies of 06; evaluation.json and the report say how they were made."""
    shutil.copytree(merged_run.path, tmp_path / "tiny")
    for name, value in {"RUNS_DIR": tmp_path, "TEMPERATURE": 1.3, "SEED": 7}.items():
        monkeypatch.setenv(f"QLORA_{name}", str(value))
    run_page(kernel, NOTEBOOKS / "06_evaluation.ipynb")
    run = RunDir(tmp_path / "tiny")
    evaluation, page = read_json(run.evaluation), run.report_html.read_text(encoding="utf-8")
    told = "drawn with temperature 1.3, seed 7 for every model, at most 48 new tokens"
    assert (evaluation["temperature"], evaluation["decoding"]) == (1.3, told)
    counted = evaluation["checks"]["valid_json"]
    rows, config = read_jsonl(run.comparisons), run.load_config()
    assert counted.keys() == {*MODELS, "baseline", "of"} and counted["of"] == len(rows) - len(FIXED_PROMPTS) > 12
    assert evaluation["known"]["of"] == 40 and told[1:] in page and "valid_json" in page
    model, tokenizer = load_base_model(config, four_bit=False, source=str(run.merged)), load_tokenizer(config)
    said = {}
    for sampling in (Sampling(1.3, 7), None):
        replies = generate_replies(model, tokenizer, [row["messages"] for row in rows], 48, sampling)
        said[bool(sampling)] = [reply.text for reply in replies]
    assert [row["merged"] for row in rows] == said[True] != said[False]
