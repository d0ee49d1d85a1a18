"""The model card: what the model is, how it was made, what was measured. Written with huggingface_hub's own classes."""

from __future__ import annotations

from dataclasses import replace

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

from helpers.data.sources import parts
from helpers.evaluate.intervals import told_interval
from helpers.evaluate.voting import VOTES
from helpers.files import read_json, read_jsonl, write_atomic, write_json
from helpers.merge.card_numbers import checked, escape, examples, measured
from helpers.merge.gate import MANIFEST, RESULTS, Push, files_to_push, refusals
from helpers.merge.licences import PERMISSIVE, Licence, licence, naming_rule, on_hub, public_name
from helpers.merge.report import MergeReport
from helpers.model.source import DEMO_MODEL
from helpers.runs import RunDir
from helpers.runs.paid import cost, paid_seconds
from helpers.settings import RunConfig
from helpers.show.units import human_time
from helpers.show.words import in_language

# of the hub's results folder: https://huggingface.co/docs/hub/eval-results
RESULTS_FILE, TASK = f"{RESULTS}held-out.yaml", "held_out_nll"


@in_language("en")
def write_card(run: RunDir, config: RunConfig, push: Push, refused: list[str] | None = None):
    """Write README.md and the hub's results file into the folder of `push`, all in English; give the `ModelCard`.

    The adapter's own config gets the base's public name, too. The card begins with `refused`, what was overridden."""
    report = MergeReport.read(run.merge_report) if run.merge_report.exists() else None
    base, data = public_name(config.model_id), _public(_data(config, run))
    if push.what == "adapter":
        file = push.folder / "adapter_config.json"
        write_json(file, {**read_json(file), "base_model_name_or_path": base})
    _write_results(push, config, report)
    reasons = refusals(run, push, config.require) if refused else []  # again, in English
    warnings = [f"> **Pushed in spite of a refusal:** {escape(reason)}\n" for reason in reasons]
    terms, of_data = licence(config.model_id, "model"), [licence(name, "dataset") for name in _data(config, run)]
    rule = naming_rule(terms, push.repo)
    if "QLORA_HUB_REPO" in rule:
        print(rule)
    inherited = [f"base model: {terms.words}", *(f"data: {one.words}" for one in of_data), *filter(None, [rule])]
    kind = {"adapter": "A LoRA adapter for", "merged": "An adapter merged into"}[push.what]
    opening = f"{kind} {escape(base)}, trained with QLoRA on {escape(data)}.{' Built with Llama.' if rule else ''}"
    sections = {
        "How to use it": f"```python\n{_usage(config, push)}\n```",
        "How it was made": _made(run, config),
        "What was measured": measured(report),
        "Checks": checked(run),
        "Example replies": examples(report, push.what) if config.hub_examples else "",
        "Licences inherited": "\n".join(f"- {escape(line)}" for line in inherited),
    }
    texts = [f"# {escape(f'{config.run_name} ({push.what})')}", opening, *warnings]
    texts += [f"## {name}\n\n{text}" for name, text in sections.items() if text]
    head, text = _card_data(run, config, push, report, terms, of_data).to_yaml(), "\n\n".join(texts)
    card = ModelCard(f"---\n{head}\n---\n{text}\n")
    write_atomic(push.folder / "README.md", str(card))
    return card


def _data(config: RunConfig, run: RunDir | None = None) -> list[str]:
    """The data sets of 03, each by its name without a weight; of `run` those that were rehearsed, or preferred, too."""
    names = [one.dataset_id for one, _weight in parts(config)]
    more = [config.rehearsal_dataset_id] if run and config.rehearsal_fraction else []
    if run and run.preference.exists():
        more.append(read_json(run.preference).get("data", ""))
    for data in more:
        if data and data != VOTES:
            names += _data(replace(config, dataset_id=data, run_name=config.run_name))
    return list(dict.fromkeys(names))


def _public(names: list[str]) -> str:
    return ", ".join(map(public_name, names))


def _card_data(
    run: RunDir, config: RunConfig, push: Push, report: MergeReport | None, terms: Licence, of_data: list[Licence]
):
    stricter = any(one.id not in PERMISSIVE for one in of_data)  # then neither licence describes the result
    if stricter and terms.id != "other":
        terms = Licence("other", "")
    base = public_name(config.model_id)
    facts = {
        "base_model": base if on_hub(base) else None,
        "datasets": list(filter(on_hub, _data(config, run))),
        "library_name": "peft" if push.what == "adapter" else "transformers",
        "pipeline_tag": "text-generation",
        "license": terms.id,
        "license_name": terms.name,
        "license_link": terms.link,
        "tags": ["qlora", "lora"],
        "model_name": config.run_name,
        "qlora_run": config.run_name,
        MANIFEST: sorted({*files_to_push(push.folder), "README.md"}),
    }
    data = ModelCardData(**{name: value for name, value in facts.items() if value})
    if report:  # the `model-index`; not the share of replies that stop, which says little of a dozen
        name = f"{_public(_data(config))}, held-out part, {report.counts['rows']} conversations"
        kind = config.dataset_id if on_hub(config.dataset_id) else "local"
        nll = round(report.row(push.what)["nll"], 4)
        data.eval_results = [EvalResult("text-generation", kind, name, "nll", nll)]
    return data


def _write_results(push: Push, config: RunConfig, report: MergeReport | None) -> None:
    """Write the hub's results file, or delete an older one without a report, or with data that is not on the hub.

    Its task has a name that no benchmark uses, so that this run's own number is never ranked beside those of others."""
    (push.folder / RESULTS_FILE).unlink(missing_ok=True)
    if report is None or not on_hub(config.dataset_id):
        return
    row, counts = report.row(push.what), report.counts
    interval = told_interval(row["nll_low"], row["nll_high"], ".4f")
    entry = EvalResultEntry(
        dataset_id=config.dataset_id,
        task_id=TASK,
        value=round(row["nll"], 4),
        dataset_revision=config.dataset_revision or None,
        date=report.created or None,
        notes=f"NLL in nats per answer token, lower is better; 95 % interval {interval}; on "
        f"{counts['rows']} conversations ({counts['tokens']} answer tokens) that this run held out of the "
        f"{config.dataset_split} split. No benchmark.",
    )
    written = yaml.safe_dump(eval_result_entries_to_yaml([entry]), allow_unicode=True, sort_keys=False)
    write_atomic(push.folder / RESULTS_FILE, written)


def _usage(config: RunConfig, push: Push) -> str:
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
    unknown = "revision not recorded"
    packaged = f", weights from {config.model_id}" if config.model_id == DEMO_MODEL else ""
    packed = f"{config.quant_type}, double quantisation {config.double_quant}"
    facts = {
        "base model": f"{public_name(config.model_id)}{packaged} ({config.model_revision or unknown})",
        "data": f"{_public(_data(config))} {config.dataset_split} ({config.dataset_revision or unknown})",
        "4-bit base": packed if config.load_in_4bit else "no",
        "LoRA": f"r {config.lora_r}, alpha {config.lora_alpha}, dropout {config.lora_dropout}, "
        f"{config.lora_target_modules}",
        "learning rate": f"{config.learning_rate:g}, {config.lr_scheduler_type}, {config.optim}",
        "batch": f"{config.per_device_train_batch_size} x {config.gradient_accumulation_steps}",
        "longest conversation": f"{config.max_length} tokens",
        "seed": config.seed,
        **_spent(run, config),
    }
    if config.start_from:
        facts["start"] = f"an adapter that was trained before ({public_name(config.start_from)})"
    if run.preference.exists():  # A2, A5: the rest is about the training before it
        made = read_json(run.preference)
        how = f"DPO on {made['pairs']} preference pairs ({public_name(made.get('data', ''))}), beta {made['beta']:g}"
        if "reward" in made:
            how = f"GRPO on {made['pairs']} prompts of the training data, reward: {', '.join(made['reward'])}"
        how += f", learning rate {made['learning_rate']:g}, "
        how += f"{made['steps']} steps" if "steps" in made else f"{made['epochs']:g} epochs"
        facts["then"] = f"{how}, from the adapter of the run {made['from']}"
    return "\n".join(f"- {name}: {escape(value)}" for name, value in facts.items())


def _spent(run: RunDir, config: RunConfig) -> dict[str, str]:
    """Steps, hardware, time and cost of the training, from the last row of metrics.jsonl that has them."""
    rows = read_jsonl(run.metrics) if run.metrics.exists() else []
    end = next((row for row in reversed(rows) if "device" in row), {})
    unknown, paid = "not recorded", cost(end, config.price_per_hour, config.gpus)
    price = f"{unknown}: price_per_hour was not set"
    if paid is not None:
        price = f"{paid:.2f} (at {config.price_per_hour:g} per hour of a card)"
    return {
        "steps": end.get("step", unknown),
        "hardware": end.get("device", unknown),
        "training time": human_time(paid_seconds(end)) if end else unknown,
        "cost": price,
    }
