"""The class board: who is where, on one page that renews itself, and their marks as a table for the school's system.

.venv/bin/python -m helpers.workshop.board FOLDER [--port 8765]     serve it on this machine alone (127.0.0.1)
.venv/bin/python -m helpers.workshop.board FOLDER --write FILE      write it once
.venv/bin/python -m helpers.workshop.board FOLDER --csv class.csv [--for moodle | canvas | nbgrader]

FOLDER holds a folder for each participant, with the run directories inside (docs/workshop/pod.sh makes it so). The page
shows numbers and verdicts; no text of a participant, no setting and no token is read for it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from helpers.files import write_atomic
from helpers.show.pages import render_page
from helpers.show.units import human_time
from helpers.show.verdict import Verdict
from helpers.show.words import _
from helpers.workshop.guess import GUESSES
from helpers.workshop.marks import SYSTEMS, class_csv
from helpers.workshop.progress import Lab, Progress, everybody

QUIET = 600  # seconds without a sign of life after which a participant may need somebody
STUCK = 3  # tries of one lab after which a participant may need somebody
EVERY = 5  # seconds from one picture of the class to the next
AHEAD = 60  # seconds that a file's date may lie in the future: clocks of several machines differ


def page(folder: Path, now: float | None = None) -> str:
    """The board of all participants under `folder` as HTML; `now` in Unix seconds."""
    now = time.time() if now is None else now
    people = everybody(folder)
    stages = Counter(person.stage for person in people)
    listed = " · ".join(f"{number}: {count}" for number, count in sorted(stages.items())) or _("none yet")
    late = sum(_late(person, now) for person in people)
    words = {
        "title": _("Class board"),
        "count": _("1 participant.") if len(people) == 1 else _("{count} participants.").format(count=len(people)),
        "stages": _("Last finished notebook: {stages}.").format(stages=listed),
        "quiet": late and _("{count} quiet for {time}.").format(count=late, time=human_time(QUIET)),
        "clock": time.strftime("%H:%M:%S", time.localtime(now)),
    }
    rows, tally = [_row(person, now) for person in people], _tally(people)
    return render_page("board.html.j2", rows=rows, tally=tally, every=EVERY, **words)


def _tally(people: list[Progress]) -> list[tuple[str, str]]:
    """What the class guessed: the question of each page that somebody guessed on, and how many took each answer."""
    told = []
    for number, asked in GUESSES.items():
        if counts := Counter(person.guesses[number] for person in people if number in person.guesses):
            answers = [f"{_(answer)}: {counts[place]}" for place, answer in enumerate(asked.answers)]
            told.append((f"{number} · {_(asked.question)}", " · ".join(answers)))
    return told


def _row(person: Progress, now: float) -> dict:
    """What one row shows; a pair is the class of a colour, and text."""
    faults = ", ".join(f"{name} ({_(why)})" if name else _(why) for name, why in person.faults)
    return {
        "person": person,
        "labels": _labels(person.red_labels),
        "losses": " · ".join("–" if loss is None else f"{loss:.2f}" for loss in (person.loss, person.held_out)),
        "merge": _merge(person.merge),
        "labs": _labs(person.labs),
        "seen": _seen(person, now),
        "faults": _("cannot be read: {files}").format(files=faults) if faults else "",
    }


def _labels(red: int | None) -> tuple[str, str]:
    if red is None:
        return "", "–"
    return ("bad", _("✗ {count} red").format(count=red)) if red else ("good", f"✓ {Verdict.GREEN.word}")


def _merge(verdict: Verdict | None) -> tuple[str, str]:
    if verdict is None:
        return "", "–"
    colour, mark = {Verdict.GREEN: ("good", "✓"), Verdict.RED: ("bad", "✗")}.get(verdict, ("wait", "?"))
    return colour, f"{mark} {verdict.word}"


def _labs(labs: dict[str, Lab]) -> tuple[str, str]:
    """The numbers of the labs, each with its mark."""
    stuck = any(lab.tries >= STUCK and not lab.solved for lab in labs.values())
    return "wait" if stuck else "", " ".join(name[3:] + lab.mark for name, lab in labs.items()) or "–"


def _seen(person: Progress, now: float) -> tuple[str, str]:
    if person.seen > now + AHEAD:
        return "wait", _("dated in the future")
    ago = _("{time} ago").format(time=human_time(max(now - person.seen, 0)))
    return "wait" if _late(person, now) else "", ago


def _late(person: Progress, now: float) -> bool:
    """Nothing was heard for long, or the date cannot say: somebody should look."""
    return now - person.seen > QUIET or person.seen > now + AHEAD


def serve(folder: Path, port: int) -> None:
    """Answer "/" on 127.0.0.1 with the board until Ctrl-C; nothing else is served."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Board(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here = self.path == "/"
            content = page(folder).encode() if here else b"Only / is here.\n"
            self.send_response(200 if here else 404)
            self.send_header("Content-Type", f"text/{'html' if here else 'plain'}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args) -> None:
            """A line for every picture of the class would be noise."""

    with ThreadingHTTPServer(("127.0.0.1", port), Board) as server:
        port = server.server_port
        print(_("The class board is at http://127.0.0.1:{port}/ (Ctrl-C ends it).").format(port=port))
        pod = _(
            "On a pod, first type on your own computer: ssh -L {port}:127.0.0.1:{port} and the pod's address. "
            "Without ssh: --write board.html, and open that file in JupyterLab."
        )
        print(pod.format(port=port), flush=True)
        server.serve_forever()


def main() -> int:
    """The command line; 1 when the folder is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--for", dest="system", choices=SYSTEMS, default="moodle")
    chosen = parser.parse_args()
    try:
        people = everybody(chosen.folder)
        if chosen.csv:
            write_atomic(chosen.csv, class_csv(people, chosen.system))
        if chosen.write:
            write_atomic(chosen.write, page(chosen.folder))
        written = [path for path in (chosen.csv, chosen.write) if path]
        print(*written, sep="\n", end="\n" if written else "")
        if not written:
            serve(chosen.folder, chosen.port)
    except KeyboardInterrupt:
        print(_("The class board is closed."))
    except (OSError, OverflowError) as error:
        port = _("Port {port} cannot be used ({reason}): choose another with --port.")
        path, reason = getattr(error, "filename", None), getattr(error, "strerror", error)
        sentence = _("{path} cannot be used ({reason}).") if path else port
        print(sentence.format(path=path, port=chosen.port, reason=reason), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
