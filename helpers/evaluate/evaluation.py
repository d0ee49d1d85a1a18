"""evaluation.json: what 06 measured, read by 08, by 05's push, by the gate and by report.html."""

from __future__ import annotations

import datetime
import importlib.metadata
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from helpers.evaluate.checks import checks_path
from helpers.files import read_json, sha256, write_json
from helpers.runs import RunDir
from helpers.runs.state import weights_in
from helpers.settings import RunConfig
from helpers.show.words import _, in_language

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "sacrebleu")


def now() -> str:
    """The date and time, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def merged_files(run: RunDir) -> dict[str, str]:
    """The SHA-256 of every weight file of merged/, as the merge report has them; {} before 05."""
    return weights_in(read_json(run.merge_report)) if run.merge_report.exists() else {}


def adapter_digest(run: RunDir) -> str:
    """The SHA-256 of the adapter's weights; "" before 04."""
    weights = run.adapter / "adapter_model.safetensors"
    return sha256(weights) if weights.exists() else ""


@dataclass(frozen=True)
class Evaluation:
    """The content of evaluation.json; a field that an older file lacks is empty."""

    models: dict[str, dict]  # `model_numbers` by model
    paired: list[dict] = field(default_factory=list)  # `really_better`
    forgetting: dict = field(default_factory=dict)  # `forgotten`
    general: list[dict] = field(default_factory=list)  # of older files: questions with every model's reply
    known: dict = field(default_factory=dict)  # `known_answers`
    checks: dict[str, dict] = field(default_factory=dict)  # name -> {model: passed, "of": replies}
    checks_file: dict[str, str] = field(default_factory=dict)  # "path" and "sha256" of the file that they came from
    check_changes: dict[str, list[dict]] = field(default_factory=dict)  # name -> `counts.changes`
    base_model: str = ""
    dataset: str = ""
    max_new_tokens: int = 0
    temperature: float = 0.0  # 0 = greedy
    seed: int = 42
    decoding: str = ""  # the same in words, English
    created: str = field(default_factory=now)
    versions: dict[str, str] = field(default_factory=dict)
    merged_files: dict[str, str] = field(default_factory=dict)  # `merged_files` when it was written
    adapter_sha256: str = ""  # `adapter_digest` when it was written
    schema: int = 1

    @classmethod
    def of(cls, config: RunConfig, models: dict[str, dict], paired: list[dict], **measured) -> Evaluation:
        """The evaluation of a run with these settings; `measured`: the fields forgetting, known, checks ..."""
        if config.checks:
            path = checks_path(config.checks)
            measured["checks_file"] = {"path": str(path), "sha256": sha256(path)}
        made = cls(
            models,
            paired,
            base_model=config.model_id,
            dataset=config.dataset_id,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            seed=config.seed,
            versions={name: importlib.metadata.version(name) for name in LIBRARIES},
            **measured,
        )
        with in_language("en"):
            return replace(made, decoding=made.how.lower().removesuffix("."))

    @classmethod
    def read(cls, run: RunDir) -> Evaluation:
        """Raises FileNotFoundError before 06, KeyError for a file that is no evaluation."""
        return cls.from_json(read_json(run.evaluation))

    @classmethod
    def from_json(cls, content: dict) -> Evaluation:
        """`content` of this or an older version: counts of a skill become checks."""
        if skill := content.get("skill"):
            checks: dict[str, dict] = {}
            for model, counts in skill["models"].items():
                for name, count in counts.items():
                    checks.setdefault(name, {"of": skill["replies"]})[model] = count
            content = {**content, "checks": checks}
        names = {entry.name for entry in fields(cls)}
        return cls(**{"models": content["models"]} | {name: content[name] for name in content.keys() & names})

    def write(self, run: RunDir) -> None:
        measured = {"merged_files": merged_files(run), "adapter_sha256": adapter_digest(run)}
        write_json(run.evaluation, {**asdict(self), **measured})

    def is_of_this_merge(self, run: RunDir) -> bool:
        """False where 05 has made another merged model since."""
        return self.merged_files in ({}, merged_files(run))

    def stale(self, run: RunDir) -> str:
        """A sentence where `run` has another adapter or merged model now than the one that was measured; else empty."""
        if self.adapter_sha256 not in ("", adapter_digest(run)):
            return _("06 measured another adapter than the one that is there now: run 05 and 06 again.")
        if not self.is_of_this_merge(run):
            return _("06 measured another merged model than the one that is there now: run 06 again.")
        return ""

    @property
    def stale_checks(self) -> str:
        """A sentence where the file of the checks was changed since they were counted; else empty."""
        path = Path(self.checks_file.get("path", ""))
        if not path.is_file() or sha256(path) == self.checks_file["sha256"]:
            return ""
        return _("{file} was changed since its checks were counted: run 06 again.").format(file=path.name)

    @property
    def how(self) -> str:
        """How replies were made, in the reader's language; as the file says it where it is an older one."""
        if not self.max_new_tokens:
            return self.decoding
        if not self.temperature:
            return _("Greedy, at most {tokens} new tokens.").format(tokens=self.max_new_tokens)
        drawn = _("Drawn with temperature {temperature}, seed {seed} for every model, at most {tokens} new tokens.")
        return drawn.format(temperature=f"{self.temperature:g}", seed=self.seed, tokens=self.max_new_tokens)
