"""The exercises of the pages, each done as its page tells it, on preset tiny; then what the page or its `check` says.

    python -m proofs.proof_exercises [--preset demo] [EXERCISE ...]     with QLORA_RUNS_DIR on a finished run of that
    preset, or without

2026-11-25, 2-core AMD EPYC CPU; what the answers on the pages say is from this run, and each is solved as written:

    01.1  the disk row asks for 41.5 GB     01.2  rent a card, or take demo                01.3  256: 116, 1024: 28
    (10^9/s)
    02.1  W&B writes an offline file        02.2  needs an account: the page stops
    03.1  all tokens are learned            03.2  two verdicts are red, the page stops     03.3  9 rows to train on, 1
    held out
    04.1  "Resuming from checkpoint-10."    04.2  7.175, rank 8: 7.114                     04.3  7.271, rate 0.01: 7.114
    05.1  the setting is the reason         05.2  demo, by hand: five files
    06.1  all 12 stop, 1 of the greedy ones 06.2  the own question stands first            06.3  "too few rows"
    07.2  all files within 0.0005 nats      07.3  demo, by hand: it stops, the keyword is a sentence
    08.1  rank 2 is proven to be worse      08.3  4, 16, 64 were stopped, 1 ended at 7.28
    A1.1  4-bit weights, 3.2 GB             A1.2  from 2.6 to 20.5 GB
    A3.1  padding 15 % -> 7 %               A3.2  on tiny 12.61 alone, 12.88 behind three
    A4.1  rank 2                            A4.2  the loss falls by 0                      A4.3  equal to peft's layer

2026-11-28, AMD EPYC with AVX512-BF16, on demo: 00.2 no line in any reply; 04.1 "Resuming from checkpoint-10."; 04.2
1.190, rank 16: 1.125; 04.3 4.77, the base's is 2.48; 05.3 "An unfinished merge resumes: 1 weight file(s) are there
already."; 08.1 rank 2 is proven to be worse; 08.2 step 72, 1.484: proven to be worse.

Not here: 00 (the plan's own tests), 02.3 (needs an account of yours).
"""

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path
from threading import Thread

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from tests.conftest import ROOT

RSLORA = """class RsLora(LoraLinear):
    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__(base, r, alpha, dropout)
        self.scale = alpha / r**0.5
check("A4.3", run, answer=RsLora)"""
PRESET = 'PRESET = os.environ.get("QLORA_PRESET", "demo")'
THREE_ROWS = {
    "range(0, 32, 2)": "range(0, 32, 4)",
    'first, second = rows[i]["input_ids"], rows[i + 1]["input_ids"]': (
        'first, second = sum((rows[i + k]["input_ids"] for k in range(3)), []), rows[i + 3]["input_ids"]'
    ),
    'rows[i + 1]["labels"]': 'rows[i + 3]["labels"]',
}
CHECK = 'from helpers.workshop.exercises import check\ncheck("{}", run, answer=3)'
QUESTION = {
    "prompts, fixed = fixed_prompts() + asked, len(FIXED_PROMPTS)": (
        "prompts, fixed = fixed_prompts() + asked, len(FIXED_PROMPTS)\n"
        'prompts[0] = [{"role": "user", "content": "김치는 왜 시어져요?"}]'
    )
}
FOREIGN = {
    "text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)": (
        'text = "User: 저녁에 뭘 먹으면 좋을까요?\\nAssistant:"'
    )
}


DEMO, LLAMA_7B = {PRESET: 'PRESET = "demo"'}, {PRESET: 'PRESET = "llama2-7b"'}
# Exercises that look at what a page says, or change a line of it: notebook, overrides, edits, what is asked of it then
LOOKS = {
    "00.2": ("00_first", {"learning_rate": 1e-5}, DEMO, "[reply.text for reply in after]"),
    "01.1": (
        "01",
        {"model_id": "meta-llama/Llama-2-7b-hf"},
        DEMO,
        'next(c.detail for c in checks if c.name == "disk")',
    ),
    "01.2": ("01", {}, LLAMA_7B, "[c.fix for c in checks if c.fix]"),
    "01.3": ("01", {}, {"size, rows = 1024, []": "size, rows = 256, []"}, "rows"),
    "02.1": ("02", {"report_to": "wandb"}, {}, "os.environ.pop('WANDB_MODE', None) and tracking_status(config)"),
    "02.2": ("02", {"push": "adapter"}, {}, "config.push"),
    "A1.1": ("A1", {}, LLAMA_7B, "sorted([(part.bytes, part.name) for part in parts], reverse=True)[:3]"),
    "A1.2": (
        "A1",
        {},
        LLAMA_7B,
        "[total(adapter_parts(replace(config, lora_r=r), shape)) for r in (config.lora_r, 512)]",
    ),
    "A3.1": ("A3", {}, {}, "[round(padding(sorted_once, size), 3) for size in (8, 2)]"),
    "A3.2": ("A3", {}, THREE_ROWS, "{name: round(total / counted, 2) for name, total in sums.items()}"),
    "05.1": ("05", {"merge_method": "dequantised-base"}, {}, CHECK.format("05.1")),
    "05.2": ("05", {}, {}, CHECK.format("05.2")),
    "06.1": ("06", {"temperature": 0.8}, {}, CHECK.format("06.1")),
    "06.2": ("06", {}, QUESTION, CHECK.format("06.2")),
    "06.3": ("06", {}, {"count=count": "count=4"}, CHECK.format("06.3")),
    "07.2": ("07", {}, {}, "cost_table(merged, measured)"),
    "07.3": ("07", {}, FOREIGN, "tokenizer.decode(output[0, inputs.input_ids.shape[1] :])"),
}


def page(number: str, overrides: dict | None = None, edits: dict | None = None, ask: str = "", stop=None) -> str:
    """Run a notebook with `overrides`, and `edits` (old text -> new); then the cell `ask`: what that shows. A page that
    stops at a cell says so, and is asked all the same.

    `stop`: a file; as soon as it is there, the training cell is interrupted, and run again.
    """
    book, client = opened(number, {"OVERRIDES = {}": f"OVERRIDES = {overrides or {}}", **(edits or {})})
    book.cells.append(nbformat.v4.new_code_cell(ask or "None"))
    with client.setup_kernel():
        for index, cell in enumerate(book.cells):
            if cell.cell_type != "code":
                continue
            if stop and "trainer.train(" in cell.source:
                Thread(target=signal_when, args=(stop.exists, client.km.provisioner.pid, signal.SIGINT)).start()
                try:
                    client.execute_cell(cell, index)
                except CellExecutionError as error:
                    print("  stopped with", error.ename or "an interrupt")
                client.execute_cell(cell, index)
                print(" ", next(o.text for o in cell.outputs if "text" in o).splitlines()[0])
                continue
            try:
                client.execute_cell(cell, index)
            except CellExecutionError as error:
                print("  the page stops:", str(error).strip().splitlines()[-1][:110])
                client.execute_cell(book.cells[-1], len(book.cells) - 1)
                break
    return " ".join(o.data["text/plain"] for o in book.cells[-1].outputs if "data" in o)


def opened(number: str, edits: dict) -> tuple:
    """The notebook with this number, its code edited (old text -> new), and who executes it."""
    path = next((ROOT / "notebooks").glob(f"{number}_*.ipynb"))
    book = nbformat.read(path, as_version=4)
    for old, new in edits.items():
        assert any(old in cell.source for cell in book.cells), old
        for cell in book.cells:
            cell.source = cell.source.replace(old, new) if cell.cell_type == "code" else cell.source
    return book, NotebookClient(book, kernel_name="qlora", timeout=600, resources={"metadata": {"path": path.parent}})


def signal_when(there, process: int, number: int) -> None:
    """Send `process` a signal as soon as `there` says so."""
    while not there():
        time.sleep(0.002)
    os.kill(process, number)


def merge_killed(run: Path) -> str:
    """05.3: the kernel is killed as soon as the merge cell has written a file; what that cell says in the next
    kernel."""

    def unfinished() -> list[Path]:
        return [file for note in run.rglob("fingerprint.json") for file in note.parent.glob("*.safetensors")]

    told = ""
    for killed in (True, False):
        book, client = opened("05", {})
        code = [(cell, index) for index, cell in enumerate(book.cells) if cell.cell_type == "code"]
        merge = next(pair for pair in code if "merge_shards(" in pair[0].source)
        with client.setup_kernel():
            for pair in code[:2]:  # the settings and the cell after a restart
                client.execute_cell(*pair)
            if killed:
                process = client.km.provisioner.pid
                Thread(target=signal_when, args=(unfinished, process, signal.SIGKILL), daemon=True).start()
            try:
                client.execute_cell(*merge)
            except DeadKernelError:
                told += f"killed with {len(unfinished())} file(s) written; "
        told += "".join(o.text for o in merge[0].outputs if "unfinished" in o.get("text", "")).strip()
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("wanted", nargs="*")
    options = parser.parse_args()
    wanted, preset = options.wanted, options.preset
    own = "qlora-test-runs-" not in os.environ["QLORA_RUNS_DIR"]  # which the tests set: then it is nobody's
    os.environ.update({} if own else {"QLORA_RUNS_DIR": tempfile.mkdtemp(prefix="exercises-")})
    os.environ.update(QLORA_PRESET=preset, HF_HUB_OFFLINE="1")
    os.environ.pop("WANDB_MODE", None)  # the tests' own
    from helpers.compare.sweep import standing
    from helpers.files import read_jsonl
    from helpers.runs import RunDir, choose, fork
    from helpers.workshop.exercises import EXERCISES, check
    from helpers.workshop.nearby import held_out_loss

    runs = Path(os.environ["QLORA_RUNS_DIR"])

    def told(exercise, answer=None):
        print(exercise, check(exercise, RunDir(runs / preset), answer), flush=True)

    def asked(exercise):
        return not wanted or exercise in wanted

    looks = [name for name in LOOKS if asked(name)]
    for number, needed_by in (("03", ""), ("04", "04 05 06 07 08 A3"), ("05", "06 07")):
        if not own and any(name[:2] in needed_by or not needed_by for name in wanted or [*EXERCISES, *LOOKS]):
            page(number)
    for name in looks:
        number, overrides, edits, ask = LOOKS[name]
        print(name, page(number, overrides, edits, ask), flush=True)
    if asked("03.1"):
        page("03", {"run_name": "try-1", "answer_only_loss": False})
        told("03.1", 1.0)
    if asked("03.2"):
        page("03", {"run_name": "try-2", "max_length": 64})
        told("03.2", 2)
    if asked("03.3"):
        rows = [
            "하늘은 왜 파래요?,햇빛이 공기에 흩어져서 그래요.",
            "김치는 언제 담그나요?,주로 늦가을에 담가요.",
            "버스를 놓쳤어요.,다음 버스를 기다려 보세요.",
            "고양이가 밥을 안 먹어요.,병원에 데려가 보세요.",
            "라면 물은 얼마나 넣어요?,한 봉지에 오백 밀리리터쯤 넣어요.",
            "잠이 안 와요.,따뜻한 우유를 마셔 보세요.",
            "도서관은 몇 시에 열어요?,보통 아홉 시에 열어요.",
            "비가 올까요?,우산을 챙기는 게 좋아요.",
            "운동을 시작하고 싶어요.,가볍게 걷기부터 해 보세요.",
            "친구와 다퉜어요.,먼저 사과해 보세요.",
        ]
        (runs / "my.csv").write_text("\n".join(["question,answer", *rows]), encoding="utf-8")
        page("03", {"run_name": "mine", "dataset_id": str(runs / "my.csv")})
        told("03.3")
    if asked("04.1"):
        run = fork(preset, "stopped", max_steps=40, save_steps=10)
        page("04", stop=run.trainer / "checkpoint-10" / "complete.json")
        told("04.1")
    if asked("04.2"):
        small = fork(preset, "rank-2", lora_r=2, lora_alpha=4)
        page("04")
        told("04.2", round(held_out_loss(small) - held_out_loss(RunDir(runs / preset)), 3))
    if asked("04.3"):
        hot = fork(preset, "hot", learning_rate=0.5)
        page("04")
        print("  losses", [round(row["loss"], 2) for row in read_jsonl(hot.metrics) if "loss" in row])
        told("04.3")
    if asked("05.3"):
        choose("")  # 04's forks are behind us
        print("05.3", merge_killed(runs / preset), flush=True)
    for exercise, changes in (("08.1", {"lora_r": 2, "lora_alpha": 4}), ("08.2", {"learning_rate": 0.01})):
        if asked(exercise):
            choose("")
            page("08", edits={"CHANGES = {}": f"CHANGES = {changes}"})
            page("04")
            print(exercise, page("08", ask="proven(trials), [(t.name, t.step, t.told) for t in trials]"), flush=True)
    choose("")
    if asked("08.3"):
        page("08", edits={"CHOICES = {}": 'CHOICES = {"lora_r": [1, 4, 16, 64]}'})
        while any(row["state"].startswith(("step", "not trained")) for row in standing(preset)):
            time.sleep(10)
        print("08.3", *standing(preset), sep="\n  ", flush=True)
    if asked("A4.1"):
        edit = {"torch.randn(64, 4) @ torch.randn(4, 64)": "torch.randn(64, 2) @ torch.randn(2, 64)"}
        told("A4.1", page("A4", edits=edit, ask="next(r for r in ranks if curves[r][-1] < 0.01)"))
    if asked("A4.2"):
        edit = {
            "torch.empty(r, base": "torch.zeros(r, base",
            "torch.nn.init.kaiming_uniform_(self.A, a=5**0.5)": "pass",
        }
        told("A4.2", page("A4", edits=edit, ask="losses[0] - losses[-1]"))
    if asked("A4.3"):
        print("A4.3", page("A4", ask=RSLORA))


if __name__ == "__main__":
    main()
