"""What was forgotten: base against adapter and merged model on general text that has nothing to do with the training.

The texts lie in notebooks/data/general.jsonl: passages and questions, Korean and English, written for this project. The
languages are judged apart: a model that gains Korean may pay for it in English, and a mean over both would hide it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import ALPHA, BETTER, FEWEST, SAME, WORSE, judge, paired_difference, told_gap
from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.show.tables import Table
from helpers.show.words import N_, _

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

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
        asked = [{"role": "user", "content": text.get("question")}]
        context = prompt_ids(tokenizer, asked) if "question" in text else start
        ids = tokenizer(text.get("answer") or text["text"], add_special_tokens=False).input_ids[:LONGEST]
        rows.append({"input_ids": list(context) + ids, "labels": [-100] * len(context) + ids})
    return Dataset.from_list(rows)


def score_base(model: PreTrainedModel, rows) -> Scores:
    """The base on `general_rows`, with its logits on as many leading rows as fit, for the KL of the others."""
    from helpers.evaluate.held_out import held_out_nll, rows_that_fit

    vocabulary = model.get_output_embeddings().weight.shape[0]
    return held_out_nll(model, rows, keep=rows_that_fit(rows, vocabulary, LOGITS))


def forgotten(scores: dict[str, Scores]) -> dict:
    """Every model against "base": NLL difference on general text with interval and verdict, in all and by language, and
    KL.

    `scores` are of `general_rows`, in their order. NLL and KL in nats per token; a positive difference is what was
    lost.
    """
    languages = [text["language"] for text in general_texts()]
    base, lost = scores["base"], {}
    verdicts = (len(scores) - 1) * len(LANGUAGES)
    for name, model in scores.items():
        if name == "base":
            continue
        parts = {}
        for language in LANGUAGES:
            kept = [i for i, own in enumerate(languages) if language in ("all", own)]
            before, after, tokens = ([values[i] for i in kept] for values in (base.nll, model.nll, base.tokens))
            gap = paired_difference(before, after, tokens, verdicts)
            parts[language] = {**gap, "verdict": judge(gap)}
        lost[name] = {**parts.pop("all"), "languages": parts}
        if model.kl:
            lost[name] |= {"kl": model.kl_per_token, "agreement": model.agreement}
    return lost


def forgetting_table(lost: dict) -> Table:
    """`forgotten` as a table."""
    rows = []
    for name, gap in lost.items():
        for language, part in {"all": gap, **gap["languages"]}.items():
            first = language == "all" and "kl" in gap
            rows.append(
                {
                    "model": _("{model} against {other}").format(model=name, other="base"),
                    "text": _(LANGUAGES[language]),
                    "NLL": f"{part['difference']:+.3f}",
                    "interval": told_gap(part),
                    "texts": part["rows"],
                    "verdict": _(part["verdict"]),
                    "KL": f"{gap['kl']:.3f}" if first else "",
                    "same first choice": f"{gap['agreement']:.0%}" if first else "",
                }
            )
    caption = _(
        "General text, nats per token. Intervals of {level} % each, so that all {rows} hold in 95 % of such pages."
    )
    level = f"{100 * (1 - ALPHA / max(len(rows), 1)):.4g}"
    return Table(rows, caption=caption.format(level=level, rows=len(rows)))


def won_and_lost(paired: list[dict], lost: dict, known: dict | None = None, model: str = "adapter") -> str:
    """What `model` won on the held-out rows, and what it lost in general: text (`forgotten`) and `known_answers`.

    "Nothing was forgotten" is said only where both agree.
    """
    own = next(row for row in paired if row["model"] == model and row["number"].startswith("NLL"))
    won = {
        BETTER: _("Won: the held-out rows: NLL {gain}."),
        WORSE: _("Lost: even the held-out rows: NLL {gain}."),
    }.get(own["verdict"], _("Nothing proven won: NLL {gain}."))
    rows = _("{gap}, {rows} rows").format(gap=told_gap(own, form="+.2f"), rows=own["rows"])
    sentences = [won.format(gain=f"{own['difference']:+.2f} ({rows})"), *_general(lost[model]["languages"])]
    verdicts = {part["verdict"] for part in lost[model]["languages"].values()}
    text_kept = verdicts <= {BETTER, SAME}
    if not known or model not in known["models"]:
        return " ".join(sentences)
    told, answers_kept = _answers(known, model)
    if text_kept and answers_kept:
        told.append(_("Nothing was forgotten that these texts and questions can show."))
    elif WORSE not in verdicts and not answers_kept:
        told.append(_("So it cannot be said that nothing was forgotten."))
    return " ".join([*sentences, *told])


def _general(languages: dict) -> list[str]:
    """What general text says, in sentences: languages that were lost, those that were won, and whether it can tell."""
    parts = {verdict: [] for verdict in (WORSE, BETTER)}
    for language, part in languages.items():
        if part["verdict"] in parts:
            told = f"{_(LANGUAGES[language])} {part['difference']:+.2f} ({told_gap(part, form='+.2f')})"
            parts[part["verdict"]].append(told)
    sentences = []
    if parts[WORSE]:
        sentences.append(_("Lost: general text, {parts}.").format(parts=", ".join(parts[WORSE])))
    if parts[BETTER]:
        sentences.append(_("Won as well: general text, {parts}.").format(parts=", ".join(parts[BETTER])))
    if parts[WORSE]:
        return sentences
    if all(part["verdict"] in (BETTER, SAME) for part in languages.values()):
        return [*sentences, _("On general text nothing that matters was lost.")]
    return [*sentences, _("Whether general text was lost is unclear.")]


def _answers(known: dict, model: str) -> tuple[list[str], bool]:
    """What the known answers say, and whether none was lost; where the base knows few, they can show nothing."""
    before, after = (known["models"][name]["passed"] for name in ("base", model))
    change = next(change for change in known["changes"] if change["model"] == model)
    counts = {"before": before, "after": after, "of": known["of"]}
    counts |= {"lost": len(change["lost"]), "won": len(change["won"])}
    sentence = _("Of {of} questions the base answers {before}, this model {after}: {lost} lost, {won} won.")
    told = [sentence.format(**counts)]
    if change["verdict"] == WORSE:
        told.append(_("Knowledge was lost."))
    elif before < FEWEST:
        told.append(_("The base knows too few of them to show a loss."))
    return told, before >= FEWEST and len(change["lost"]) <= len(change["won"])
