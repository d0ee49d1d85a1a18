"""The 180 minutes of the workshop's sheet, walked by two participants in two browsers at once: how long does each part
take, and does each end as the sheet says? By hand:

    python -m proofs.proof_walk [PRESET]

Ann reads English on an ordinary machine; Minji reads Korean on a slow one: her JupyterLab, kernels and browser share
one core and are niced. Both open the notebooks in the sheet's order, put the right answer into each lab, let 04 train
in a process of its own, close the tab and come back to it, vote, and pack. Seconds are wall time, from opening the page
to its last output. Reading, thinking and the teacher's words come on top. The result of 2026-11-30 stands below the
sheet in docs/workshop/README.md: two walks, since the first one ended at `pack` for a fault of this proof.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from docs.workshop.solutions import SOLUTIONS
from helpers.files import read_json, read_jsonl
from helpers.runs import RunDir
from helpers.series import NOTEBOOKS
from proofs.proof_browser import chromium
from tests.browser.lab import Page, jupyter_lab, outputs

VOTES = 3
SLOW = ["nice", "-n", "10", "taskset", "--cpu-list", "1"]
PARTICIPANTS = {"Ann": ("en", []), "Minji": ("ko", SLOW)}
DETACHED, VOTE, TALLY, PACK = "nb04-detached", "nb06-27", "nb06-29", "nb06-pack"
SHEET = (  # minutes of the sheet; the pages of that part
    ("0-12", "00_first_look"),
    ("12-30", "00_plan", "lab2"),
    ("30-65", "03_data_preview", "lab1"),
    ("65-80", "04 starts"),
    ("80-105", "A4_lora_by_hand"),
    ("105-120", "04 ends", "lab4"),
    ("120-145", "05_merge_and_push", "lab5"),
    ("145-165", "06_evaluation", "lab6"),
    ("165-180", "06 packs"),
    ("a day", "lab3", *(f"lab{number}" for number in range(7, 16))),
)


class Walk:
    """One participant in one browser, whose notebooks are in the folder `pages`."""

    def __init__(self, browser, address: str, pages: str, run: RunDir):
        self.browser, self.address, self.pages, self.run = browser, address, pages, run
        self.evaluation: Page | None = None  # 06 stays open until it packs: opened again, its buttons would be gone

    def open(self, name: str) -> Page:
        page = Page(self.browser.new_page(viewport={"width": 1280, "height": 900}), self.address)
        page.open(self.pages + name)
        return page

    def close(self, page: Page) -> None:
        wrong = [f"{cell}: {output['evalue']}" for cell, output in outputs(page.cells()) if "evalue" in output]
        url = page.tab.url
        page.end()
        if wrong or page.errors:
            raise SystemExit(f"{url}: {wrong + page.errors}")

    def part(self, name: str) -> None:
        if name.startswith("lab"):
            return self.lab(name)
        if name == "04 starts":
            return self.start()
        if name == "04 ends":
            return self.come_back()
        if name == "06 packs":
            self.evaluation.run_cell(PACK)
            return self.close(self.evaluation)
        page = self.open(f"{name}.ipynb")
        page.run_all()
        if name == "06_evaluation":
            self.evaluation = page
            return self.vote(page)
        return self.close(page)

    def lab(self, name: str) -> None:
        [path] = (NOTEBOOKS / "labs").glob(f"{name}_*.ipynb")
        page = self.open(f"labs/{path.name}")
        for cell, answer in SOLUTIONS.items():
            if cell.startswith(f"{name}-"):
                page.write(cell, answer)
        page.run_all()
        self.close(page)
        files = self.run.path.parent.glob(f"*/labs/{name}.json")  # before 04, of the small run that the labs make
        if not any(read_json(file)["solved"] for file in files):
            raise SystemExit(f"{name} was not solved by its answer")

    def start(self) -> None:
        page = self.open("04_qlora_training.ipynb")
        source = next(cell["source"] for cell in page.cells() if cell["id"] == DETACHED)
        page.write(DETACHED, source.replace("DETACHED = False", "DETACHED = True"))
        self.until(page, DETACHED)
        self.close(page)

    def until(self, page: Page, last: str) -> None:
        for cell in page.cells():
            page.run_cell(cell["id"])
            if cell["id"] == last:
                return

    def come_back(self) -> None:
        """Wait until it has finished, then look: the page shows what the other process trained."""
        while not (self.run.path / "launch.exit").exists():
            time.sleep(1)
        page = self.open("04_qlora_training.ipynb")
        page.run_all()
        self.close(page)

    def vote(self, page: Page) -> None:
        cell = page.cell(VOTE)
        for _ in range(VOTES):
            cell.locator("button").nth(0).click()
            time.sleep(2)
        page.run_cell(TALLY)
        if len(read_jsonl(self.run.votes)) != VOTES:
            raise SystemExit("clicks are no votes")


def walk(name: str, preset: str, folder: Path) -> None:
    """All parts of the sheet for one participant; a line of JSON for each."""
    language, _ = PARTICIPANTS[name]
    settings = {"QLORA_PRESET": preset, "QLORA_LANG": language, "QLORA_CACHE_DIR": str(folder / "cache")}
    with jupyter_lab(folder, folder / "runs", **settings) as address, sync_playwright() as playwright:
        if pages := "" if language == "en" else f"{language}/":
            shutil.copytree(NOTEBOOKS / language, folder / "notebooks" / language)
        browser = chromium(playwright)
        walker = Walk(browser, address, pages, RunDir(folder / "runs" / preset))
        for minutes, *names in SHEET:
            for part in names:
                begin = time.monotonic()
                walker.part(part)
                seconds = round(time.monotonic() - begin)
                print(json.dumps([minutes, part, seconds]), flush=True)
                print(f"{name}: {part} {seconds} s", file=sys.stderr, flush=True)
        browser.close()


def main(preset: str = "demo") -> None:
    with tempfile.TemporaryDirectory() as folder:
        walks = {}
        for name, (_, prefix) in PARTICIPANTS.items():
            home = Path(folder, name)
            home.mkdir()
            command = [*prefix, sys.executable, "-m", "proofs.proof_walk", "--as", name, preset, str(home)]
            walks[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        times = {name: [json.loads(line) for line in process.stdout] for name, process in walks.items()}
        codes = {name: process.wait() for name, process in walks.items()}
    print(f"{'minutes':10}{'page':22}" + "".join(f"{name:>10}" for name in times))
    for parts in zip(*times.values(), strict=False):
        minutes, part, _ = parts[0]
        print(f"{minutes:10}{part:22}" + "".join(f"{seconds:>8} s" for *_, seconds in parts))
    sys.exit(max(map(abs, codes.values())))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        walk(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        main(*sys.argv[1:])
