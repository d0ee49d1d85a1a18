"""What every run left on the disk, in one object each: settings, curve, held-out rows, what 06 measured. Nothing is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from helpers.files import read_json, read_jsonl
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.settings import RunConfig

ALONE = "run_name preset model_revision dataset_revision gpu prices price_per_hour volume_gb hub_repo".split()


@dataclass(frozen=True)
class Trial:
    """One run, as its files tell it."""

    name: str
    config: RunConfig
    state: str  # trained, step 40 of 100, not trained
    rows: dict[str, tuple[float, int]] = field(
        default_factory=dict
    )  # held-out row -> nll (nats), tokens; of the adapter
    step: int | None = None  # of the adapter that is used
    told: str = ""  # what its curve says
    curve: list[tuple[int, float]] = field(default_factory=list)  # step, held-out loss
    steps: int | None = None  # that it will have in the end
    seconds: float | None = None
    memory: float | None = None  # bytes
    evaluation: dict = field(default_factory=dict)  # of 06

    @property
    def nll(self) -> float | None:
        """Held-out NLL of the adapter, nats per token; where only 06 has measured it, 06's."""
        if self.rows:
            return sum(nll for nll, _ in self.rows.values()) / sum(tokens for _, tokens in self.rows.values())
        return self.evaluation.get("models", {}).get("adapter", {}).get("nll")

    @property
    def cost(self) -> float | None:
        """Training time at config.price_per_hour; None where either is unknown."""
        price = self.config.price_per_hour
        return self.seconds / 3600 * price if price and self.seconds is not None else None


def read_runs(root: Path | None = None) -> list[Trial]:
    """Every run in the runs directory, by name; one that cannot be read is named with the reason, and left out."""
    found = []
    for path in sorted((root or runs_root()).glob("*/config.json")):
        try:
            found.append(read_run(RunDir(path.parent)))
        except (ValueError, KeyError, TypeError) as error:
            print(f"{path.parent.name} cannot be read, and is left out: {error}")
    return found


def differing(trials: list[Trial]) -> list[str]:
    """The settings that are not the same in all of them, in the order of RunConfig."""
    settings = [asdict(trial.config) for trial in trials]
    names = [name for name in (settings[0] if settings else ()) if name not in ALONE]
    return [name for name in names if len({repr(values[name]) for values in settings}) > 1]


def read_run(run: RunDir) -> Trial:
    """One run. Raises FileNotFoundError without a config.json, ValueError, KeyError or TypeError for files that are not its own."""
    config = run.stored_config()
    metrics = read_jsonl(run.metrics) if run.metrics.exists() else []
    held_out = _json(run.held_out)
    steps = [row for row in metrics if "max_steps" in row]
    state = f"step {steps[-1]['step']} of {steps[-1]['max_steps']}" if steps else "not trained"
    return Trial(
        name=run.path.name,
        config=config,
        state="trained" if run.adapter.exists() else state,
        rows=dict(
            zip(
                held_out.get("rows", ()),
                zip(held_out.get("nll", ()), held_out.get("tokens", ()), strict=True),
                strict=True,
            )
        ),
        step=held_out.get("step"),
        told=held_out.get("told", ""),
        curve=[(row["step"], row["eval_loss"]) for row in metrics if "eval_loss" in row],
        steps=steps[-1]["max_steps"] if steps else None,
        seconds=metrics[-1]["elapsed_s"] if metrics else None,
        memory=metrics[-1].get("peak_memory_bytes") if metrics else None,
        evaluation=_json(run.evaluation),
    )


def _json(path: Path) -> dict:
    return read_json(path) if path.exists() else {}
