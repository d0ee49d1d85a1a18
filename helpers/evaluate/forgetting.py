"""What was forgotten: base against adapter and merged model on general text that has nothing to do with the training.

The texts lie in notebooks/data/general.jsonl: passages and questions, Korean and English, written for this project. The
languages are judged apart: a model that gains Korean may pay for it in English, and a mean over both would hide it.
"""

from __future__ import annotations

from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import ALPHA, BETTER, SAME, WORSE, judge, paired_difference, told_interval
from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.show.tables import Table

GENERAL = PROJECT_ROOT / "notebooks" / "data" / "general.jsonl"
LONGEST = 64  # tokens of a passage that are read
FEW = 48  # tokens of a reply
LOGITS = 3e8  # bytes of the base's logits that are kept for KL
LANGUAGES = {"all": "all texts", "ko": "Korean", "en": "English"}


def general_texts() -> list[dict]:
    """The texts: {"language", "text"} or {"language", "question", "answer", "ask"}."""
    return read_jsonl(GENERAL)


def general_rows(tokenizer):
    """The texts as a `datasets.Dataset` with input_ids and labels: the passages whole, of the questions the answers.

    A question stands in the model's chat template, as it is asked at use.
    """
    from datasets import Dataset

    from helpers.template.chat import prompt_ids

    start, rows = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id], []
    for text in general_texts():
        context = prompt_ids(tokenizer, _asked(text)) if "question" in text else start
        ids = tokenizer(text.get("answer") or text["text"], add_special_tokens=False).input_ids[:LONGEST]
        rows.append({"input_ids": list(context) + ids, "labels": [-100] * len(context) + ids})
    return Dataset.from_list(rows)


def general_questions() -> list[list[dict]]:
    """The ten questions that are asked to every model, as messages."""
    return [_asked(text) for text in general_texts() if text.get("ask")]


def score_base(model, rows) -> Scores:
    """The base on `general_rows`, with its logits on as many leading rows as fit, for the KL of the others."""
    from helpers.evaluate.held_out import held_out_nll, rows_that_fit

    vocabulary = model.get_output_embeddings().weight.shape[0]
    return held_out_nll(model, rows, keep=rows_that_fit(rows, vocabulary, LOGITS))


def forgotten(scores: dict[str, Scores]) -> dict:
    """Every model against "base": NLL difference on general text with interval and verdict, in all and by language, and KL.

    `scores` are of `general_rows`, in their order. NLL and KL in nats per token; a positive difference is what was lost.
    """
    spoken, found = [text["language"] for text in general_texts()], {}
    verdicts = (len(scores) - 1) * len(LANGUAGES)
    for name in (name for name in scores if name != "base"):
        base, model, parts = scores["base"], scores[name], {}
        for language in LANGUAGES:
            kept = [i for i, own in enumerate(spoken) if language in ("all", own)]
            sums = ([given.nll[i] for i in kept] for given in (base, model))
            gap = paired_difference(*sums, [base.tokens[i] for i in kept], verdicts)
            parts[language] = {**gap, "verdict": judge(gap)}
        found[name] = {**parts.pop("all"), "languages": parts}
        if model.kl:
            found[name] |= {"kl": model.kl_per_token, "agreement": model.agreement}
    return found


def forgetting_table(found: dict) -> Table:
    """`forgotten` as a table."""
    rows = []
    for name, gap in found.items():
        for language, part in {"all": gap, **gap["languages"]}.items():
            first = language == "all" and "kl" in gap
            rows.append(
                {
                    "model": f"{name} against base",
                    "text": LANGUAGES[language],
                    "NLL": f"{part['difference']:+.3f}",
                    "interval": told_interval(part["low"], part["high"]),
                    "texts": part["rows"],
                    "verdict": part["verdict"],
                    "KL": f"{gap['kl']:.3f}" if first else "",
                    "same first choice": f"{gap['agreement']:.0%}" if first else "",
                }
            )
    level = f"Intervals of {100 * (1 - ALPHA / max(len(rows), 1)):.4g} % each"
    return Table(
        rows, caption=f"General text, nats per token. {level}, so that all {len(rows)} hold in 95 % of such pages."
    )


def won_and_lost(paired: list[dict], found: dict, model: str = "adapter") -> str:
    """The verdict in two sentences: what `model` won on the held-out rows (`really_better`), and what it lost in general."""
    own = next(row for row in paired if row["model"] == model and row["number"].startswith("NLL"))
    gain = f"NLL {own['difference']:+.2f} ({told_interval(own['low'], own['high'], '+.2f')}, {own['rows']} rows)"
    won = {BETTER: "Won: the held-out rows", WORSE: "Lost: even the held-out rows"}.get(
        own["verdict"], "Nothing proven won"
    )
    parts = found[model]["languages"]

    def told(verdict) -> str:
        return " and ".join(
            f"{LANGUAGES[name]} {part['difference']:+.2f} ({told_interval(part['low'], part['high'], '+.2f')})"
            for name, part in parts.items()
            if part["verdict"] == verdict
        )

    lost, gained, unsure = (
        told(WORSE),
        told(BETTER),
        [v for v in parts.values() if v["verdict"] not in (BETTER, SAME, WORSE)],
    )
    said = [f"{won}: {gain}."]
    said += [f"Lost: general text, {lost}."] if lost else []
    said += [f"Won as well: general text, {gained}."] if gained else []
    if not lost:
        said.append(
            "Whether general text was lost is unclear." if unsure else "Lost: nothing that matters on general text."
        )
    return " ".join(said)


def general_replies(answers: dict[str, list]) -> list[dict]:
    """The ten questions with every model's reply, side by side."""
    asked = [messages[-1]["content"] for messages in general_questions()]
    return [{"question": q, **{name: given[i].text for name, given in answers.items()}} for i, q in enumerate(asked)]


def _asked(text: dict) -> list[dict]:
    return [{"role": "user", "content": text["question"]}]
