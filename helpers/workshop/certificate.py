"""Proof at the end: a page with a participant's own curve, replies and labs, and the hashes of the files it comes from.

python -m helpers.workshop.certificate --name "홍길동" [--run RUN]     writes certificate.html into the run directory
python -m helpers.workshop.certificate --verify FILE [--run RUN]       makes it again from the run's files, and compares

`--run` is the folder of the run, or its name; without it, that of the present settings. The page is made from the files
alone, so that a changed number on it, or in a file, is found: the two pages, or the hashes, differ then.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import sys
from datetime import date
from pathlib import Path

from helpers.files import read_json, read_jsonl, sha256, write_atomic
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.pages import document
from helpers.show.pictures import curve
from helpers.workshop import progress

STYLE = """
body { font-size: 17px; max-width: 760px } main { border: 2px solid var(--line); border-radius: 12px; padding: 1.5rem 2rem }
h1 { margin: 0; font-size: 2.2rem } dt { font-weight: 600; margin-top: .8rem } dd { margin: 0; white-space: pre-wrap }
code { font-size: 11px; word-break: break-all }
"""


def files_of(run: RunDir) -> list[Path]:
    """The files that a certificate speaks for, in order; those that are there."""
    named = [
        run.config_json,
        run.data_report,
        run.metrics,
        run.merge_report,
        run.evaluation,
        run.comparisons,
        run.votes,
    ]
    weights = run.adapter / "adapter_model.safetensors"
    return [path for path in (*named, weights, *progress.labs_of(run)) if path.exists()]


def certificate(run: RunDir, name: str, day: str) -> str:
    """The page for `name` on `day` (YYYY-MM-DD) as HTML, from the files of `run` alone; everything in it is escaped.

    Raises FileNotFoundError when 04 has not finished, ValueError for an empty name.
    """
    if not name.strip():
        raise ValueError(f"name={name!r} is empty: give the name that is to stand on the page.")
    run.require(run.trained, run.metrics, produced_by="04_qlora_training.ipynb")
    found, rows = progress.of(run, name), read_jsonl(run.metrics)
    facts = [("Trained", _trained(run, rows))]
    if found.red_labels is not None:
        facts.append(("Labels", f"{found.red_labels} red verdicts" if found.red_labels else "every verdict green"))
    if found.merge:
        facts.append(("Merge report", found.merge))
    facts += _reply(run)
    solved = [lab for lab, done in found.labs.items() if done]
    facts.append(("Labs solved", f"{len(solved)}: {', '.join(solved)}" if solved else "none yet"))
    if run.votes.exists():
        facts.append(("Votes", f"{len(read_jsonl(run.votes))} blind votes"))
    hashes = _hashes(run)
    about = json.dumps({"name": name, "day": day, "run": run.path.name, "files": hashes}, ensure_ascii=True, indent=1)
    items = "".join(f"<dt>{key}</dt><dd>{html.escape(value)}</dd>" for key, value in facts)
    listed = "".join(f"<li>{html.escape(path)}<br><code>{value}</code></li>" for path, value in hashes.items())
    shown = (
        f'<main><p class="soft">A fine-tune, made and checked by</p><h1>{html.escape(name)}</h1><p class="soft">{html.escape(day)} · run {html.escape(run.path.name)}</p>'
        f"{curve(rows)}<dl>{items}</dl><details><summary>Files and their SHA-256</summary><ul>{listed}</ul></details>"
        f'</main><script type="application/json" id="about">{about.replace("<", chr(92) + "u003c")}</script>'
    )
    return document(f"Certificate · {name}", shown, STYLE)


def _hashes(run: RunDir) -> dict[str, str]:
    """Path from the run -> SHA-256; a lab that was solved on another run begins with ../"""
    return {Path(os.path.relpath(path, run.path)).as_posix(): sha256(path) for path in files_of(run)}


def _trained(run: RunDir, rows: list[dict]) -> str:
    config = read_json(run.config_json)
    losses = [row["eval_loss"] for row in rows if "eval_loss" in row]
    fell = (
        f"held-out loss {losses[0]:.2f} to {losses[-1]:.2f} nats per token" if losses else "no held-out loss measured"
    )
    return f"{config['model_id']} on {config['dataset_id']}: {max(row['step'] for row in rows)} steps, {fell}"


def _reply(run: RunDir) -> list[tuple[str, str]]:
    """The participant's best reply: of those that end by themselves, the one that shares most letters with its reference."""
    if not run.comparisons.exists():
        return []
    from sacrebleu.metrics import CHRF

    chrf = CHRF()
    ended = [
        row for row in read_jsonl(run.comparisons) if row.get("stopped", {}).get("adapter") and row.get("reference")
    ]
    if not ended:
        return [("Best reply", "no reply ended by itself")]
    best = max(ended, key=lambda row: chrf.sentence_score(row["adapter"], [row["reference"]]).score)
    return [("Best reply", f"{best['prompt']}\n→ {best['adapter']}")]


def verify(page: Path, run: RunDir) -> list[str]:
    """What differs between a certificate and the run it speaks for, as sentences; none when it is genuine."""
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="about">(.*?)</script>', text, re.S)
    if not found:
        return [f"{page.name} is not a certificate of this project: it has no list of files."]
    about = json.loads(found[1])
    here = _hashes(run)
    wrong = [f"{path} is missing in {run.path.name}" for path in about["files"] if path not in here]
    wrong += [f"{path} was changed since" for path, value in about["files"].items() if here.get(path, value) != value]
    wrong += [f"{path} came later" for path in here if path not in about["files"]]
    if not wrong and certificate(run, about["name"], about["day"]) != text:
        wrong.append("The page was edited: from the same files it looks otherwise.")
    return wrong


def main() -> int:
    """The command line; 1 when the run is not ready, or the certificate is not genuine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--name")
    what.add_argument("--verify", type=Path, metavar="FILE")
    parser.add_argument("--run", metavar="RUN")
    chosen = parser.parse_args()
    try:
        folder = Path(chosen.run) if chosen.run else runs_root() / RunConfig.load().run_name
        run = RunDir(folder if folder.is_dir() else runs_root() / folder)
        if chosen.verify:
            wrong = verify(chosen.verify, run)
            print("\n".join(wrong) if wrong else f"Genuine: every file of {run.path.name} is as it was.")
            return 1 if wrong else 0
        page = run.path / "certificate.html"
        write_atomic(page, certificate(run, chosen.name, date.today().isoformat()))
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
