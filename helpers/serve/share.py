"""The model in a page: base and fine-tuned model answer side by side in the visitor's browser, from a static server.

    .venv/bin/python -m helpers.serve.share RUN                      makes the folder RUN/share
    .venv/bin/python -m helpers.serve.share RUN --examples           the same, with held-out questions and a blind vote
    .venv/bin/python -m helpers.serve.share RUN --votes votes.jsonl  adds the votes that a visitor sent back

llama.cpp in WebAssembly comes from the npm package @wllama/wllama, named by its hash. The page draws no lots and
names no model beside the pairs of the vote: which reply is whose stays in the run.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from helpers.evaluate.comparison import conversation
from helpers.evaluate.generation import prompts_and_references
from helpers.evaluate.voting import BUTTONS, CHOICES, blind_pairs, save_vote, vote_table
from helpers.files import read_jsonl, replace_folder, write_atomic
from helpers.model.source import ModelSource
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.runs.forks import share as link_or_copy
from helpers.serve.commands import served_context
from helpers.serve.gguf import FILE_TYPES, convert, quantise
from helpers.show.pages import render_page
from helpers.show.units import human_bytes
from helpers.show.words import _
from helpers.template.chat import render, takes_system

if TYPE_CHECKING:
    from helpers.settings import RunConfig

WLLAMA = "@wllama/wllama@3.13.0"  # llama.cpp in WebAssembly (MIT)
INTEGRITY = "ZvoRdQAn+E+18EvQ9qS036gudiI9rbZRBJgG/qNICPPwrA0Y6SMMdbziz/j7K/0WxcbJlhaRraVIYsnEy732NA=="  # its SHA-512
PARTS = {"esm/index.min.js": "index.min.js", "esm/wasm/wllama.wasm": "wllama.wasm", "LICENCE": "LICENCE"}
LARGEST = 2 * 1024**3  # bytes of one file that a browser keeps in memory
EXAMPLES = 8


class CannotShare(ValueError):
    """What the page needs is missing, or does not fit into a browser."""


def share(run: RunDir, config: RunConfig, examples: bool = False) -> Path:
    """The page of `run` in RUN/share, with all that it loads; its path. Raises CannotShare, FileNotFoundError, OSError.

    The smallest GGUF file of 07 is shared, and the base model in the same format, asked with the same template. Only
    with `examples` do rows of the data leave this machine: held-out questions, and the replies of 06 for a vote."""
    from transformers import AutoTokenizer

    run.require(run.merged / "config.json", produced_by="05_merge_and_push.ipynb")
    tuned = min(run.gguf.glob("model-*.gguf"), key=lambda file: file.stat().st_size, default=None)
    if tuned is None:
        raise CannotShare(_("{folder} has no GGUF file: run 07_serve.ipynb first.").format(folder=run.gguf))
    size = tuned.stat().st_size  # the base's file has the same kind and shapes
    if size > LARGEST:
        sentence = _(
            "{size} is more than a browser can keep in one file ({most}): name a smaller kind in gguf_formats."
        )
        raise CannotShare(sentence.format(size=human_bytes(size), most=human_bytes(LARGEST)))
    folder, tokenizer = run.path / "share", AutoTokenizer.from_pretrained(run.merged)
    questions, _references = prompts_and_references(read_jsonl(run.eval_jsonl)[:EXAMPLES])
    fetch_wllama(folder / "wllama")
    (folder / "tuned.gguf").unlink(missing_ok=True)
    link_or_copy(tuned, folder / "tuned.gguf")
    kind, base = tuned.stem.removeprefix("model-"), ModelSource.of(config).folder(["*.safetensors*"])
    texts = [render(tokenizer, messages, add_generation_prompt=True) for messages in questions]
    _base_file(run, base, folder / "base.gguf", kind, tokenizer, texts)
    write_atomic(folder / "index.html", _page(run, config, tokenizer, questions, examples))
    return folder / "index.html"


def _base_file(run: RunDir, base: Path, file: Path, kind: str, tokenizer, texts: list[str]) -> None:
    """The weights of the folder `base` as `kind`, all else as the merged folder has it: tokenizer, template, stops."""
    whole = file if kind == "f16" else file.with_name("base-f16.gguf")
    with tempfile.TemporaryDirectory() as folder:
        others = [path for path in run.merged.iterdir() if ".safetensors" not in path.name]
        for path in [*others, *base.glob("*.safetensors*")]:
            Path(folder, path.name).symlink_to(path.resolve())
        convert(Path(folder), whole, tokenizer, texts)
    if kind in FILE_TYPES:
        quantise(whole, file, kind)
        whole.unlink()


def fetch_wllama(folder: Path) -> None:
    """llama.cpp in WebAssembly, as npm has it, in `folder`. Raises CannotShare for other bytes than INTEGRITY's."""
    if folder.exists():
        return
    npm = shutil.which("npm")
    if not npm:
        raise CannotShare(_("The page needs npm once, to fetch {package}: install Node.js.").format(package=WLLAMA))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        done = subprocess.run([npm, "pack", "--silent", WLLAMA], cwd=place, capture_output=True, text=True)
        packed = next(Path(place).glob("*.tgz"), None)
        if done.returncode or packed is None:
            lines = done.stderr.strip().splitlines() or [""]
            raise CannotShare(_("npm could not fetch {package}: {reason}").format(package=WLLAMA, reason=lines[-1]))
        if base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode() != INTEGRITY:
            sentence = _("npm gave other bytes for {package} than we know: nothing was kept.")
            raise CannotShare(sentence.format(package=WLLAMA))
        draft = Path(place) / "wllama"
        draft.mkdir()
        with tarfile.open(packed) as archive:
            for part, name in PARTS.items():
                (draft / name).write_bytes(cast(IO[bytes], archive.extractfile(f"package/{part}")).read())
        replace_folder(draft, folder)


def _page(run: RunDir, config: RunConfig, tokenizer, questions: list, examples: bool) -> str:
    told = [[turn for turn in messages if turn["role"] == "system"] for messages in questions]
    before = told[0] if all(turns == told[0] for turns in told) else []  # what one row is told is that row's data
    joined = before and not takes_system(tokenizer)  # then it stands in the question
    files = {"base": "base.gguf", "tuned": "tuned.gguf"}
    settings = {
        "files": files,
        "before": [] if joined else before,
        "prefix": before[0]["content"] + "\n\n" if joined else "",
        "examples": [messages[-1]["content"] for messages in questions] if examples else [],
        "pairs": [_as_shown(pair) for pair in _pairs(run)] if examples else [],
        "max_new_tokens": config.max_new_tokens,
        "context": served_context(run.merged, config),
        "timing": _("first token after {first} s, whole reply after {whole} s"),
        "working": _("The models are working on your own machine …"),
    }
    buttons = [(choice, _(words)) for choice, words in zip(CHOICES, BUTTONS, strict=True)]
    intro = _("Two models answer you here, in your own browser: {model} as it was, and after its training.")
    size = human_bytes(sum((run.path / "share" / name).stat().st_size for name in files.values()))
    values = {"intro": intro.format(model=config.model_id), "size": size, "settings": settings, "buttons": buttons}
    return render_page("share.html.j2", title=config.run_name, **values)


def _as_shown(pair: dict) -> dict:
    return {"key": pair["key"], "asked": conversation(pair["messages"]), "A": pair["A"], "B": pair["B"]}


def _pairs(run: RunDir) -> list[dict]:
    return blind_pairs(read_jsonl(run.comparisons)) if run.comparisons.exists() else []


def add_votes(run: RunDir, file: Path) -> int:
    """The votes of `file` (lines with key and choice) into the run, as 06 keeps them; how many. Others are left out."""
    pairs = {pair["key"]: pair for pair in _pairs(run)}
    votes = [vote for vote in read_jsonl(file) if isinstance(vote, dict) and vote.get("choice") in CHOICES]
    known = [vote for vote in votes if isinstance(vote.get("key"), str) and vote["key"] in pairs]
    for vote in known:
        save_vote(run, pairs[vote["key"]], vote["choice"])
    return len(known)


def main() -> int:
    """The command line."""
    from transformers.utils.logging import disable_progress_bar

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--examples", action="store_true")
    parser.add_argument("--votes", type=Path)
    chosen = parser.parse_args()
    run = RunDir(runs_root() / chosen.run)
    if not run.config_json.exists():
        parser.error(_("There is no run {run} in {folder}.").format(run=chosen.run, folder=runs_root()))
    disable_progress_bar()
    try:
        if chosen.votes:
            print(_("{count} votes were added.").format(count=add_votes(run, chosen.votes)))
            print(vote_table(run))
            return 0
        page = share(run, run.stored_config(), chosen.examples)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print(_("{page} is ready. A browser wants it from a server:").format(page=page))
    print(shlex.join([sys.executable, "-m", "http.server", "--directory", str(page.parent), "8000"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
