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
        ("answer = lambda row: row['label']", "Your function raises KeyError"),
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
