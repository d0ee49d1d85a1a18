"""The numbers of the workshop kit's README, measured on this machine.

.venv/bin/python -m docs.workshop.numbers RUN [--cache SHARED/cache] [--people 25] [--hours 3] [--price 0.40]

RUN is a finished run of your own; SHARED/cache is what `warm_cache.sh` filled. Prints Markdown, with QLORA_LANG=ko in
Korean.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from helpers.evaluate.page import pack
from helpers.files import folder_bytes
from helpers.runs import RunDir
from helpers.show.units import human_bytes
from helpers.show.words import _


def rows(run: RunDir, cache: Path | None, day: argparse.Namespace) -> list[tuple[str, str]]:
    """What, and how much of it."""
    environment = Path(sys.prefix)
    parts = sorted(path for path in run.path.iterdir() if path.is_dir())
    listed = ", ".join(f"`{path.name}` {human_bytes(folder_bytes(path))}" for path in parts)
    whole = folder_bytes(run.path)
    found = [(_("packages on a pod's disk"), human_bytes(folder_bytes(environment)))]
    if cache:
        wheels = cache / "wheels"
        packed, count = human_bytes(folder_bytes(wheels)), len(list(wheels.iterdir()))
        loaded = _("{size} in {count} files, once for all pods with warm_cache.sh")
        found.append((_("packages to download"), loaded.format(size=packed, count=count)))
    class_disk = _("{size} ({parts}); {people} people: {all}")
    sizes = {"size": human_bytes(whole), "all": human_bytes(whole * day.people)}
    found.append((_("a run directory"), class_disk.format(parts=listed, people=day.people, **sizes)))
    found.append((_("the archive to take home"), human_bytes(pack(run).stat().st_size)))
    paid = _("{people} people x {hours:g} hours x {price:g} an hour = {cost:.0f}, and the volume")
    cost = day.people * day.hours * day.price
    words = {"people": day.people, "hours": day.hours, "price": day.price, "cost": cost}
    return [*found, (_("the day, at your provider's price"), paid.format(**words))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--people", type=int, default=25)
    parser.add_argument("--hours", type=float, default=3)
    parser.add_argument("--price", type=float, default=0.40)
    day = parser.parse_args()
    run = RunDir(day.run)
    run.require(run.report_html, produced_by="06_evaluation.ipynb")
    print(f"| {date.today()} | {run.path.name} |\n|---|---|")
    for what, amount in rows(run, day.cache, day):
        print(f"| {what} | {amount} |")


if __name__ == "__main__":
    main()
