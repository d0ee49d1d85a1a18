"""The exercises of the pages, each done as its page tells it; then its check is asked, with what the page showed.

    python -m proofs.proof_exercises [--preset demo] [EXERCISE ...]     such as 04 or 04.1; without any, all of them

Works in QLORA_RUNS_DIR on a finished run of that preset, which is made where there is none. Every exercise of the pages
is in DONE (tests/workshop/test_exercises.py); 1 is returned when a check says "Not yet."

2026-11-30, 2-core AMD EPYC with AVX2 only, beside much other work (load 5 to 7), on tiny. Solved, in their present
form: 00f.1 (no entry: such a small model writes none), 00f.2 (0 of 20), 00.1, 00.2 (A100 80 GB), 01.1 (41.5 GB),
01.2, 01.3 (size 256: 76 * 10^9 operations a second, 1024: 43), 02.1, 02.2, 03.1 (1.0), 03.2 (three verdicts are red),
03.3 (9 rows and 1), 04.1 (stopped at step 10, 2 sittings, up to step 30), 04.2 (rank 2: 6.764, rank 8: 6.789), 04.3
(13.17 at first, 6.98 in the end; 6.79 at the usual rate), 05.1, 05.2 (five files), 05.3 (killed with 1 file written,
"An unfinished merge resumes"), 06.1 (at temperature 0.8 the base stops always, the adapter at 60 %), 06.2, 06.3 (too
few rows), 07.1, 07.2 (q4_k_m: 1 MB, +0.003 nats), 07.3 (32 tokens), 08.1 (no difference that matters), 08.2 (step 40
of 40), 09.1 (1 row), 09.2 (exit code 1), A1.1, A1.2, A3.1, A3.2 (13.127 and 13.115), A4.1 (2), A4.2 (0), A4.3.

The same day on a 2-core AMD EPYC with AVX512-BF16, beside much other work (load 4 to 9), on tiny: 08.3 (1 of 4 stopped,
rank 64), 09.3 (22 to 180 rows; twice 180 rows are worth 0.00 nats at equal steps, 0.18 at equal epochs), A2.1 (lower),
A2.2 (6.771 and 6.903), A5.1, A5.2. So all 41 were solved.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat.v4 import new_code_cell

from tests.notebooks.kernel import FOLDER, one_kernel, opened


class Do(NamedTuple):
    """What an exercise asks for: lines of the page that are changed (old -> new), and what of it is the answer."""

    answer: str = "None"  # an expression over the names of the page; `stopped`: what the page said when it stopped
    edits: dict[str, str] = {}
    fork: dict = {}  # settings of a run that is made first, and its name
    then: tuple[str, ...] = ()  # pages that are run after the edited one; the last is asked
    stop: str = ""  # the training is interrupted as soon as this file of the chosen run is there
    beside: str = ""  # an expression over `old` and `new`, the answers of the page as it is and as it was edited


def over(**settings) -> dict[str, str]:
    return {"OVERRIDES = {}": f"OVERRIDES = {settings!r}"}


LLAMA = {'PRESET = os.environ.get("QLORA_PRESET", "demo")': 'PRESET = "llama2-7b"'}
TEN_ROWS = ["question,answer", *(f"What is {n} and {n}?,It is {2 * n}." for n in range(1, 11))]
THREE_ROWS = {
    "range(0, 32, 2)": "range(0, 32, 4)",
    'first, second = rows[i]["input_ids"], rows[i + 1]["input_ids"]': (
        'first, second = sum((rows[i + k]["input_ids"] for k in range(3)), []), rows[i + 3]["input_ids"]'
    ),
    'rows[i + 1]["labels"]': 'rows[i + 3]["labels"]',
}
OF_THE_PRESET = 'RunDir(run.path.parent / os.environ["QLORA_PRESET"]).metrics'
GAP = f"losses[-1] - [row['eval_loss'] for row in read_jsonl({OF_THE_PRESET}) if 'eval_loss' in row][-1]"
VERDICT = 'next(row.get("verdict") for row in runs_table(trials).rows if row["run"].endswith("lora_r-2-lora_alpha-4"))'
WIDE = "for wide in [replace(config, lora_r=512)]"
GROWN = f"(big.bytes - small.bytes, big.name) {WIDE} for big in step_parts(wide, shape) for small in parts"
GROWN += " if big.name == small.name"
SWAPPED = '.rename_columns({"chosen": "rejected", "rejected": "chosen"})'
RSLORA = """from helpers.workshop.exercises import check


class RsLora(LoraLinear):
    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__(base, r, alpha, dropout)
        self.scale = alpha / r**0.5
"""
FOREIGN = """text = f"User: {asked[0][-1]['content']}\\nAssistant:"
tokens = len(tokenizer(text, add_special_tokens=False).input_ids)"""
RANK_2 = {"torch.randn(64, 4) @ torch.randn(4, 64)": "torch.randn(64, 2) @ torch.randn(2, 64)"}
BOTH_ZERO = {"torch.empty(r, base": "torch.zeros(r, base", "torch.nn.init.kaiming_uniform_(self.A, a=5**0.5)": "pass"}
QUESTION = {
    "len(FIXED_PROMPTS)\nprint": """len(FIXED_PROMPTS)
prompts[0] = [{"role": "user", "content": "Why is kimchi sour?"}]
print"""
}
MINE = 'OVERRIDES = {"run_name": "mine", "dataset_id": os.environ["QLORA_RUNS_DIR"] + "/my.csv"}'
TEMPLATE = "text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)"
DONE = {
    "00f.1": Do("(box.message, box.replies['after 20 steps'])", {", at Café Luna. Bring": ". Bring"}),
    "00f.2": Do("(config.learning_rate, score['after 20 steps'])", over(learning_rate=1e-5)),
    "00.1": Do("max(phases(chosen, shape, card), key=lambda phase: phase.device).name", LLAMA),
    "00.2": Do(
        "next(f.card for f in fits(chosen, shape, GPUS) if f.headroom >= 0)",
        LLAMA | over(model_id="meta-llama/Llama-2-70b-hf"),
    ),
    "01.1": Do('next(c.detail for c in checks if c.name == "disk")', over(model_id="meta-llama/Llama-2-7b-hf")),
    "01.2": Do('"; ".join(c.fix for c in checks if c.fix)', LLAMA),
    "01.3": Do('rows[-1]["10^9 operations/s"]', {"size, rows = 1024, []": "size, rows = 256, []"}, beside="(new, old)"),
    "02.1": Do("tracking_status(config)", over(report_to="wandb")),
    "02.2": Do("stopped", over(push="adapter")),
    "03.1": Do(
        'report["numbers"]["tokens learned"] / report["numbers"]["tokens"]',
        over(run_name="try-1", answer_only_loss=False),
    ),
    "03.2": Do('sum(not v["ok"] for v in report["verdicts"])', over(run_name="try-2", max_length=64)),
    "03.3": Do(edits={"OVERRIDES = {}": MINE}),
    "04.1": Do(fork={"name": "stopped", "max_steps": 30, "save_steps": 10}, stop="trainer/checkpoint-10/complete.json"),
    "04.2": Do(GAP, fork={"name": "rank-2", "lora_r": 2, "lora_alpha": 4}),
    "04.3": Do(fork={"name": "hot", "learning_rate": 0.5}),
    "05.1": Do(edits=over(merge_method="dequantised-base")),
    "05.2": Do('len([*run.merged.glob("*.safetensors")])'),
    "05.3": Do(),  # merge_killed
    "06.1": Do(edits=over(temperature=0.8)),
    "06.2": Do(edits=QUESTION),
    "06.3": Do(edits={"count = 48 if config.checks else 12": "count = 4"}),
    "07.1": Do("(QUESTION, reply)", {"Dinner with Jonas": "Dinner with Ada"}),
    "07.2": Do("files[-1].name"),
    "07.3": Do("tokens", {TEMPLATE: FOREIGN}),
    "08.1": Do(VERDICT, {"CHANGES = {}": 'CHANGES = {"lora_r": 2, "lora_alpha": 4}'}, then=("04", "08")),
    "08.2": Do(
        'next(trial.step for trial in trials if "-learning_rate-" in trial.name)',
        {"CHANGES = {}": 'CHANGES = {"learning_rate": 10 * config.learning_rate}'},
        then=("04", "08"),
    ),
    "08.3": Do(
        "sum(list(row.values())[-1] is None for row in standing(config.run_name))",
        {"CHOICES = {}": 'CHOICES = {"lora_r": [1, 4, 16, 64]}'},
    ),
    "09.1": Do(edits={"TAKE_OUT = []": "TAKE_OUT = [0]"}),
    "09.2": Do("decide(run, REQUIRE)[0]", {"REQUIRE = config.require": 'REQUIRE = "exact >= 0.99"'}),
    "09.3": Do(edits={"HOW_MUCH = False": "HOW_MUCH = True"}),
    "A1.1": Do("max(parts, key=lambda part: part.bytes).name", LLAMA),
    "A1.2": Do(f"max({GROWN})[1]"),
    "A2.1": Do(
        'measured[-1]["eval_loss"]',
        {'"beta": 0.1': '"beta": 0.5', "-dpo": "-firm"},
        beside='"lower" if new < old else "higher"',
    ),
    "A2.2": Do(
        "tuple(score.nll_per_token for score in scores.values())",
        {"\nparts = split": f"\npairs = pairs{SWAPPED}\nparts = split", "-dpo": "-swapped"},
    ),
    "A3.1": Do("(padding(sorted_once), padding(sorted_once, size=2))"),
    "A3.2": Do('sums["one long text"] / counted', THREE_ROWS, beside="(old, new)"),
    "A4.1": Do("next(r for r in ranks if curves[r][-1] < 0.01)", RANK_2),
    "A4.2": Do("losses[0] - losses[-1]", BOTH_ZERO),
    "A4.3": Do("RsLora", {"from helpers.workshop.exercises import check\n": RSLORA}),
    "A5.1": Do("lambda messages, reply, reference: json.loads(reply) == json.loads(reference)"),
    "A5.2": Do(edits={"NAME = f\"{config.run_name}-reward\"": "NAME, checks = f\"{config.run_name}-form\", FORM"}),
}  # fmt: skip


WAITED = """
import time
while any(row["state"].startswith(("step", "not trained")) for row in standing(config.run_name)):
    time.sleep(5)
"""


class Pages:
    """Visits pages in one kernel, which is emptied between two."""

    def __init__(self, kernel, runs: Path):
        self.kernel, self.runs = kernel, runs

    def visit(self, number: str, ask: str = "", edits: dict[str, str] | None = None, stop: str = "") -> str:
        """Run the page with `edits`, then `ask`: what that prints. A page that stops is asked all the same."""
        path = next(FOLDER.glob(f"{number}*.ipynb"))
        page, stopped = opened(self.kernel, path), ""
        page.timeout = 3600
        for old, new in (edits or {}).items():
            assert any(old in cell.source for cell in page.nb.cells), f"{path.name} has no line {old!r}"
            for cell in page.nb.cells:
                cell.source = cell.source.replace(old, new) if cell.cell_type == "code" else cell.source
        for index, cell in enumerate(page.nb.cells):
            if cell.cell_type != "code":
                continue
            if stop and "trainer.train(" in cell.source:
                self._interrupted(page, cell, index, stop)
            try:
                page.execute_cell(cell, index, store_history=False)
            except CellExecutionError as error:
                stopped = str(error.evalue or error).strip()
                print(f"  {path.name} stopped: {stopped[:200]}", flush=True)
                break
        page.nb.cells.append(asked := new_code_cell(f"stopped = {stopped!r}\n{ask}"))
        page.execute_cell(asked, len(page.nb.cells) - 1, store_history=False)
        return "".join(output.text for output in asked.outputs if "text" in output).strip()

    def _interrupted(self, page: NotebookClient, cell, index: int, stop: str) -> None:
        """The training cell, and the stop button as soon as the file `stop` of the chosen run is there."""
        from helpers.settings import RunConfig

        file = self.runs / RunConfig.load().run_name / stop
        Thread(target=when, args=(file.exists, self.kernel[0].provisioner.pid, signal.SIGINT), daemon=True).start()
        try:
            page.execute_cell(cell, index, store_history=False)
        except CellExecutionError as error:
            print(f"  stopped: {error.evalue}".rstrip())

    def do(self, name: str, exercise: Do) -> str:
        """One exercise; what its check says."""
        from helpers.runs import choose, fork

        with contextlib.redirect_stdout(io.StringIO()):
            choose("")
        number = "00_first" if name[:3] == "00f" else "00_plan" if name[:2] == "00" else name[:2]
        if changes := dict(exercise.fork):
            fork(os.environ["QLORA_PRESET"], changes.pop("name"), **changes)
        if exercise.then:
            self.visit(number, edits=exercise.edits)
            for other in exercise.then[:-1]:
                self.visit(other)
            return self.visit(exercise.then[-1], ASK.format(name=name, answer=exercise.answer))
        answer = exercise.answer
        if exercise.beside:
            one, other = (self.visit(number, f"print({answer})", edits) for edits in ({}, exercise.edits))
            answer = exercise.beside.replace("old", one).replace("new", other)
        ask = (WAITED if name == "08.3" else "") + ASK.format(name=name, answer=answer)
        return self.visit(number, ask, exercise.edits, exercise.stop)


ASK = """
from helpers.workshop.exercises import check
answer = {answer}
print(check("{name}", globals().get("run"), answer=answer), "| answer:", str(answer)[:60])"""


def when(there, process: int, number: int) -> None:
    """Send `process` a signal as soon as `there` says so."""
    while not there():
        time.sleep(0.002)
    os.kill(process, number)


def merge_killed(run: Path) -> str:
    """05.3: the kernel dies as soon as the merge cell has written a file; the line of that cell in the next one."""

    def unfinished() -> list[Path]:
        return [file for note in run.rglob("fingerprint.json") for file in note.parent.glob("*.safetensors")]

    said = ""
    for killed in (True, False):
        book = nbformat.read(next(FOLDER.glob("05_*.ipynb")), as_version=4)
        page = NotebookClient(book, kernel_name="qlora", timeout=3600, resources={"metadata": {"path": FOLDER}})
        code = [(cell, index) for index, cell in enumerate(book.cells) if cell.cell_type == "code"]
        merge = next(pair for pair in code if "merge_shards(" in pair[0].source)
        with page.setup_kernel():
            for pair in code[: 1 + next(place for place, pair in enumerate(code) if "setup()" in pair[0].source)]:
                page.execute_cell(*pair)
            if killed:
                args = (unfinished, page.km.provisioner.pid, signal.SIGKILL)
                Thread(target=when, args=args, daemon=True).start()
            try:
                page.execute_cell(*merge)
            except DeadKernelError:
                print(f"  killed with {len(unfinished())} file(s) written")
        said = "".join(output.get("text", "") for output in merge[0].outputs)
    return next((line for line in said.splitlines() if "unfinished" in line), "")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("wanted", nargs="*")
    options = parser.parse_args()
    own = "qlora-test-runs-" not in os.environ.get("QLORA_RUNS_DIR", "qlora-test-runs-")  # of the tests: nobody's
    os.environ.update({} if own else {"QLORA_RUNS_DIR": tempfile.mkdtemp(prefix="exercises-")})
    os.environ.update(QLORA_PRESET=options.preset, HF_HUB_OFFLINE="1")
    os.environ.pop("WANDB_MODE", None)  # the tests' own
    runs, failed = Path(os.environ["QLORA_RUNS_DIR"]), 0
    (runs / "my.csv").write_text("\n".join(TEN_ROWS), encoding="utf-8")
    wanted = [name for name in DONE if not options.wanted or name.startswith(tuple(options.wanted))]
    with one_kernel() as kernel:
        pages = Pages(kernel, runs)
        for number, made in (("03", "data/train.jsonl"), ("04", "trained.json"), ("05", "merged/config.json"),
                             ("06", "evaluation.json"), ("07", "served.json")):  # fmt: skip
            if not (runs / options.preset / made).exists():
                pages.visit(number)
        for name in wanted:
            start, exercise = time.monotonic(), DONE[name]
            if name == "05.3":
                exercise = exercise._replace(answer=repr(merge_killed(runs / options.preset)))
            said = pages.do(name, exercise)
            failed += not said.startswith("Solved.")
            print(f"{name} {said} ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"{len(wanted) - failed} of {len(wanted)} solved")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
