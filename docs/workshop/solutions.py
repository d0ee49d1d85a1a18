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
    "lab2-06": """mine = {"load_in_4bit": True, "activation_checkpointing": True, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}""",
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

# Each with the beginning of what the check says.
WRONG = {
    "lab1-08": [
        ("repaired = lambda row: row['labels']\nanswer = repaired", "Padding is learned"),
        ("repaired = broken\nanswer = repaired", "Still red"),
        (
            "def repaired(row):\n    return [i if real else -100 for i, real in zip(row['input_ids'], row['attention_mask'])]\n\n\nanswer = repaired",
            "Still red",  # everything is learned, the question too
        ),
        ("answer = lambda row: row['label']", "Your function raises KeyError"),
    ],
    "lab2-06": [
        ("mine = {'load_in_4bit': True, 'max_length': 1024, 'activation_checkpointing': True}", "max_length=1024 cuts"),
        ("mine = {'load_in_4bit': True, 'per_device_train_batch_size': 1}", "One step learns from 1 rows"),
        ("mine = {'load_in_4bit': True}", "It needs"),
        ("mine = {'load_in_4bits': True}", "is no setting"),
    ],
    "lab3-08": [
        ("clean = [row for row in mixed if row not in train]", "40 of the"),  # finds exact copies alone
        ("clean = []", "You keep 0 rows"),
        ("clean = [row for row in mixed if '저기' not in row['messages'][0]['content']][:3]", "You keep 3 rows"),
        ("clean = train", "clean must be a list of rows out of held_out"),
    ],
    "lab4-08": [
        ("resume = checkpoints(folder)[0]", "checkpoint-"),
        ("resume = max(checkpoints(folder), key=lambda c: c.stat().st_mtime)", "checkpoint-"),  # newest by its date
        ("resume = run.trainer / 'checkpoint-1'", "PosixPath"),
    ],
    "lab5-08": [
        ("merged = W + scale * B @ A", "merged differs"),  # beside another weight than the one trained on
        ("merged = four + B @ A", "merged differs"),  # without the scale
        ("merged = broken", "merged differs"),
        ("merged = four", "merged differs"),
        ("merged = A", "merged has the shape"),
    ],
    "lab6-06": [
        (
            "base = held_out_nll(model.eval(), rows)",
            "Your base and the adapter differ by",
        ),  # eval() switches nothing off
        ("base = held_out_nll(model.get_base_model(), rows)", "Your base and the adapter differ by"),
        ("base = adapter.nll_per_token", "base must be the Scores"),
    ],
    "lab7-06": [
        (
            "ids = prompt_ids = tokenizer.apply_chat_template(messages, return_dict=True)['input_ids']",
            "The first",
        ),  # nobody's turn
        ("ids = trained", "The first"),
        ("ids = broken", "The first"),
        ("ids = tokenizer.decode(trained)", "ids must be a list"),
    ],
}


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
