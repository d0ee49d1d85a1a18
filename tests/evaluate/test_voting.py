import pytest

from helpers.evaluate.comparison import write_comparisons
from helpers.evaluate.intervals import wilson_interval
from helpers.evaluate.voting import (
    ON_PAPER,
    NoVote,
    blind_pairs,
    preference_pairs,
    save_vote,
    vote_summary,
    vote_table,
    voting_page,
    voting_widget,
)
from helpers.files import read_jsonl
from helpers.runs import RunDir


def row(question, base, adapter, *before):
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate([*before, question])]
    return {"prompt": question, "messages": turns, "base": base, "adapter": adapter}


ROWS = [row(f"q{i} <b>", f"base says {i}", f"<i>adapter says {i}") for i in range(12)]
ROWS.append(row("same", "x", "x"))


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path)
    write_comparisons(run, ROWS)
    return run


def test_pairs_are_drawn_by_lot_and_again_the_same():
    pairs = blind_pairs(ROWS, seed=1)
    assert pairs == blind_pairs(ROWS, seed=1) != blind_pairs(ROWS, seed=2)
    assert len(pairs) == 12 and {pair["models"][0] for pair in pairs} == {"base", "adapter"}
    for pair in pairs:
        assert pair["models"][0] in pair["A"] and pair["models"][1] in pair["B"]


def test_votes_are_kept_and_the_last_one_counts(run):
    nothing = {"base": 0, "adapter": 0, "same": 0, "outdated": 0}
    assert vote_summary(run) == {**nothing, "low": 0.0, "high": 1.0}
    pairs = blind_pairs(ROWS)
    for pair in pairs:
        save_vote(run, pair, "AB"[pair["models"].index("adapter")])
    save_vote(run, pairs[0], "same")
    assert vote_summary(run).items() >= {**nothing, "adapter": 11, "same": 1}.items()
    assert "11 of 11 decided votes, 95 % interval 74% to 100%" in vote_table(run).caption
    with pytest.raises(NoVote):
        save_vote(run, pairs[0], "C")


def test_the_same_last_question_in_two_conversations_is_two_votes(run):
    """A key of the last message alone counted 8 votes as 5."""
    rows = [row("그래요?", f"base {i}", f"adapter {i}", f"질문 {i}", "답") for i in range(5)] + ROWS[:1]
    write_comparisons(run, rows)
    pairs = blind_pairs(rows)
    for pair in pairs:
        save_vote(run, pair, "AB"[pair["models"].index("base")])
    assert vote_summary(run)["base"] == len(pairs) == 6
    shown = repr(voting_page(run, pairs))
    assert "질문 3" in shown and "assistant: 답" in shown  # the turns before are part of what is judged


def test_votes_on_other_replies_are_not_counted(run):
    for pair in blind_pairs(ROWS):
        save_vote(run, pair, "A")
    changed = [{**old, "adapter": old["adapter"] + "!"} if i < 3 else old for i, old in enumerate(ROWS)]
    write_comparisons(run, changed)
    found = vote_summary(run)
    assert found["outdated"] == 3 and found["base"] + found["adapter"] == 9
    assert "3 vote(s) on other replies are not counted" in vote_table(run).caption
    with run.votes.open("a", encoding="utf-8") as file:  # as votes were kept before
        file.write('{"prompt": "q5 <b>", "models": ["adapter", "base"], "winner": "base"}\n')
    assert vote_summary(run) == {**found, "outdated": 4}


def test_wilson():
    """Figures from Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    table = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for counts, interval in table.items():
        assert wilson_interval(*counts) == pytest.approx(interval, abs=1e-4)


def test_the_page_saves_every_click_and_never_names_a_model(run):
    pairs = blind_pairs(ROWS[:3])
    pairs = [{**pair, "A": "one <script>", "B": "two"} for pair in pairs]
    page, buttons, _told = voting_widget(run, pairs).children
    for number in range(3):
        assert f"{number + 1} of 3" in page.value and "&lt;script&gt;" in page.value and "<script>" not in page.value
        assert "adapter" not in page.value and "base" not in page.value and "mathjax_ignore" in page.value
        buttons.children[0].click()
        assert len(read_jsonl(run.votes)) == number + 1
    assert all(button.disabled for button in buttons.children) and "95 % interval" in page.value
    assert vote_summary(run)["same"] == 0


def test_without_a_person_there_is_a_table(run):
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "날씨", "arguments": {}}}]}
    shown = repr(voting_page(run, blind_pairs([{**ROWS[0], "messages": [call, *ROWS[0]["messages"]]}])))
    assert "base says" in shown and "models" not in shown
    assert "날씨" in shown and "None" not in shown  # a turn that only calls a tool


def test_on_paper_a_few_pairs_stand_for_all(run):
    pairs = blind_pairs(ROWS)
    table = voting_page(run, pairs)
    assert len(table.rows) == ON_PAPER < len(pairs) and f"{ON_PAPER} of {len(pairs)} pairs" in table.caption


def test_a_vote_that_was_cut_off_takes_no_other_with_it(run):
    pairs = blind_pairs(ROWS)
    save_vote(run, pairs[0], "A")
    with run.votes.open("a") as file:
        file.write('{"key": "cut')  # the disk filled up
    save_vote(run, pairs[1], "A")
    assert [row["key"] for row in read_jsonl(run.votes)] == [pair["key"] for pair in pairs[:2]]


def test_decided_votes_are_preference_pairs(run):
    """The last vote on the replies of now counts; "same" decides nothing, and takes a decision back."""
    assert preference_pairs(run) == []
    first, second, third = blind_pairs(ROWS)[:3]
    for pair, choice in ((first, "A"), (second, "B"), (third, "A"), (third, "same")):
        save_vote(run, pair, choice)
    found = preference_pairs(run)
    assert [pair["prompt"] for pair in found] == [first["messages"], second["messages"]]
    for pair, better, worse in zip(found, (first["A"], second["B"]), (first["B"], second["A"]), strict=True):
        assert pair["chosen"] == [{"role": "assistant", "content": better}]
        assert pair["rejected"] == [{"role": "assistant", "content": worse}]
    write_comparisons(run, [{**row, "base": row["base"] + "!"} for row in ROWS])
    assert preference_pairs(run) == []
