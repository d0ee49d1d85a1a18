"""The model card: what the model is, how it was made, what was measured. Written with huggingface_hub's own classes."""

from __future__ import annotations

import json
import re

from helpers.config import PROJECT_ROOT, SAMPLE_DATA, RunConfig
from helpers.models import DEMO_MODEL, TINY_MODEL
from helpers.report import human_time
from helpers.runs import RunDir, read_jsonl, write_atomic

DEMO_ON_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
LICENCES = {
    DEMO_MODEL: "apache-2.0 (SmolLM2)",
    TINY_MODEL: "mit (built by this project)",
    SAMPLE_DATA: "mit (written for this project)",
    "heegyu/open-korean-instructions": "the card says MIT, but its part ko_alpaca is CC-BY-NC-4.0: not for commercial use",
}
TEMPLATE = """\
---
{{ card_data }}
---
# {{ title }}

{{ opening }}

{{ warnings }}

## How to use it

```python
{{ usage }}
```

## How it was made

{{ made }}

## What was measured

{{ measured }}

## Example replies

{{ examples }}

## Licences inherited

{{ licences }}
"""


def escape(text: str) -> str:
    """`text` from strangers as plain Markdown: no markup, no HTML, one line."""
    text = " ".join(str(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", text)


def write_card(run: RunDir, config: RunConfig, what: str, refused: list[str] | None = None):
    """Write README.md into the adapter's or merged model's folder and give the `ModelCard`.

    `refused`: reasons that hub_force overrode; the card begins with them.
    """
    from huggingface_hub import ModelCard

    receipt = json.loads(run.merge_receipt.read_text(encoding="utf-8")) if run.merge_receipt.exists() else None
    warnings = "".join(f"> **Pushed in spite of a refusal:** {escape(reason)}\n" for reason in refused or [])
    kind = "A LoRA adapter for" if what == "adapter" else "The adapter merged into"
    card = ModelCard.from_template(
        _card_data(config, what, receipt),
        template_str=TEMPLATE,
        title=escape(f"{config.run_name} ({what})"),
        opening=f"{kind} {escape(_base(config))}, trained with QLoRA on {escape(config.dataset_id)}.",
        warnings=warnings,
        usage=_usage(config, what),
        made=_made(run, config),
        measured=_measured(receipt),
        examples=_examples(run),
        licences=f"- base model: {escape(licence(config.model_id))}\n- data: {escape(licence(config.dataset_id))}",
    )
    write_atomic((run.adapter if what == "adapter" else run.merged) / "README.md", str(card))
    return card


def licence(name: str) -> str:
    """The licence of a model or data set, as far as it is known here."""
    return LICENCES.get(name, "see its own page before you publish")


def _base(config: RunConfig) -> str:
    return DEMO_ON_HUB if config.model_id == DEMO_MODEL else config.model_id


def _on_hub(name: str) -> bool:
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", name)) and not (PROJECT_ROOT / name).exists()


def _card_data(config: RunConfig, what: str, receipt: dict | None):
    from huggingface_hub import EvalResult, ModelCardData

    results = []
    if receipt:
        row = receipt["measured"]["adapter" if what == "adapter" else receipt["chosen"]]
        for metric, value in (("nll", row["nll"]), ("stop_rate", row.get("stops"))):
            if value is not None:
                told = EvalResult(
                    task_type="text-generation",
                    dataset_type=config.dataset_id if _on_hub(config.dataset_id) else "local",
                    dataset_name=f"{config.dataset_id}, held-out part, {receipt['counts']['rows']} conversations",
                    metric_type=metric,
                    metric_value=round(value, 4),
                )
                results.append(told)
    known = {_base(config): "apache-2.0"} if config.model_id == DEMO_MODEL else {}
    return ModelCardData(
        base_model=_base(config) if _on_hub(_base(config)) else None,
        datasets=[config.dataset_id] if _on_hub(config.dataset_id) else None,
        library_name="peft" if what == "adapter" else "transformers",
        pipeline_tag="text-generation",
        license=known.get(_base(config), "other"),
        tags=["qlora", "lora"],
        model_name=config.run_name,
        eval_results=results or None,
        qlora_run=config.run_name,
    )


def _usage(config: RunConfig, what: str) -> str:
    if what == "adapter":
        return (
            "from peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer\n\n"
            'model = AutoPeftModelForCausalLM.from_pretrained("THIS_REPOSITORY")\n'
            'tokenizer = AutoTokenizer.from_pretrained("THIS_REPOSITORY")'
        )
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained("THIS_REPOSITORY", dtype="auto")\n'
        'tokenizer = AutoTokenizer.from_pretrained("THIS_REPOSITORY")'
    )


def _made(run: RunDir, config: RunConfig) -> str:
    last = read_jsonl(run.metrics)[-1] if run.metrics.exists() else {}
    seconds = last.get("seconds") or last.get("elapsed_s")
    facts = {
        "base model": f"{_base(config)} ({config.model_revision or 'revision not recorded'})",
        "data": f"{config.dataset_id} {config.dataset_split} ({config.dataset_revision or 'revision not recorded'})",
        "4-bit base": f"{config.quant_type}, double quantisation {config.double_quant}"
        if config.load_in_4bit
        else "no",
        "LoRA": f"r {config.lora_r}, alpha {config.lora_alpha}, dropout {config.lora_dropout}, {config.lora_target_modules}",
        "learning rate": f"{config.learning_rate:g}, {config.lr_scheduler_type}",
        "batch": f"{config.per_device_train_batch_size} x {config.gradient_accumulation_steps}",
        "longest conversation": f"{config.max_length} tokens",
        "seed": config.seed,
        "hardware": last.get("device", "not recorded"),
        "training time": human_time(seconds) if seconds else "not recorded",
    }
    if seconds and config.price_per_hour:
        facts["cost"] = f"{seconds / 3600 * config.price_per_hour:.2f} (at {config.price_per_hour:g} per hour)"
    return "\n".join(f"- {name}: {escape(value)}" for name, value in facts.items())


def _measured(receipt: dict | None) -> str:
    if receipt is None:
        return "Nothing yet: the merge notebook writes the receipt."
    lines = ["| model | NLL per token | 95 % interval | KL to adapter |", "|---|---|---|---|"]
    for name, row in receipt["measured"].items():
        kl = f"{row['kl']:.4f}" if "kl" in row else ""
        lines.append(f"| {escape(name)} | {row['nll']:.3f} | {row['nll_low']:.3f} to {row['nll_high']:.3f} | {kl} |")
    counts = receipt["counts"]
    lines.append(
        f"\nOn {counts['rows']} held-out conversations, {counts['tokens']} answer tokens. Merge: {receipt['chosen']}."
    )
    return "\n".join(lines)


def _examples(run: RunDir) -> str:
    if not run.comparisons.exists():
        return "None yet: 06_evaluation.ipynb writes them."
    told = []
    for row in read_jsonl(run.comparisons)[:3]:
        told.append(f"- **Asked:** {escape(row['prompt'])}\n  **Answered:** {escape(row['adapter'])}")
    return "\n".join(told)
