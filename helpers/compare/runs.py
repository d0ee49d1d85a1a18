"""What every run left on the disk, in one object each: settings, curve, held-out rows, what 06 measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from helpers.evaluate.evaluation import Evaluation
from helpers.evaluate.intervals import ratio_interval
from helpers.evaluate.rivals import learned, nll_of
from helpers.fields import Stage
from helpers.files import DAMAGED, read_json, read_jsonl
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.runs.paid import cost, paid_seconds
from helpers.settings import RECORDED, RunConfig, names_of
from helpers.show.words import _
from helpers.train.checkpoints import rows_file
from helpers.train.start import told_since_start

ALONE = ("run_name", "preset", *RECORDED, *names_of(Stage.PLAN, Stage.PUSH))  # they differ and say nothing of a result


@dataclass(frozen=True)
class Trial:
    """One run, as its files tell it."""

    name: str
    config: RunConfig
    state: str  # trained, step 40 of 100, not trained
    trained: bool = False
    rows: dict[str, tuple[float, int]] = field(default_factory=dict)  # held-out row -> nats, tokens; the adapter's
    step: int | None = None  # of the adapter that is used
    summary: str = ""  # what its curve says
    since: str = ""  # what was won and lost since the adapter that it began from
    curve: list[tuple[int, float]] = field(default_factory=list)  # step, held-out loss; inf where it was no number
    steps: int | None = None  # that it will have in the end
    seconds: float | None = None  # that it was trained, with what kills took back
    cost: float | None = None  # of these seconds on all cards, at config.price_per_hour
    memory: float | None = None  # bytes
    evaluation: Evaluation | None = None  # of 06
    learned: str = ""  # hash of the rows that it learned from

    @property
    def nll(self) -> float | None:
        """Held-out NLL of the adapter, nats per token, where need be 06's; None: not measured, or no number."""
        if self.rows:
            return self.nll_of_rows
        value = self.adapter.get("nll")
        return value if value is not None and math.isfinite(value) else None

    @property
    def nll_of_rows(self) -> float:
        """The same where rows were measured: their nats by their tokens."""
        return nll_of(self.rows)

    @property
    def interval(self) -> tuple:
        """Of `nll`, 95 %."""
        if self.rows:
            nll, tokens = zip(*self.rows.values(), strict=True)
            return ratio_interval(nll, tokens)
        return self.adapter["nll_low"], self.adapter["nll_high"]

    @property
    def adapter(self) -> dict:
        """The adapter's numbers in 06; {} where 06 did not run."""
        return self.evaluation.models.get("adapter", {}) if self.evaluation else {}

    def at(self, share: float) -> tuple[int, float | None]:
        """Step and loss of the first evaluation from that share of its steps on, see `sweep.loss_at`; (0, None)."""
        reached = [point for point in self.curve if point[0] and point[0] >= share * (self.steps or math.inf)]
        return next(iter(reached or self.curve[-1:] * self.trained), (0, None))

    def rows_at(self, share: float) -> dict[str, list]:
        """Its held-out rows at that evaluation: row -> nats, tokens; {} where they were not kept."""
        file = rows_file(RunDir(runs_root() / self.name).trainer, self.at(share)[0])
        return read_json(file) if file.exists() else {}


def read_runs(root: Path | None = None) -> list[Trial]:
    """Every run in `root`, else in the runs directory, by name; one that cannot be read is named, and left out."""
    trials = []
    for path in sorted((root or runs_root()).glob("*/config.json")):
        try:
            trials.append(read_run(RunDir(path.parent)))
        except DAMAGED as error:
            print(_("{run} cannot be read, and is left out: {error}").format(run=path.parent.name, error=error))
    return trials


def differing(trials: list[Trial]) -> list[str]:
    """The settings that are not the same in all of them, in the order of RunConfig."""
    settings = [asdict(trial.config) for trial in trials]
    names = settings[0].keys() if settings else ()
    return [name for name in names if name not in ALONE and len({repr(each[name]) for each in settings}) > 1]


def read_run(run: RunDir) -> Trial:
    """One run. Raises FileNotFoundError without a config.json; ValueError, KeyError, TypeError for files of others."""
    config = run.stored_config()
    metrics = read_jsonl(run.metrics) if run.metrics.exists() else []
    held_out = read_json(run.held_out) if run.held_out.exists() else {}
    last = metrics[-1] if metrics else {}
    logged = next((row for row in reversed(metrics) if "max_steps" in row), {})
    rows, summary, state = _rows(held_out), held_out.get("told", ""), _("not trained")
    if held_out and not rows:
        summary = _("Its held-out loss is no number: the training broke down.")
    if run.adapter.exists():
        state = _("trained")
    elif logged:
        state = _("step {step} of {max_steps}").format(**logged)
    return Trial(
        name=run.path.name,
        config=config,
        state=state,
        trained=run.adapter.exists(),
        rows=rows,
        step=held_out.get("step"),
        summary=summary,
        since=told_since_start(run),
        curve=[(row["step"], _number(row["eval_loss"])) for row in metrics if "eval_loss" in row],
        steps=logged.get("max_steps"),
        seconds=paid_seconds(last) if "elapsed_s" in last else None,
        cost=cost(last, config.price_per_hour, config.gpus),
        memory=last.get("peak_memory_bytes"),
        evaluation=Evaluation.read(run) if run.evaluation.exists() else None,
        learned=learned(run),
    )


def _rows(held_out: dict) -> dict[str, tuple[float, int]]:
    """Row -> nats, tokens; {} where one of them is no finite number, so that it never reaches a verdict."""
    nll, tokens = held_out.get("nll", ()), held_out.get("tokens", ())
    if math.inf in map(_number, nll):
        return {}
    return dict(zip(held_out.get("rows", ()), zip(nll, tokens, strict=True), strict=True))


def _number(loss) -> float:
    """A loss; one that is no finite number is worse than all others."""
    return float(loss) if isinstance(loss, (int, float)) and math.isfinite(loss) else math.inf
