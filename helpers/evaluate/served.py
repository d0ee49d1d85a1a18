"""served.json: what 07 measured of every file that it made, for the gate, report.html and the model card."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from helpers.evaluate.evaluation import merged_files, now
from helpers.files import read_json, write_json
from helpers.runs import RunDir
from helpers.show.tables import Table
from helpers.show.units import human_bytes
from helpers.show.words import _


@dataclass(frozen=True)
class Served:
    """The content of served.json.

    `files`: by file name its `bytes`, `nll`, the same `by_row`, the counts `same_first_choice`, `same_reply` and
    `stopped`, and `checks`: {name: {"passed": count, "of": replies}}. `merged`: of the merged model, on the same rows.
    """

    files: dict[str, dict]
    merged: dict
    rows: int  # held-out conversations that were scored
    tokens: int  # their answer tokens
    replies: int
    merged_files: dict[str, str] = field(default_factory=dict)  # `evaluation.merged_files` when it was written
    created: str = field(default_factory=now)
    schema: int = 1

    def write(self, run: RunDir) -> None:
        write_json(run.served, {**asdict(self), "merged_files": merged_files(run)})

    @classmethod
    def read(cls, run: RunDir) -> Served | None:
        """None before 07, and where 05 has made another merged model since."""
        served = cls(**read_json(run.served)) if run.served.exists() else None
        return served if served and served.merged_files == merged_files(run) else None

    def checks(self) -> dict[str, dict]:
        """As `Evaluation.checks` has them: {check: {file: passed, "of": replies}}."""
        counted: dict[str, dict] = {}
        for model, row in {"merged": self.merged, **self.files}.items():
            for check, count in row["checks"].items():
                counted.setdefault(check, {"of": count["of"]})[model] = count["passed"]
        return counted


def served_table(served: Served) -> Table:
    """What each file costs in quality and in size, beside the merged model; NLL in nats per answer token."""
    rows = []
    for name, row in {"merged": served.merged, **served.files}.items():
        cells = {"model": name, "size": human_bytes(row["bytes"]), "NLL": f"{row['nll']:.3f}"}
        more = {"NLL more": "", "same first choice": ""}
        if row is not served.merged:
            more = {"NLL more": f"{row['nll'] - served.merged['nll']:+z.3f}"}
            more["same first choice"] = _count(row["same_first_choice"], served.tokens)
        counts = {"same reply": row["same_reply"], "replies that stop": row["stopped"]}
        rows.append(cells | more | {name: _count(count, served.replies) for name, count in counts.items()})
    caption = _("{rows} held-out conversations, {tokens} answer tokens")
    return Table(rows, caption=caption.format(rows=served.rows, tokens=served.tokens))


def _count(part: int, whole: int) -> str:
    return _("{count} of {total}").format(count=part, total=whole)
