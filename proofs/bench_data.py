"""How fast, and in how much memory: parsing, the whole preparation, and the label checks. Run by hand:

    python -m proofs.bench_data [--rows 200000]

Each number comes from a process of its own; memory is the peak above what the imports alone need.

2026-11-24, CPU with 2 cores, 24 GiB, Python 3.11 (parse and prepare use one core, inspect both):

    parse      50,000 rows (14 MB)    0.5 s  106,688 rows/s      1 MB
    prepare    50,000 rows (14 MB)    4.4 s   11,462 rows/s      6 MB
    inspect    48,724 rows (14 MB)   18.1 s    2,693 rows/s    111 MB
    parse     200,000 rows (57 MB)    1.8 s  114,235 rows/s      1 MB
    prepare   200,000 rows (57 MB)   19.5 s   10,232 rows/s     22 MB
    inspect   195,005 rows (57 MB)   75.7 s    2,576 rows/s    388 MB

2026-11-25, another CPU (AVX2 only) beside other work, CPU seconds of the task alone. Rows say more about themselves
than the day before (fields, weights, thoughts, tools), which costs the parsing most of its speed; the goal is 20,000
rows/s:

    parse      50,000 rows (14 MB)    1.7 s   29,185 rows/s      6 MB
    prepare    50,000 rows (14 MB)    7.5 s    6,680 rows/s      8 MB
    inspect    48,724 rows (14 MB)   25.5 s    1,907 rows/s    109 MB
    parse     200,000 rows (57 MB)    6.8 s   29,451 rows/s      6 MB
    prepare   200,000 rows (57 MB)   29.9 s    6,694 rows/s     23 MB
    inspect   195,005 rows (57 MB)  105.8 s    1,844 rows/s    393 MB

2026-11-28, a CPU with AVX512, beside other work, after doubled fields and multiple choice are looked for as well:

    parse      50,000 rows (14 MB)    0.8 s   63,398 rows/s      5 MB
    prepare    50,000 rows (14 MB)    3.4 s   14,783 rows/s      8 MB

2026-11-29, 2-core AMD EPYC (AVX512-BF16) with eight other processes, after leftovers, marks and the split by
beginnings:

    parse     100,000 rows (29 MB)    2.7 s   37,702 rows/s      5 MB
    prepare   100,000 rows (29 MB)   12.2 s    8,169 rows/s     24 MB
    inspect    97,450 rows (29 MB)   51.2 s    1,904 rows/s    196 MB

20,000 rows with a source each take as long as with one source (4.2 s of CPU, `prepare`, twice each).

Time grows with the rows. `prepare` keeps a hash of every conversation, about 0.1 kB a row, whatever its length;
`inspect` and the training hold the prepared rows themselves, about 2 kB a row here.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import ROOT

WORDS = "바다 강물 노을 별빛 구름 나무 언덕 들판 안개 새벽 저녁 가을 봄비 눈꽃 바람".split()


def write_rows(path: Path, count: int) -> None:
    """`count` rows in the open-korean-instructions format, about 130 characters each, one in ten with a trap."""
    import random

    pick = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            question, answer = (" ".join(pick.choices(WORDS, k=k)) for k in (10, 22))
            text = f"<usr> {i}번째 {question}?\n<bot> {answer}."
            text = [text, f"<bot> 네?\n{text}", f"{text}\n<usr> 고마워", f"{text}\n<bot> "][
                pick.randrange(4) * (i % 10 == 0)
            ]
            file.write(json.dumps({"source": f"source-{i % 5}", "text": text}, ensure_ascii=False) + "\n")


def parse(path: Path) -> int:
    """Read, parse, validate: what has to reach 20,000 rows/s on one core."""
    from helpers.data.formats import convert
    from helpers.data.reasons import Unusable
    from helpers.data.sources import open_sources

    first, rows = open_sources(settings(path))[0], 0
    for row in first.rows:
        rows += 1
        with contextlib.suppress(Unusable):
            convert(row, first.form)
    return rows


def prepare(path: Path) -> int:
    """All of data.prepare: parse, count, de-duplicate, split, compare with the held-out rows, write."""
    from helpers.data.prepare import prepare as run
    from helpers.runs import RunDir

    with tempfile.TemporaryDirectory() as folder:
        rows = run(settings(path), RunDir(Path(folder)))["rows"]
    assert rows["read"] == rows["train"] + rows["eval"] + rows["dropped"]
    return rows["read"]


def inspect(path: Path) -> int:
    """The verdicts on all prepared rows, with the tiny model's tokenizer."""
    from helpers.data.prepare import prepare as run
    from helpers.data.verdicts import inspect as judge
    from helpers.files import read_jsonl
    from helpers.model.tokenizer import load_tokenizer
    from helpers.runs import RunDir

    with tempfile.TemporaryDirectory() as folder:
        target = RunDir(Path(folder))
        run(settings(path), target)
        train, held_out = read_jsonl(target.train_jsonl), read_jsonl(target.eval_jsonl)
    start.append(time.process_time())  # only the checks are timed
    judge(train, held_out, load_tokenizer(settings(path)), settings(path))
    return len(train) + len(held_out)


def settings(path: Path):
    from helpers.settings import RunConfig

    return RunConfig.load("tiny", dataset_id=str(path), max_rows=0, max_length=600)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


start: list[float] = []


def measure(task: str, path: Path) -> None:
    """One task in this process: prints rows, seconds, MB above the imports."""
    import datasets  # noqa: F401  the imports are not what is measured
    import numpy  # noqa: F401

    if task == "inspect":
        from trl.trainer import sft_trainer  # noqa: F401
    before = peak_mb()
    start.append(time.process_time())  # of this process alone: the machine may have other work
    rows = globals()[task](path)
    print(json.dumps([rows, time.process_time() - start[-1], peak_mb() - before]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--task")
    parser.add_argument("--path", type=Path)
    arguments = parser.parse_args()
    if arguments.task:
        return measure(arguments.task, arguments.path)
    with tempfile.TemporaryDirectory() as folder:
        for count in (arguments.rows // 4, arguments.rows):
            path = Path(folder) / f"{count}.jsonl"
            write_rows(path, count)
            for task in ("parse", "prepare", "inspect"):
                command = [sys.executable, "-m", "proofs.bench_data", "--task", task, "--path", str(path)]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
                rows, seconds, memory = json.loads(done.stdout.splitlines()[-1])
                size = path.stat().st_size / 1e6
                print(
                    f"{task:8} {rows:>8,} rows ({size:.0f} MB) {seconds:6.1f} s {rows / seconds:>8,.0f} rows/s "
                    f"{memory:6.0f} MB"
                )


if __name__ == "__main__":
    main()
