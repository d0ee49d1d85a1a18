"""The class board: who is where, on one page that renews itself.

python -m helpers.workshop.board FOLDER [--port 8765]     serve it on this machine alone (127.0.0.1)
python -m helpers.workshop.board FOLDER --write FILE      write it once

FOLDER holds a folder for each participant, with the run directories inside (docs/workshop/pod.sh makes it so). The page
shows numbers and verdicts; no text of a participant, no setting and no token is read for it.
"""

from __future__ import annotations

import argparse
import html
import sys
import time
from collections import Counter
from pathlib import Path

from helpers.files import write_atomic
from helpers.show.pages import document
from helpers.show.units import human_time
from helpers.workshop.progress import Progress, everybody

QUIET = 600  # seconds without a sign of life after which a participant may need somebody
EVERY = 5  # seconds from one picture of the class to the next
STYLE = """
body { font-size: 18px; max-width: 1300px } table { width: 100% } th, td { padding: 6px 12px; white-space: nowrap }
progress { width: 7rem; accent-color: var(--mark); vertical-align: middle } p { margin: .3rem 0 1rem }
"""


def page(folder: Path, now: float | None = None) -> str:
    """The board of all participants under `folder` as HTML; `now` in Unix seconds."""
    now = time.time() if now is None else now
    people = everybody(folder)
    counts = Counter(person.done for person in people)
    stages = " · ".join(f"{number}: {count}" for number, count in sorted(counts.items()))
    quiet = sum(now - person.seen > QUIET for person in people)
    heads = ("who", "finished", "labels", "training", "loss · held out", "merge", "labs", "last sign of life")
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in _cells(person, now)) + "</tr>" for person in people)
    told = f"{len(people)} {'participant' if len(people) == 1 else 'participants'}. Last finished notebook: {stages or 'none yet'}."
    told += f' <b class="wait">{quiet} quiet for {human_time(QUIET)}.</b>' if quiet else ""
    table = (
        f"<table><thead><tr>{''.join(f'<th>{name}</th>' for name in heads)}</tr></thead><tbody>{body}</tbody></table>"
    )
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    shown = f'<main><h1>Class board</h1><p>{told} {clock}</p><div class="wide" tabindex="0">{table}</div></main>'
    return document("Class board", shown, STYLE, f'<meta http-equiv="refresh" content="{EVERY}">')


def _cells(person: Progress, now: float) -> list[str]:
    """One row; colour never alone: a word stands beside it."""
    labels = {None: "–", 0: '<span class="good">✓ green</span>'}.get(
        person.red_labels, f'<span class="bad">✗ {person.red_labels} red</span>'
    )
    step = "–"
    if person.step is not None and person.steps:
        step = f'<progress aria-label="steps" max="{person.steps}" value="{person.step}"></progress> {person.step} / {person.steps}'
    losses = " · ".join("–" if loss is None else f"{loss:.2f}" for loss in (person.loss, person.held_out))
    merge = {"green": ("good", "✓"), "red": ("bad", "✗"), None: ("", "–")}.get(person.merge, ("wait", "?"))
    solved = " ".join(
        f"{html.escape(name.removeprefix('lab'))}{'✓' if done else '…'}" for name, done in person.labs.items()
    )
    quiet = now - person.seen
    life = f'<span class="{"wait" if quiet > QUIET else ""}">{human_time(max(quiet, 0))} ago</span>'
    return [
        f"<b>{html.escape(person.name)}</b>",
        person.done,
        labels,
        step,
        losses,
        f'<span class="{merge[0]}">{merge[1]} {html.escape(person.merge or "")}</span>',
        solved or "–",
        life,
    ]


def serve(folder: Path, port: int) -> None:
    """Answer "/" on 127.0.0.1 with the board until Ctrl-C; nothing else is served."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Board(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/"
            content = page(folder).encode() if found else b"Only / is here.\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", f"text/{'html' if found else 'plain'}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args) -> None:
            """A line for every picture of the class would be noise."""

    with ThreadingHTTPServer(("127.0.0.1", port), Board) as server:
        print(f"The class board is at http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it).", flush=True)
        server.serve_forever()


def main() -> int:
    """The command line; 1 when the folder is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--write", type=Path, metavar="FILE")
    chosen = parser.parse_args()
    if not chosen.folder.is_dir():
        print(f"{chosen.folder} is not a folder: give the one in which every participant has one.", file=sys.stderr)
        return 1
    if chosen.write:
        write_atomic(chosen.write, page(chosen.folder))
        print(chosen.write)
        return 0
    try:
        serve(chosen.folder, chosen.port)
    except OSError as error:
        print(f"Port {chosen.port} cannot be used ({error.strerror}): choose another with --port.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("The class board is closed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
