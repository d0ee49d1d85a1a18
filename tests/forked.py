"""Processes for tests that start in a moment: each is forked from a Python that has imported what is heavy.

    with forked("torch", "transformers", HF_ENDPOINT=hub.url) as run:
        done = run([sys.executable, "-c", code], env=environment, cwd=ROOT)

`run` stands in for subprocess.run, with `-c`, `-m` or a file. The process has its own environment, folder, output and
end. Only what a module reads while it is imported (huggingface_hub: HF_ENDPOINT, HF_HOME) is of the first Python's.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def forked(*modules: str, **environment: str):
    """A function like subprocess.run for Pythons that have imported `modules` in `environment`; text is captured."""
    command, pipe = [sys.executable, "-m", "tests.forked", *modules], subprocess.PIPE
    first = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env={**os.environ, **environment})

    def run(command, env=None, cwd=".", **_options) -> subprocess.CompletedProcess:
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder, name)) for name in ("out", "err")]
            order = [*map(str, command[1:])], dict(os.environ if env is None else env), str(Path(cwd).resolve()), files
            first.stdin.write(json.dumps(order) + "\n")
            first.stdin.flush()
            code = int(first.stdout.readline())
            return subprocess.CompletedProcess(command, code, *(Path(f).read_text(errors="replace") for f in files))

    try:
        yield run
    finally:
        first.stdin.close()
        first.wait()


def become(words: list[str], environment: dict[str, str], folder: str, files: list[str]) -> None:
    """This process is now `python WORDS...`, with its standard output and error in `files`."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    kind, *rest = words
    sys.argv = words if kind != "-m" else rest
    sys.path[0] = str(Path(kind).resolve().parent) if not kind.startswith("-") else ""
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(kind, run_name="__main__")


def ended(process) -> int:
    """The exit status of `process()`, as Python's own end gives it. Taking all of the modules down again costs more
    than a short process does."""
    atexit._clear()  # those of the first Python are not of this one
    code = 0
    try:
        process()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        print(end.code, file=sys.stderr) if isinstance(end.code, str) else None
    except BaseException:
        traceback.print_exc()
        code = 1
    for thread in threading.enumerate():
        thread.join() if not thread.daemon and thread is not threading.main_thread() else None
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # some libraries print while they are imported
    for module in sys.argv[1:]:
        importlib.import_module(module)
    gc.freeze()
    while line := sys.stdin.readline():
        if child := os.fork():
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
        else:
            os._exit(ended(lambda: become(*json.loads(line))))


if __name__ == "__main__":
    main()
