"""Run directories as 03 to 06 would have left them, made in milliseconds."""

from helpers.files import write_json, write_jsonl
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.settings import RunConfig


def make_run(name: str, nll: list[float] | None, rows: list[str] | None = None, tokens: int = 10, **settings) -> RunDir:
    """A run with `nll` (nats per token) on its held-out rows; untrained without."""
    run = RunDir(runs_root() / name)
    run.path.mkdir(parents=True)
    run.config_json.write_text(RunConfig.load("tiny", run_name=name, **settings).to_json())
    if nll is None:
        return run
    curve = [{"step": s, "max_steps": 40, "eval_loss": 3 - s / 40, "elapsed_s": s * 1.5} for s in (0, 20, 40)]
    curve.append({"step": 40, "elapsed_s": 61.0, "tokens": 1000, "peak_memory_bytes": 9e8, "device": "CPU"})
    write_jsonl(run.metrics, curve)
    rows = rows or [f"row-{i}" for i in range(len(nll))]
    numbers = {"rows": rows, "nll": [x * tokens for x in nll], "tokens": [tokens] * len(nll)}
    write_json(run.held_out, {"step": 40, "last": 40, "told": "fine", **numbers})
    run.adapter.mkdir()
    return run
