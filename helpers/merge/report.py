"""The merge report: what each way of merging did to this very model, which one is recommended, and by which rule."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from helpers.evaluate.evaluation import now
from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import BETTER, FEWEST, MARGINS, WORSE, judge, paired_difference, told_interval
from helpers.evaluate.measured import VERDICTS
from helpers.files import read_json, sha256, write_json
from helpers.settings import RunConfig
from helpers.show.pictures import Picture, chart
from helpers.show.tables import GREEN, GREY, ORANGE, RED
from helpers.show.verdict import Verdict
from helpers.show.words import N_, _, in_language

MARGIN = MARGINS["NLL per token"]
RULE = N_(
    "The merge with the lower held-out NLL, when the interval of the difference between the two lies beyond {margin} "
    "nats per token; otherwise the one nearer to the adapter (lower KL)."
)
VERDICT_RULE = N_(
    "Green when the interval of (merged - adapter) ends below +{margin} nats per token, so that nothing that matters "
    "was lost; red when it begins above; unclear otherwise, and with fewer than {fewest} conversations."
)
REASONS = {
    Verdict.TOO_FEW: N_("Measured on {rows} conversation(s), fewer than {fewest}: merged - adapter is {gap}."),
    Verdict.RED: N_("The merge lost quality: merged - adapter is {gap}."),
    Verdict.GREEN: N_("merged - adapter is {gap}."),
    Verdict.UNCLEAR: N_("More held-out conversations could tell: merged - adapter is {gap}."),
}
COLOURS = {Verdict.GREEN: GREEN, Verdict.RED: RED, Verdict.UNCLEAR: ORANGE}


@dataclass(frozen=True)
class MergeReport:
    """What merge_report.json holds; its sentences are English there, and a page says them in the reader's language."""

    created: str
    base_model: str
    chosen: str  # the method
    chosen_because: str
    rule: str
    verdict: Verdict
    verdict_reason: str
    verdict_rule: str
    measured: dict[str, dict]  # `measured_row` by name
    counts: dict[str, int]
    examples: list[dict]
    seed: int
    versions: dict[str, str]
    files: dict[str, str]  # SHA-256, as sha256sum prints it, of merged/; without README.md, which a push writes
    schema: int = 1

    @classmethod
    def read(cls, file: Path) -> MergeReport:
        """Also one of an older version: what it lacks is empty."""
        kept = read_json(file)
        values = {field.name: kept.get(field.name, "") for field in fields(cls) if field.name != "schema"}
        return cls(**{**values, "verdict": Verdict(kept["verdict"])})

    def write(self, file: Path) -> None:
        write_json(file, asdict(self))

    def row(self, what: str) -> dict:
        """What was measured of the "adapter" or the "merged" model."""
        return self.measured["adapter" if what == "adapter" else self.chosen]

    def summary(self) -> str:
        """The verdict and its reason, for a page."""
        sentence = _("The merge report is {verdict}. {reason}")
        return sentence.format(verdict=self.verdict.word, reason=_reason(self.measured[self.chosen]))


def choose_merge(scores: dict[str, Scores]) -> tuple[str, str]:
    """The recommended merge among `scores` (method -> scores with KL) by RULE, and the reason in words."""
    if len(scores) == 1:
        return next(iter(scores)), _("the only merge that was made")
    first, second = scores
    gap = paired_difference(scores[first].nll, scores[second].nll, scores[first].tokens, VERDICTS)
    difference, judgement = f"{second} - {first}: {_gap(gap)}", judge(gap)
    if judgement in (BETTER, WORSE):
        sentence = _("its NLL is lower by more than {margin}: {difference}")
        return second if judgement == BETTER else first, sentence.format(margin=MARGIN, difference=difference)
    best = min(scores, key=lambda method: scores[method].kl_per_token)
    sentence = _("its KL is lower; between the NLLs: {judgement} ({difference})")
    return best, sentence.format(judgement=_(judgement), difference=difference)


def rules() -> str:
    """RULE and VERDICT_RULE, for a page."""
    return "\n".join(_(rule).format(margin=MARGIN, fewest=FEWEST) for rule in (RULE, VERDICT_RULE))


def verdict(row: dict) -> tuple[Verdict, str]:
    """GREEN, RED or UNCLEAR for the merged model's report row, by VERDICT_RULE, and the reason in English."""
    kind = _kind(row["against_adapter"])
    with in_language("en"):
        return Verdict.UNCLEAR if kind is Verdict.TOO_FEW else kind, _reason(row)


def _kind(gap: dict) -> Verdict:
    if gap["rows"] < FEWEST:
        return Verdict.TOO_FEW
    if judge(gap) == WORSE:
        return Verdict.RED
    return Verdict.GREEN if gap["high"] < MARGIN else Verdict.UNCLEAR


def _reason(row: dict) -> str:
    gap = row["against_adapter"]
    return _(REASONS[_kind(gap)]).format(rows=gap["rows"], fewest=FEWEST, gap=_gap(gap))


def _gap(gap: dict) -> str:
    sentence = _("{difference} nats per token, {level} % interval {interval}")
    interval = told_interval(gap["low"], gap["high"], "+.4f")
    return sentence.format(difference=f"{gap['difference']:+.4f}", level=f"{100 * gap['level']:.4g}", interval=interval)


def example_replies(prompts: list[list[dict]], replies: dict[str, list]) -> list[dict]:
    """What every model of `replies` (base, adapter, merged) answered to the same prompts, for the model card."""
    return [
        {"prompt": messages[-1]["content"], **{name: given[i].text for name, given in replies.items()}}
        for i, messages in enumerate(prompts)
    ]


def make_report(
    config: RunConfig, rows: dict, choice: tuple[str, str], merged: Path, counts: dict, examples: list
) -> MergeReport:
    """`rows`: measured_row by name; `choice`: the method and why; `counts`: how much was measured."""
    chosen, why = choice
    colour, reason = verdict(rows[chosen])
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")}
    files = {p.name: sha256(p) for p in sorted(merged.iterdir()) if p.is_file() and p.name != "README.md"}
    return MergeReport(
        created=now(),
        base_model=config.model_id,
        chosen=chosen,
        chosen_because=why,
        rule=RULE.format(margin=MARGIN),
        verdict=colour,
        verdict_reason=reason,
        verdict_rule=VERDICT_RULE.format(margin=MARGIN, fewest=FEWEST),
        measured=rows,
        counts=counts,
        examples=examples,
        seed=config.seed,
        versions=versions,
        files=files,
    )


def report_chart(report: MergeReport) -> Picture:
    """NLL with interval per model; the chosen merge in the colour of the verdict."""
    names = list(report.measured)
    figure, axes = chart(8, 0.5 * len(names) + 1)
    for y, (name, row) in enumerate(report.measured.items()):
        colour = COLOURS[report.verdict] if name == report.chosen else GREY
        if row["nll_low"] is not None:  # None: a single row has no interval
            axes.plot([row["nll_low"], row["nll_high"]], [y, y], color=colour, linewidth=3, alpha=0.4)
        axes.plot(row["nll"], y, "o", color=colour)
        axes.annotate(f"{row['nll']:.3f}", (row["nll"], y), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.set_xlabel(_("held-out NLL, nats per answer token (lower is better), with 95 % interval"))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    numbers = ", ".join(f"{name} {row['nll']:.3f}" for name, row in report.measured.items())
    caption = _("Held-out NLL: {numbers}. Chosen: {chosen}, {verdict}")
    return Picture(figure, caption.format(numbers=numbers, chosen=report.chosen, verdict=report.verdict.word))
