"""The answers of the labs, by the id of the cell that they belong in; and answers that look right and are not.

.venv/bin/python -m docs.workshop.solutions      writes solved copies of the labs to docs/workshop/solved/ (not in git)

The tests put each into its lab: with a solution the check is green, with a wrong answer it says what is still wrong.
"""

from __future__ import annotations

from pathlib import Path

SOLUTIONS = {
    "lab1-08": """\
def repaired(row):
    return [label if real else -100 for label, real in zip(row["labels"], row["attention_mask"], strict=True)]


answer = repaired""",
    "lab2-06": """\
mine = {"load_in_4bit": True, "activation_checkpointing": True}
mine |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}""",
    "lab3-08": """\
from helpers.data.copies import CopyIndex, spread

index, copied = CopyIndex([row["messages"] for row in mixed], spread([row["messages"] for row in train])), set()
for row in train:
    copied.update(index.copies_of(row["messages"]))
clean = [row for number, row in enumerate(mixed) if number not in copied]""",
    "lab4-08": """\
from helpers.train.checkpoints import fault

resume = next(checkpoint for checkpoint in checkpoints(folder) if fault(checkpoint) is None)""",
    "lab5-08": """merged = four + scale * B @ A""",
    "lab6-06": """\
with model.disable_adapter():
    base = held_out_nll(model, rows)""",
    "lab7-06": """\
from helpers.template.chat import prompt_ids

ids = prompt_ids(tokenizer, messages)""",
    "lab8-08": """\
import json


def answer(row):
    text = json.dumps(row["answer"], ensure_ascii=False)
    return [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": text}]""",
    "lab9-08": """\
sources = sorted({row["source"] for row in rows})
out = set(random.Random(7).sample(sources, len(sources) // 5))
parts = [row for row in rows if row["source"] not in out], [row for row in rows if row["source"] in out]""",
    "lab10-08": """optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-3)""",
    "lab11-08": """\
from helpers.evaluate.intervals import paired_difference


def choose(base, trained):
    changes = [paired_difference(base, losses, [1] * len(base), verdicts=20) for losses in trained]
    best = min(range(20), key=lambda number: changes[number]["high"])
    return best if changes[best]["high"] < 0 else None""",
    "lab12-08": """options = {"bos": False, "system": None, "length": LENGTH}""",
    "lab13-08": """\
def reward(reply, right):
    try:
        made = json.loads(reply)
    except ValueError:
        return 0.0
    made = made if isinstance(made, dict) else {}
    return sum(made.get(field) == value for field, value in json.loads(right).items())""",
    "lab14-08": """\
def write(run, rows):
    with run.lock("training"):
        broken(run, rows)""",
    "lab15-08": """\
mended = broken.replace(" if message.role != 'system'", "").replace("[:80]", "")
mended = "\\n".join(line for line in mended.splitlines() if "price" not in line)""",
}

# Each with a part of what the check says.
WRONG = {
    "lab1-08": [
        ("answer = lambda row: row['labels']", "Padding is learned"),
        ("answer = broken", "Still red"),
        (
            "answer = lambda row: [i if real else -100 for i, real in zip(row['input_ids'], row['attention_mask'])]",
            "Still red",
        ),
        ("answer = lambda row: row['label']", "Yours raises KeyError"),
        ("right = lambda row: [label if real else -100 for label, real in zip(row['labels'], row['attention_mask'])]\n"
         "answer = lambda row: right(row)[1:] + [-100]", "its own place"),
        ("answer = lambda row: [-100] * len(row['labels'])", "Still red"),
        ("answer = lambda row: (lambda kept: [x if i in kept[-2:] else -100 for i, x in enumerate(row['labels'])])"
         "([i for i, x in enumerate(row['labels']) if x != -100 and row['attention_mask'][i]])", "Still red"),
        ("answer = [1, 2]", "must be a function"),
    ],
    "lab2-06": [
        ("mine = {'load_in_4bit': True, 'max_length': 1024, 'activation_checkpointing': True}", "max_length must stay"),
        ("mine = {'load_in_4bit': True, 'per_device_train_batch_size': 1}", "One step learns from 1 rows"),
        ("mine = {'load_in_4bit': True}", "It needs"),
        ("mine = {'load_in_4bits': True}", "load_in_4bits"),
        ("mine = {'load_in_4bit': True, 'activation_checkpointing': True, 'lora_r': 1}", "another training"),
        ("mine = {'num_train_epochs': 0.001}", "another training"),
        ("mine = {'model_id': 'build:tiny-llama'}", "another training"),
        ("mine = {'learning_rate': 1e-9, 'lora_target_modules': 'q_proj'}", "another training"),
        ("mine = {1: 2}", "by their names"),
        ("mine = {'load_in_4bit': 'perhaps'}", "load_in_4bit"),
    ],
    "lab3-08": [
        ("clean = [row for row in mixed if row not in train]", "nearly the same"),  # finds exact copies alone
        ("clean = []", "You keep 0 rows"),
        ("clean = read_jsonl(run.eval_jsonl)[:3]", "You keep 3 rows"),
        ("clean = train", "clean must be a list of rows out of mixed"),
        ("clean = read_jsonl(run.eval_jsonl)[:1] * len(mixed)", "each at most as often"),
        ("clean = mixed", "nearly the same"),
        ("clean = [1, 2, 3]", "clean must be a list of rows out of mixed"),
    ],
    "lab4-08": [
        ("resume = checkpoints(folder)[0]", "cannot be used"),
        ("resume = max(checkpoints(folder), key=lambda c: c.stat().st_mtime_ns * (c == newest))", "cannot be used"),
        ("resume = run.trainer / 'checkpoint-1'", "is no checkpoint"),
        ("resume = checkpoints(folder)[-1].name", "is no checkpoint"),
        ("resume = folder", "is no checkpoint"),
        ("resume = None", "is no checkpoint"),
    ],
    "lab5-08": [
        ("merged = W + scale * B @ A", "merged differs"),  # beside another weight than the one trained on
        ("merged = four + 3 * scale * B @ A", "merged differs"),
        ("merged = broken", "merged differs"),
        ("merged = four", "merged differs"),
        ("merged = A", "merged has the shape"),
        ("merged = (four + scale * B @ A).tolist()[:1]", "merged has the shape"),
        ("merged = 'merged'", "must be a tensor"),
        ("merged = (four + scale * B @ A) / 0", "not finite"),
    ],
    "lab6-06": [
        ("base = held_out_nll(model.eval(), rows)", "the adapter itself"),  # eval() switches nothing off
        ("base = held_out_nll(model.get_base_model(), rows)", "the adapter itself"),
        ("base = adapter.nll_per_token", "base must be the Scores"),
        ("base = adapter", "the adapter itself"),
        (
            "from dataclasses import replace\nbase = replace(adapter, nll=[nll * 1.04 for nll in adapter.nll])",
            "away from the model",
        ),
        ("base = held_out_nll(model, rows.select(range(3)))", "base must be the Scores"),
    ],
    "lab7-06": [
        ("ids = tokenizer.apply_chat_template(messages, return_dict=True)['input_ids']", "The first"),  # nobody's turn
        ("ids = trained", "The first"),
        ("ids = broken", "The first"),
        ("ids = tokenizer.decode(trained)", "ids must be a list"),
        ("ids = []", "The first 0 tokens"),
        ("ids = [True, False]", "ids must be a list"),
    ],
    "lab8-08": [
        ("answer = broken", "raises JSONDecodeError"),
        ("answer = lambda row: [*broken(row)[:1], {'role': 'assistant', 'content': row['answer']}]",
         "a template writes text"),
        ("answer = lambda row: [*broken(row)[:1], {'role': 'assistant', 'content': str(row['answer'])}]",
         "raises JSONDecodeError"),
        ("import json\nanswer = lambda row: [*broken(row)[:1], {'role': 'assistant', "
         "'content': json.dumps(json.dumps(row['answer']))}]", "A program reads '{"),
        ("import json\nanswer = lambda row: [*broken(row)[:1], {'role': 'assistant', "
         "'content': json.dumps({k: v for k, v in row['answer'].items() if v is not None})}]", "the row has"),
        ("answer = lambda row: row['answer']['reply']", "two messages"),
        ("import json\nanswer = lambda row: [{'role': 'assistant', 'content': json.dumps(row['answer'])}]",
         "two messages"),
        ("answer = lambda row: row.answer", "raises AttributeError"),
        ("answer = rows", "must be a function"),
    ],
    "lab9-08": [
        ("parts = broken", "on both sides"),
        ("parts = (rows[18:], [{**row, 'source': row['source'] + 99} for row in rows[:18]])", "Every row belongs"),
        ("parts = (rows, [])", "0% of the rows"),
        ("parts = ([row for row in rows if row['source'] > 20], [row for row in rows if row['source'] <= 20])",
         "asked for"),
        ("parts = (rows[18:] + rows[18:21], rows[:15])", "Every row belongs"),
        ("parts = ([row for row in broken[0] if row['source'] not in {r['source'] for r in broken[1]}], broken[1])",
         "Every row belongs"),
        ("parts = (rows[17:], rows[:17])", "on both sides"),
        ("parts = rows", "two lists"),
    ],
    "lab10-08": [
        ("optimizer = broken", "have not moved"),
        ("optimizer = torch.optim.AdamW([w for n, w in model.named_parameters() if 'lora_A' in n], lr=1e-3)",
         "not moved"),
        ("optimizer = torch.optim.AdamW([w for n, w in model.named_parameters() if 'lora_B' in n], lr=1e-3)",
         "not moved"),
        ("optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad][:-1], lr=1e-3)", "1 of"),
        ("optimizer = torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=0.0)", "have not moved"),
        ("optimizer = torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=0.1, maximize=True)",
         "the loss goes from"),
        ("optimizer = list(model.parameters())", "raises AttributeError"),
        ("optimizer = torch.optim.AdamW([w.detach().clone() for w in model.parameters() if w.requires_grad])",
         "not moved"),
    ],
    "lab11-08": [
        ("choose = broken", "days of luck"),
        ("choose = lambda base, trained: None", "you name it 0 times"),
        ("choose = lambda base, trained: 3", "days of luck"),
        ("from helpers.evaluate.intervals import paired_difference\n"
         "choose = lambda base, trained: next((n for n, losses in enumerate(trained) "
         "if paired_difference(base, losses, [1] * 48)['high'] < 0), None)", "days of luck"),  # each at 5 %
        ("from helpers.evaluate.intervals import mean_interval\n"
         "choose = lambda base, trained: next((n for n, losses in enumerate(trained) "
         "if mean_interval(losses, 20)[1] < mean_interval(base, 20)[0]), None)", "you name it"),  # not row by row
        ("choose = lambda base, trained: next((n for n, losses in enumerate(trained) "
         "if all(a > b for a, b in zip(base, losses))), None)", "you name it 0 times"),
        ("choose = lambda base, trained: trained[99]", "raises IndexError"),
        ("choose = broken(*draw(1, 0.1)[:2])", "must be a function"),
    ],
    "lab12-08": [
        ("options = {}", "The server reads another"),
        ("options = {'bos': False}", "The server reads another"),
        ("options = {'bos': False, 'length': LENGTH}", "The server reads another"),
        ("options = {'system': None, 'length': LENGTH}", "The server reads another"),
        ("options = {'bos': False, 'system': None}", "too early"),
        ("options = {'bos': False, 'system': '', 'length': LENGTH - 1}", "too early"),
        ("options = {'beginning': False}", "raises TypeError"),
        ("options = serve", "must be a dict"),
    ],
    "lab13-08": [
        ("reward = broken", "a wrong event gets as much"),
        ("reward = lambda reply, right: float(reply == right)", "in another order"),
        ("reward = lambda reply, right: sum(v in reply for v in json.loads(right).values())", "with one wrong field"),
        ("reward = lambda reply, right: -abs(len(reply) - len(right))", "with one wrong field"),
        ("def reward(reply, right):\n    try:\n        return json.loads(reply) == json.loads(right)\n"
         "    except ValueError:\n        return False", "with one wrong field"),  # all or nothing: no way up
        ("def reward(reply, right):\n    try:\n        made = json.loads(reply)\n"
         "        return sum(v in (made.get(k) or '') for k, v in json.loads(right).items())\n"
         "    except (ValueError, AttributeError):\n        return 0", "with one wrong field"),
        ("reward = lambda reply, right: sum(json.loads(reply).get(k) == v for k, v in json.loads(right).items())",
         "raises JSONDecodeError"),
        ("reward = lambda reply, right: 'good'", "A reward is a number"),
        ("reward = lambda reply, right: 1", "a wrong event gets as much"),
    ],
    "lab14-08": [
        ("write = broken", "nobody held the run"),
        ("def write(run, rows):\n    with run.lock('training'):\n        rows = list(rows)\n    broken(run, rows[:-1])",
         "a line of JSON for each"),
        ("def write(run, rows):\n    if not run.lock_owner():\n        broken(run, rows)", "nobody held the run"),
        ("def write(run, rows):\n    try:\n        with run.lock('training'):\n            broken(run, rows)\n"
         "    except RuntimeError:\n        pass", "says nothing"),
        ("def write(run, rows):\n    try:\n        with run.lock('training'):\n            broken(run, rows)\n"
         "    except RuntimeError:\n        broken(run, rows)", "has written all the same"),
        ("def write(run, rows):\n    with run.lock('training'):\n        run.metrics.write_text('')\n"
         "        broken(run, rows)",
         "the old rows"),
        ("def write(run, rows):\n    with run.lock('training'):\n        broken(run, rows[0])", "raises TypeError"),
        ("write = broken(other, [])", "must be a function"),
    ],
    "lab15-08": [
        ("mended = broken", "where 'system|>"),
        ("mended = broken.replace(\" if message.role != 'system'\", '')", "FineShoes"),
        ("mended = '\\n'.join(line for line in broken.splitlines() if 'price' not in line)", "where 'system|>"),
        ("mended = '\\n'.join(line for line in broken.replace(\" if message.role != 'system'\", '').splitlines() "
         "if 'price' not in line)", "belongs"),  # still cut
        ("mended = '\\n'.join(line for line in broken.replace(\" if message.role != 'system'\", '')"
         ".replace('[:80]', ' | trim').splitlines() if 'price' not in line)", "belongs"),
        ("mended = '\\n'.join(broken.replace(\" if message.role != 'system'\", '').replace('[:80]', '')"
         ".splitlines()[:2]) + '{% endfor %}'", "where '<|assistant|>'"),
        ("mended = '{% for i in range(99999) %}{{ i }}{% endfor %}'", "may be made"),
        ("mended = broken + '{% if %}'", "can write no conversation"),
        ("mended = plain", "raises TypeError"),
    ],
}  # fmt: skip


def solved(lab: Path):
    """The lab with its solutions in the place of the dots: every other cell as it is."""
    import nbformat

    notebook = nbformat.read(lab, 4)
    for cell in notebook.cells:
        cell.source = SOLUTIONS.get(cell.id, cell.source)
    return notebook


if __name__ == "__main__":
    import nbformat

    here = Path(__file__).parent
    (here / "solved").mkdir(exist_ok=True)
    for lab in sorted((here.parent.parent / "notebooks" / "labs").glob("lab*.ipynb")):
        nbformat.write(solved(lab), here / "solved" / lab.name)
        print(here / "solved" / lab.name)
