"""What was forgotten: base against adapter and merged model on general text that has nothing to do with the training.

The texts lie in notebooks/data/general.jsonl: passages and questions, Korean and English, written for this project. The
languages are judged one by one: a model that gains Korean may pay for it in English, and a mean would hide it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.evaluate.counts import change_of
from helpers.evaluate.held_out import Scores, held_out_nll, rows_that_fit
from helpers.evaluate.intervals import BETTER, FEWEST, SAME, WORSE, judged_difference, told_gap, told_level
from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.show.tables import Table
from helpers.show.words import N_, _

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GENERAL = PROJECT_ROOT / "notebooks" / "data" / "general.jsonl"
LONGEST = 64  # tokens of a passage that are read
REPLY = 48  # tokens of a reply
LOGITS = 3e8  # bytes of the base's logits that are kept for KL
LANGUAGES = {"all": N_("all texts"), "ko": N_("Korean"), "en": N_("English")}


def general_texts() -> list[dict]:
    """The texts: {"language", "text"} or {"language", "question", "answer", "ask"}."""
    return read_jsonl(GENERAL)


def general_rows(tokenizer: PreTrainedTokenizerBase):
    """The texts as a `datasets.Dataset` with input_ids and labels: the passages whole, of the questions the answers.

    A question stands in the model's chat template, as it is asked at use.
    """
    from datasets import Dataset

    from helpers.template.chat import prompt_ids

    start, rows = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id], []
    for text in general_texts():
        context = start
        if "question" in text:
            context = list(prompt_ids(tokenizer, [{"role": "user", "content": text["question"]}]))
        ids = tokenizer(text.get("answer") or text["text"], add_special_tokens=False).input_ids[:LONGEST]
        rows.append({"input_ids": context + ids, "labels": [-100] * len(context) + ids})
    return Dataset.from_list(rows)


def score_base(model, rows) -> Scores:
    """The base on `general_rows`, with its logits on as many leading rows as fit, for the KL of the others."""
    vocabulary = model.get_output_embeddings().weight.shape[0]
    return held_out_nll(model, rows, keep=rows_that_fit(rows, vocabulary, LOGITS))


def forgotten(scores: dict[str, Scores]) -> dict:
    """Every model against "base" on general text: NLL difference and its verdict, in all and by language, and KL.

    `scores` are of `general_rows`, in their order. Nats per token; a positive difference is what was lost.
    """
    spoken, lost = [text["language"] for text in general_texts()], {}
    base, others = scores["base"], {name: model for name, model in scores.items() if name != "base"}
    for name, model in others.items():
        parts = {}
        for language in LANGUAGES:
            kept = [i for i, own in enumerate(spoken) if language in ("all", own)]
            sums = ([values[i] for i in kept] for values in (base.nll, model.nll, base.tokens))
            parts[language] = judged_difference(*sums, verdicts=len(others) * len(LANGUAGES))
        lost[name] = {**parts.pop("all"), "languages": parts}
        if model.kl:
            lost[name] |= {"kl": model.kl_per_token, "agreement": model.agreement}
    return lost


def forgetting_table(lost: dict) -> Table:
    """`forgotten` as a table."""
    rows = []
    for name, gap in lost.items():
        for language, part in {"all": gap, **gap["languages"]}.items():
            row = {"model": _("{model} against {other}").format(model=name, other="base")}
            row |= {"text": _(LANGUAGES[language]), "NLL": f"{part['difference']:+.3f}", "interval": told_gap(part)}
            row |= {"texts": part["rows"], "verdict": _(part["verdict"]), "KL": "", "same first choice": ""}
            if "kl" in part:  # of all texts together
                row |= {"KL": f"{part['kl']:.3f}", "same first choice": f"{part['agreement']:.0%}"}
            rows.append(row)
    return Table(rows, caption=_("General text, nats per token.") + " " + told_level(len(rows)))


def won_and_lost(paired: list[dict], lost: dict, known: dict | None = None, model: str = "adapter") -> str:
    """What `model` won on the held-out rows, and what it lost in general: text (`forgotten`) and `known_answers`.

    "Nothing was forgotten" is said only where both agree.
    """
    own = next(row for row in paired if row["model"] == model and row["number"].startswith("NLL"))
    won = {BETTER: _("Won: the held-out rows: NLL {gain}."), WORSE: _("Lost: even the held-out rows: NLL {gain}.")}
    sentence = won.get(own["verdict"], _("Nothing proven won: NLL {gain}."))
    rows = _("{gap}, {rows} rows").format(gap=told_gap(own, form="+.2f"), rows=own["rows"])
    languages = lost[model]["languages"]
    sentences = [sentence.format(gain=f"{own['difference']:+.2f} ({rows})"), *_general(languages)]
    if known and model in known["models"]:
        sentences += _answers(known, model, {part["verdict"] for part in languages.values()})
    return " ".join(sentences)


def _general(languages: dict) -> list[str]:
    """What general text says, in sentences: languages that were lost, those that were won, and whether it can tell."""
    gaps: dict[str, list[str]] = {}
    for language, part in languages.items():
        gap = f"{_(LANGUAGES[language])} {part['difference']:+.2f} ({told_gap(part, form='+.2f')})"
        gaps.setdefault(part["verdict"], []).append(gap)
    texts = {WORSE: _("Lost: general text, {parts}."), BETTER: _("Won as well: general text, {parts}.")}
    sentences = [text.format(parts=", ".join(gaps[verdict])) for verdict, text in texts.items() if verdict in gaps]
    if gaps.keys() <= {BETTER, SAME}:
        sentences.append(_("On general text nothing that matters was lost."))
    elif WORSE not in gaps:
        sentences.append(_("Whether general text was lost is unclear."))
    return sentences


def _answers(known: dict, model: str, general: set[str]) -> list[str]:
    """What the known answers say, and both with the verdicts on `general` text; a base that knows few shows nothing."""
    before, after = (known["models"][name]["passed"] for name in ("base", model))
    change = change_of(known["changes"], model)
    counts = {"lost": len(change["lost"]), "won": len(change["won"])}
    sentence = _("Of {of} questions the base answers {before}, this model {after}: {lost} lost, {won} won.")
    sentences = [sentence.format(of=known["of"], before=before, after=after, **counts)]
    if change["verdict"] == WORSE:
        sentences.append(_("Knowledge was lost."))
    elif before < FEWEST:
        sentences.append(_("The base knows too few of them to show a loss."))
    kept = before >= FEWEST and counts["lost"] <= counts["won"]
    if kept and general <= {BETTER, SAME}:
        sentences.append(_("Nothing was forgotten that these texts and questions can show."))
    elif not kept and WORSE not in general:
        sentences.append(_("So it cannot be said that nothing was forgotten."))
    return sentences
