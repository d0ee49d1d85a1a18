"""Every notebook in a real browser, by Run All, and the screenshots of the documentation.

python -m proofs.proof_browser [PYTHON]       the series in order on `tiny`, then the appendices, in the JupyterLab of
PYTHON
python -m proofs.proof_browser --pictures RUN     docs/pictures, from a finished run of preset demo

PYTHON is another environment's, whose JupyterLab and ipywidgets are older, as on a pod; the kernel is this
environment's:
    python3 -m venv old && old/bin/pip install jupyterlab==4.2.5 ipywidgets==8.1.2

2026-11-25, 2-core AMD EPYC CPU beside other work, Chromium 156, JupyterLab 4.6.6 with ipywidgets 8.1.9, and JupyterLab
4.2.5 with ipywidgets 8.1.2 and jupyterlab_widgets 3.0.10: all 21 notebooks open with the kernel qlora. 00 to 08, A1 and
A4 run without a fault in both; 01 had a table that was wider than 700 pixels, mended between the two. A3 had a
FutureWarning in a box of stderr, mended afterwards. A2 has one left: the Trainer's own table of DPO has more columns
than 1,100 pixels hold, so its output scrolls.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from helpers.series import series
from tests.browser.lab import BROWSER, Page, jupyter_lab, outputs
from tests.browser.look import faint_words, nameless_pictures, too_wide
from tests.conftest import ROOT

PICTURES = ROOT / "docs" / "pictures"
BOXES = ".jp-OutputArea-output"
# sliders, votes, guesses, messages and ticks: the only widgets
NEEDS_A_PERSON = {
    *("a1-17", "nb00f-03", "nb00f-10", "nb03-29", "nb04-21", "nb05-08", "nb06-27", "nb06-general", "nb07-13"),
    "nb09-09",
}
COLOURS = 128  # of a picture's file
# picture -> notebook, cells to run (the last one is photographed), words for those who cannot see it
SHOTS = {
    "xray": (
        "03_data_preview.ipynb",
        ["nb03-01", "nb03-03", "nb03-25"],
        "Three conversations, token by token: only the answers and their ends are green and underlined, which means "
        "learned.",
    ),
    "training": (
        "04_qlora_training.ipynb",
        ["nb04-01", "nb04-03", "nb04-38"],
        "The chart of a training: training and held-out loss fall together; a table of steps, time, speed and memory.",
    ),
}
REPORT = "The beginning of report.html: a held-out message with the replies of base, adapter and merged model side by "
REPORT += "side, and the loss of the training."


def chromium(playwright):
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=BROWSER, args=alone)


def faults(page: Page) -> list[str]:
    """All that a reader of this page would stumble over."""
    found = [f"console: {error}" for error in page.errors]
    for cell, output in outputs(page.cells()):
        if output["output_type"] == "error":
            found.append(f"{cell}: {output['ename']}: {output['evalue'][:200]}")
        elif output.get("name") == "stderr":
            found.append(f"{cell}: stderr: {output['text'][:200]}")
        elif "application/vnd.jupyter.widget-view+json" in output.get("data", {}) and cell not in NEEDS_A_PERSON:
            found.append(f"{cell}: a widget: {output['data'].get('text/plain', '')[:200]}")
    if "Error displaying widget" in page.tab.inner_text("body"):
        found.append("Error displaying widget")
    drawn = "".join(page.tab.locator(BOXES).nth(i).inner_html() for i in range(page.tab.locator(BOXES).count()))
    found += [f"without words: {picture}" for picture in nameless_pictures(drawn)]
    for theme in ("dark", "light"):
        page.theme(theme)
        found += [f"{theme}: {words}" for words in faint_words(page.tab, BOXES)]
    for width in (700, 1100):
        page.tab.set_viewport_size({"width": width, "height": 900})
        found += [f"{width} px: {box}" for box in too_wide(page.tab, BOXES)]
    return found


def prove(python: str) -> int:
    """Run all notebooks; prints a line for each and its faults. 1 when one has any."""
    names = [path.name for path in (*series(), *sorted((ROOT / "notebooks").glob("A*.ipynb")))]
    labs = [f"labs/{path.name}" for path in sorted((ROOT / "notebooks/labs").glob("*.ipynb"))]
    told = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True)
    versions = {row["name"]: row["version"] for row in json.loads(told.stdout)}
    print(", ".join(f"{name} {versions.get(name)}" for name in ("jupyterlab", "ipywidgets", "jupyterlab_widgets")))
    wrong, folder = 0, Path(tempfile.mkdtemp())
    with jupyter_lab(folder, folder / "runs", python) as address, sync_playwright() as playwright:
        browser = chromium(playwright)
        for name in names + labs:
            start, page = time.monotonic(), Page(browser.new_page(viewport={"width": 1100, "height": 900}), address)
            page.open(name)
            found = [] if page.kernel() == "qlora" else [f"the kernel is {page.kernel()}"]
            if name in names:  # the labs are broken on purpose
                page.run_all()
                found += faults(page)
            page.end()
            print(f"{name}: {time.monotonic() - start:.0f} s, {len(found)} faults", *found, sep="\n  ", flush=True)
            wrong += len(found)
        browser.close()
    shutil.rmtree(folder)
    return 1 if wrong else 0


def require_hangul() -> None:
    """A browser without such a font draws an empty box for each syllable, and says nothing."""
    if not subprocess.run(["fc-list", ":lang=ko"], capture_output=True, text=True, check=True).stdout.strip():
        raise SystemExit("No font here has Hangul, so the pictures would show boxes: apt-get install fonts-nanum.")


def pictures(run: Path) -> None:
    """The screenshots of README and gallery; beside them the words on each, by which the tests see that one is old."""
    require_hangul()
    os.environ.pop("WANDB_MODE", None)  # the tests' own: a reader has none, and sees no line about it
    PICTURES.mkdir(parents=True, exist_ok=True)
    said, folder = {}, Path(tempfile.mkdtemp())
    shutil.copytree(run, folder / "runs/demo", ignore=shutil.ignore_patterns("trainer", "gguf", "merged", "notebooks"))
    settings = {"QLORA_PRESET": "demo"}
    with jupyter_lab(folder, folder / "runs", **settings) as address, sync_playwright() as playwright:
        browser = chromium(playwright)
        for name, (notebook, cells, alt) in SHOTS.items():
            page = Page(browser.new_page(viewport={"width": 1000, "height": 2400}), address)
            page.open(notebook)
            for cell in cells:
                page.run_cell(cell)
            if broken := [output["evalue"] for _, output in outputs(page.cells()) if output["output_type"] == "error"]:
                raise SystemExit(f"{notebook}: {broken[0]}: no picture of that")
            time.sleep(1)  # the last output is being drawn
            box = page.cell(cells[-1]).locator(".jp-Cell-outputArea")
            _keep(box.screenshot(), PICTURES / f"{name}.png")
            code = next(cell["source"] for cell in page.cells() if cell["id"] == cells[-1])
            said[name] = {"alt": alt, "notebook": notebook, "cell": cells[-1], "code": code}
            page.end()
        tab = browser.new_page(viewport={"width": 1000, "height": 1060})
        tab.goto((run / "report.html").resolve().as_uri())
        _keep(tab.screenshot(), PICTURES / "report.png")
        said["report"] = {"alt": REPORT, "headings": tab.locator("h2").all_inner_texts()}
        browser.close()
    (PICTURES / "made.json").write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder)


def _keep(png: bytes, path: Path) -> None:
    path.write_bytes(png)
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path.stat().st_size:>8,} bytes  {path.relative_to(ROOT)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pictures"]:
        sys.exit(pictures(Path(sys.argv[2])))
    sys.exit(prove(sys.argv[1] if len(sys.argv) > 1 else sys.executable))
