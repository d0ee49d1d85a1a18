"""calendar_*.jsonl: made by its program, varied, with something new in a quarter of any part; its checks tell right
from wrong."""

import json
import re
from collections import Counter

import pytest

from docs.data.make_calendar import make, make_pairs, read_lists
from helpers.data.copies import CopyIndex
from helpers.data.prepare import prepare
from helpers.evaluate.checks import load_checks
from helpers.files import read_jsonl
from helpers.runs import RunDir
from helpers.settings import RunConfig
from tests.conftest import ROOT

DATA = ROOT / "notebooks/data"
checks, baseline = load_checks("notebooks/data/calendar_checks.py")
NAMES = list(checks)


@pytest.fixture(scope="module", params=["en", "ko"])
def language(request):
    return request.param


@pytest.fixture(scope="module")
def rows(language):
    return read_jsonl(DATA / f"calendar_{language}.jsonl")


def entry(row):
    return json.loads(row["messages"][-1]["content"])


def test_the_file_is_what_its_program_makes(rows, language):
    assert rows == make(language)


def test_every_row_has_one_form_and_passes_every_check(rows):
    assert len(rows) == 600 and len({row["messages"][1]["content"] for row in rows}) == 600
    for row in rows:
        *asked, answer = row["messages"]
        assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
        assert not re.search(r"[{}]", asked[1]["content"]) and "\n" not in answer["content"]
        assert all(checks[name](asked, answer["content"], answer["content"]) for name in NAMES), row


def test_shapes_are_many_and_a_quarter_of_the_rows_is_new_in_all(rows, language):
    lists = read_lists(language)
    assert len({*lists["shapes, shared"], *lists["shapes, once"]}) >= 200
    assert Counter(row["source"] for row in rows) == {"calendar-shared": 450, "calendar-once": 150}
    values = Counter(value for row in rows for key in ("event", "place", "with") if (value := entry(row)[key]))
    once = [entry(row)[key] for row in rows for key in ("event", "place", "with") if row["source"] == "calendar-once"]
    assert all(values[value] == 1 for value in once if value)
    apart = [name for name in lists if "once" in name and name.replace("once", "shared") in lists]
    assert len(apart) >= 4 and not [n for n in apart if set(lists[n]) & set(lists[n.replace("once", "shared")])]


def test_every_trap_is_there(rows, language):
    missing = Counter(name for row in rows for name, value in entry(row).items() if value is None)
    assert min(missing[name] for name in ("day", "time", "place", "with")) >= 5 and not missing["event"]
    lists = read_lists(language)
    shapes = lists["shapes, shared"] + lists["shapes, once"]
    traps = Counter(slot for shape in shapes for slot in {s.partition(":")[0] for s in re.findall(r"{([^}]+)}", shape)})
    people = traps["who2"] + traps["friend2"] + traps["guest2"]
    assert people >= 20 and min(traps["time2"], traps["day2"] + traps["on2"], traps["place2"] + traps["at2"]) >= 8


def test_nothing_held_out_is_nearly_trained_on(tmp_path, language):
    settings = {"max_rows": 0, "max_eval_rows": 60, "run_name": "calendar"}
    config = RunConfig.load("tiny", dataset_id=f"notebooks/data/calendar_{language}.jsonl", **settings)
    counts = prepare(config, RunDir(tmp_path))["rows"]
    assert (counts["train"], counts["eval"], counts["dropped"]) == (540, 60, 0)
    held_out = Counter(row["source"] for row in read_jsonl(RunDir(tmp_path).eval_jsonl))
    assert held_out["calendar-once"] >= 10


def test_no_two_rows_are_nearly_the_same(rows):
    conversations = [row["messages"] for row in rows]
    index = CopyIndex(conversations, conversations[:200])
    assert sum(index.copies_of(messages) != [number] for number, messages in enumerate(conversations)) == 0


RIGHT = {"event": "lunch", "day": "Friday", "time": "5 pm", "place": None, "with": "Maya"}
ASKED = [
    {"role": "user", "content": "Tom says hi! lunch with Maya on Friday at 4 pm, no, make it 5 pm. Not at Café Luna."}
]


@pytest.mark.parametrize(
    "changes, failed",
    [
        ({"with": "Tom"}, {"exact", "person_right"}),
        ({"time": "4 pm"}, {"exact", "time_right"}),
        ({"day": "Monday"}, {"exact", "day_right", "copied"}),
        ({"event": "Lunch party"}, {"exact", "event_right", "copied"}),
        ({"place": "Café Luna"}, {"exact", "place_right", "nothing_added"}),
        ({"place": ""}, {"exact", "place_right", "nothing_added"}),
        ({"place": "null"}, {"exact", "place_right", "nothing_added", "copied"}),
        ({"time": 5}, set(NAMES)),
        ({"note": None}, set(NAMES)),
    ],
)
def test_each_fault_fails_its_own_checks(changes, failed):
    reply, right = json.dumps(RIGHT | changes, ensure_ascii=False), json.dumps(RIGHT, ensure_ascii=False)
    assert {name for name in NAMES if not checks[name](ASKED, reply, right)} == failed


@pytest.mark.parametrize("reply", ["", "lunch", "[]", "null", "{}", '{"event": "lunch"}', json.dumps(RIGHT)[:-1], "[" * 10**5,
                                   f"Here it is: {json.dumps(RIGHT)}", json.dumps(RIGHT)[:-1] + ', "day": "Friday"}'])  # fmt: skip
def test_what_is_no_entry_passes_nothing(reply):
    assert not [name for name in NAMES if checks[name](ASKED, reply, json.dumps(RIGHT))]


def test_spaces_order_and_capitals_do_not_matter():
    reply = json.dumps(dict(reversed((RIGHT | {"event": "Lunch"}).items())), indent=2)
    assert all(checks[name](ASKED, reply, json.dumps(RIGHT)) for name in NAMES)


def test_the_baseline_is_as_good_as_the_readme_says(rows, language):
    exact = sum(checks["exact"](m[:-1], baseline(m[:-1]), m[-1]["content"]) for m in (r["messages"] for r in rows))
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert f"{exact} of 600" in readme and exact < 300


def test_pairs_have_one_form_and_differ_in_one_field_that_is_in_the_message():
    written = read_jsonl(DATA / "preferences_calendar.jsonl")
    assert written == make_pairs() and len(written) >= 40
    for pair in written:
        better, worse = (json.loads(pair[side][0]["content"]) for side in ("chosen", "rejected"))
        (field,) = (name for name in better if better[name] != worse[name])
        assert list(better) == list(worse) and worse[field] in pair["prompt"][1]["content"]
    asked = {pair["prompt"][1]["content"] for pair in written}
    assert not asked & {row["messages"][1]["content"] for row in make("en")} and len(asked) == len(written)
    fields = Counter(name for p in written for name in json.loads(p["chosen"][0]["content"])
                     if json.loads(p["chosen"][0]["content"])[name] != json.loads(p["rejected"][0]["content"])[name])  # fmt: skip
    assert len(fields) >= 4
