"""The model card: what the model is, how it was made, what was measured. Written with huggingface_hub's own classes."""

from __future__ import annotations

import re

from helpers.evaluate.intervals import share, told_interval
from helpers.files import read_json, read_jsonl, write_atomic, write_json
from helpers.merge.gate import Push, refusals
from helpers.merge.leftovers import MANIFEST, files_to_push
from helpers.merge.licences import PERMISSIVE, licence, naming_rule, on_hub, public_name
from helpers.merge.report import MergeReport
from helpers.merge.results import on_the_card, write_results
from helpers.model.source import DEMO_MODEL
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.units import human_time
from helpers.show.words import in_english

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

{{ examples }}

## Licences inherited

{{ licences }}
"""


def escape(text: str) -> str:
    """`text` from strangers as plain Markdown: no markup, no HTML, one line."""
    text = " ".join(str(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", text)


@in_english()
def write_card(run: RunDir, config: RunConfig, push: Push, refused: list[str] | None = None):
    """Write README.md, and the hub's results file, into the folder of `push`  and give the `ModelCard`.

    The adapter's own config gets the base model's public name too: a path on this machine helps nobody.
    `refused`: what hub_force overrode, if anything; the card begins with it. All of the card is English.
    """
    from huggingface_hub import ModelCard

    report = MergeReport.read(run.merge_report) if run.merge_report.exists() else None
    base, data = public_name(config.model_id), public_name(config.dataset_id)
    if push.what == "adapter":
        file = push.folder / "adapter_config.json"
        write_json(file, {**read_json(file), "base_model_name_or_path": base})
    write_results(push.folder, config, report, push.what)
    reasons = refusals(run, push, config.require) if refused else []
    warnings = "".join(f"> **Pushed in spite of a refusal:** {escape(reason)}\n" for reason in reasons)
    kind = "A LoRA adapter for" if push.what == "adapter" else "An adapter merged into"
    inherited = {"base model": licence(config.model_id, "model"), "data": licence(config.dataset_id, "dataset")}
    rule = naming_rule(inherited["base model"], push.repo)
    terms = [f"- {what}: {escape(found.words)}" for what, found in inherited.items()]
    terms += [f"- {escape(rule)}"] if rule else []
    if rule and "QLORA_HUB_REPO" in rule:
        print(rule)
    card = ModelCard.from_template(
        _card_data(config, push, report, inherited),
        template_str=TEMPLATE,
        title=escape(f"{config.run_name} ({push.what})"),
        opening=f"{kind} {escape(base)}, trained with QLoRA on {escape(data)}.{' Built with Llama.' if rule else ''}",
        warnings=warnings,
        usage=_usage(config, push),
        made=_made(run, config),
        measured=_measured(report),
        examples=_examples(report, push.what) if config.hub_examples else "",
        licences="\n".join(terms),
    )
    write_atomic(push.folder / "README.md", str(card))
    return card


def _card_data(config: RunConfig, push: Push, report: MergeReport | None, inherited: dict):
    from huggingface_hub import ModelCardData

    base, terms = public_name(config.model_id), inherited["base model"]
    free = inherited["data"].id in PERMISSIVE  # stricter data: neither licence alone describes the result
    return ModelCardData(
        base_model=base if on_hub(base) else None,
        datasets=[config.dataset_id] if on_hub(config.dataset_id) else None,
        library_name="peft" if push.what == "adapter" else "transformers",
        pipeline_tag="text-generation",
        license=terms.id if free else "other",
        license_name=(terms.name or None) if free or terms.id == "other" else None,
        license_link=(terms.link or None) if free or terms.id == "other" else None,
        tags=["qlora", "lora"],
        model_name=config.run_name,
        eval_results=on_the_card(config, report, push.what) if report else None,
        qlora_run=config.run_name,
        **{MANIFEST: sorted({*files_to_push(push.folder), "README.md"})},
    )


def _usage(config: RunConfig, push) -> str:
    tokenizer = f'tokenizer = AutoTokenizer.from_pretrained("{push.repo}")'
    if push.what == "merged":
        model = f'model = AutoModelForCausalLM.from_pretrained("{push.repo}", dtype="auto")'
        return f"from transformers import AutoModelForCausalLM, AutoTokenizer\n\n{model}\n{tokenizer}"
    base = public_name(config.model_id)
    known = base if on_hub(base) else f"FOLDER/{base}"
    return (
        "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'base = AutoModelForCausalLM.from_pretrained("{known}", dtype="auto")\n'
        f'model = PeftModel.from_pretrained(base, "{push.repo}")\n{tokenizer}'
    )


def _made(run: RunDir, config: RunConfig) -> str:
    rows = read_jsonl(run.metrics) if run.metrics.exists() else []
    end = next((row for row in reversed(rows) if "device" in row), {})  # see train.metrics
    seconds, data = end.get("elapsed_s"), public_name(config.dataset_id)
    packaged = f", weights from {config.model_id}" if config.model_id == DEMO_MODEL else ""
    facts = {
        "base model": f"{public_name(config.model_id)}{packaged} ({config.model_revision or 'revision not recorded'})",
        "data": f"{data} {config.dataset_split} ({config.dataset_revision or 'revision not recorded'})",
        "4-bit base": f"{config.quant_type}, double quantisation {config.double_quant}"
        if config.load_in_4bit
        else "no",
        "LoRA": f"r {config.lora_r}, alpha {config.lora_alpha}, dropout {config.lora_dropout}, {config.lora_target_modules}",
        "learning rate": f"{config.learning_rate:g}, {config.lr_scheduler_type}, {config.optim}",
        "batch": f"{config.per_device_train_batch_size} x {config.gradient_accumulation_steps}",
        "steps": end.get("step", "not recorded"),
        "longest conversation": f"{config.max_length} tokens",
        "seed": config.seed,
        "hardware": end.get("device", "not recorded"),
        "training time": human_time(seconds) if seconds else "not recorded",
        "cost": "not recorded: price_per_hour was not set",
    }
    if run.preference.exists():  # A2: the rest is about the training before it
        made = read_json(run.preference)
        facts["then"] = (
            f"DPO on {made['pairs']} preference pairs ({public_name(made['data'])}), beta {made['beta']:g}, learning rate "
            f"{made['learning_rate']:g}, {made['epochs']:g} epochs, from the adapter of the run {made['from']}"
        )
    if seconds and config.price_per_hour:
        facts["cost"] = f"{seconds / 3600 * config.price_per_hour:.2f} (at {config.price_per_hour:g} per hour)"
    return "\n".join(f"- {name}: {escape(value)}" for name, value in facts.items())


def _measured(report: MergeReport | None) -> str:
    if report is None:
        return "Nothing yet: the merge notebook writes the merge report."
    names = ("model", "NLL per token", "95 % interval", "KL to adapter", "same first choice", "replies that stop")
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for name, row in report.measured.items():
        cells = [escape(name), f"{row['nll']:.3f}", told_interval(row["nll_low"], row["nll_high"], ".3f")]
        cells += [f"{row['kl']:.4f}" if "kl" in row else "", f"{row['agreement']:.1%}" if "agreement" in row else ""]
        cells += [share(row["stops"] * row["replies"], row["replies"]) if "stops" in row else ""]
        lines.append(f"| {' | '.join(cells)} |")
    counts, versions = report.counts, " ".join(f"{name} {version}" for name, version in report.versions.items())
    lines += [
        f"\nOn {counts['rows']} held-out conversations, {counts['tokens']} answer tokens; seed {report.seed}; {escape(versions)}.",
        f"\nMerge: {escape(report.chosen)}. The merge report is {report.verdict}: {escape(report.verdict_reason)}",
    ]
    return "\n".join(lines)


def _examples(report: MergeReport | None, what: str) -> str:
    """Held-out questions with the base model's reply and this one's, as the merge report's measurement heard them."""
    if report is None:
        return "No example replies: the merge notebook, which asks the models, was not run."
    parts = [("Asked", "prompt"), ("The base model", "base"), ("This model", what)]
    shown = [
        "\n".join(
            f"{'-' if i == 0 else ' '} **{name}:** {escape(row[key]) or '(nothing)'}  "
            for i, (name, key) in enumerate(parts)
        )
        for row in report.examples
    ]
    return "\n".join(["## Example replies\n", *shown])
