"""data_report.json: what 03 has read, kept, mended and dropped."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TypedDict

from helpers.data.leftovers import Leftovers, leftovers_verdict
from helpers.data.rehearsal import MARK, SOURCE
from helpers.data.sources import Source
from helpers.data.tally import Marks, Tally, rows_lost, shorter
from helpers.settings import RunConfig


class DataReport(TypedDict, total=False):
    """data_report.json. 03 adds the verdicts, the numbers, the lengths and the settings that they were made for."""

    schema: int
    dataset: dict  # id, revision, name and columns of the first one's format
    rows: dict[str, int]  # read (+ repeated) = train + eval + dropped; rehearsal, earlier
    sources: list[dict]
    data: list[dict]  # of each data set: format, columns, notes, fields
    drops: list[dict]
    repairs: list[dict]
    leftovers: list[dict]
    lost: dict  # a verdict, as marks and left
    marks: dict
    left: dict
    verdicts: list[dict]
    judged_for: dict
    numbers: dict[str, float]
    lengths: dict[str, int]
    hashes: dict[str, str]  # of the two parts, as they were written


@dataclass
class Counts:
    """Rows on their way from the data sets to the two parts."""

    read: Counter[str] = field(default_factory=Counter)  # rows of each source
    kept: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)  # train, eval, repeated, rehearsal
    drops: Tally = field(default_factory=Tally)
    repairs: Tally = field(default_factory=Tally)
    leftovers: Leftovers = field(default_factory=Leftovers)
    marks: Marks = field(default_factory=Marks)

    def report(self, config: RunConfig, sources: list[Source]) -> DataReport:
        """For data_report.json; complete when all rows were read and written."""
        read, form = self.read.total(), sources[0].form
        optional = ["repeated"] if any(source.weight != 1 for source in sources) else []
        optional += [name for name in (SOURCE, MARK) if self.rows[name]]
        by_source = [
            {"source": name, "read": count, "dropped": self.drops.of_source(name), "kept": self.kept[name]}
            for name, count in self.read.most_common()
        ]
        dataset = {"id": config.dataset_id, "revision": config.dataset_revision}
        leftovers = self.leftovers.rows(read)
        return {
            "schema": 1,
            "dataset": {**dataset, "name": form.name, "columns": form.columns},
            "rows": {
                "read": read,
                **{name: self.rows[name] for name in ("train", "eval", *optional)},
                "dropped": self.drops.total(),
            },
            "sources": sorted(shorter(by_source), key=lambda row: row["source"]),
            "data": [source.summary() for source in sources],
            "drops": self.drops.rows(),
            "repairs": self.repairs.rows(),
            "leftovers": leftovers,
            "lost": rows_lost(read, self.drops),
            "marks": self.marks.verdict(read),
            "left": leftovers_verdict(leftovers, read),
        }
