"""A5: `GRPOTrainer` on the 4-bit base and the adapter of 04, rewarded by your own checks; and A2's pairs from the same checks.

prompts = reward_prompts(read_jsonl(run.train_jsonl), tokenizer)       # never those that are held out
groups = sampled(model, tokenizer, prompts, checks, 8, 4, 64)          # has the reward anything to tell apart?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trl import GRPOTrainer

from helpers.data.readers import parquet_rows
from helpers.evaluate.checks import Check, run_checks
from helpers.evaluate.decoding import Sampling
from helpers.evaluate.generation import Reply, cut_reply, generate_replies, prompts_and_references
from helpers.evaluate.intervals import BETTER, FEWEST, TOO_FEW, UNCLEAR, WORSE, paired_difference, share, told_interval
from helpers.show.tables import Table
from helpers.show.words import _
from helpers.template.chat import fold_system, prompt_ids, render, stop_ids
from helpers.train.branch import one_function_a_branch
from helpers.train.trainer import float32_adapter

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from helpers.show.pictures import Picture


class NoSignal(ValueError):
    """A reward that gives every reply of a prompt the same: nothing can be learned from it. `groups`: reward by prompt and reply."""

    def __init__(self, sentence: str, groups: list[list[float]]):
        super().__init__(sentence)
        self.groups = groups


@dataclass(frozen=True)
class Group:
    """Several replies to one prompt, and what each is worth."""

    prompt: list[dict]
    reference: str
    replies: list[Reply]
    rewards: list[float]  # checks that the reply passes


def reward_prompts(rows: list[dict], tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """What training rows ask, for `GRPOTrainer`: `prompt` as the template shows it, `asked` as the checks get it, `reference`.

    Rows with tools are left out, and counted: a check cannot run them.
    """
    from datasets import Dataset

    plain = [row for row in rows if not row.get("tools")]
    if len(plain) < len(rows):
        print(_("Left out: {count} rows with tools.").format(count=len(rows) - len(plain)))
    asked, references = prompts_and_references(plain, tokenizer=tokenizer)
    texts = [[{key: turn[key] for key in ("role", "content")} for turn in messages] for messages in asked]
    prompts = [fold_system(tokenizer, messages) for messages in texts]
    return Dataset.from_dict({"prompt": prompts, "asked": texts, "reference": references})


def reward_functions(checks: dict[str, Check], tokenizer: PreTrainedTokenizerBase) -> list[Callable]:
    """One reward function for each check, by its name: 1 for a reply that passes, else 0. TRL adds them up."""
    return [_reward(name, check, tokenizer) for name, check in checks.items()]


def _reward(name: str, check: Check, tokenizer: PreTrainedTokenizerBase) -> Callable:
    stops = stop_ids(tokenizer)

    def reward(prompts, completion_ids, asked, reference, **_more) -> list[float]:
        texts = [render(tokenizer, prompt, add_generation_prompt=True) for prompt in prompts]
        replies = [cut_reply(i, tokenizer, stops, 0, text) for i, text in zip(completion_ids, texts, strict=True)]
        passed = run_checks({name: check}, asked, {"model": replies}, reference).passed
        return list(map(float, passed[name]["model"]))

    reward.__name__ = name
    return reward


def sampled(
    model: PreTrainedModel, tokenizer, prompts: Dataset, checks: dict[str, Check], of_each: int, max_new_tokens: int
) -> list[Group]:
    """`of_each` drawn replies to each of `prompts`, with their rewards; says which checks failed themselves."""
    every = [row for row in prompts for _again in range(of_each)]
    asked, references = ([row[name] for row in every] for name in ("asked", "reference"))
    replies = generate_replies(model, tokenizer, asked, max_new_tokens, Sampling(1.0), progress=_("replies"))
    checked = run_checks(checks, asked, {"model": replies}, references)
    for fault in checked.faults[:1]:
        sentence = _("{check} failed itself on {count} replies ({error}): they count as not passed.")
        print(sentence.format(check=fault.check, count=len(checked.faults), error=fault.error))
    worth = [sum(passed) for passed in zip(*(models["model"] for models in checked.passed.values()), strict=True)]
    places = range(0, len(every), of_each)
    return [Group(asked[i], references[i], replies[i : i + of_each], worth[i : i + of_each]) for i in places]


def require_signal(groups: Sequence[Group], checks: int) -> str:
    """How many prompts have replies of different worth, in a sentence. Raises NoSignal, with what to do, where none has."""
    rewards = [group.rewards for group in groups]
    apart, every = sum(len(set(worth)) > 1 for worth in rewards), {value for worth in rewards for value in worth}
    if apart:
        sentence = _(
            "{count} of {prompts} prompts have replies of different worth (0 to {checks}): from those it learns."
        )
        return sentence.format(count=apart, prompts=len(groups), checks=checks)
    sentence = _(
        "Each prompt's replies are worth the same, so there is nothing to prefer: draw more replies of each "
        "(num_generations), or take prompts that are neither easy nor hopeless."
    )
    if every == {0}:
        sentence = _(
            "No reply passes any check, so the reward is 0 for all and nothing is learned: train longer in 04 first, or add "
            "a check that is easier to pass, as one field of five."
        )
    elif every == {checks}:
        sentence = _(
            "Every reply passes every check, so nothing is left to learn: take harder prompts or stricter checks, or go on "
            "from an earlier adapter (fork with a smaller max_steps)."
        )
    raise NoSignal(sentence, rewards)


def pairs_by_checks(groups: Sequence[Group]) -> list[dict]:
    """The best and the worst reply of each prompt as a pair for A2, where they differ in worth (rejection sampling)."""
    pairs = []
    for group in groups:
        order = sorted(range(len(group.replies)), key=lambda i: group.rewards[i])
        worst, best = order[0], order[-1]
        if group.rewards[best] > group.rewards[worst] and group.replies[best].stopped:
            names = (("chosen", best), ("rejected", worst))
            answers = {name: [{"role": "assistant", "content": group.replies[i].text}] for name, i in names}
            pairs.append({"prompt": group.prompt, **answers})
    return pairs


class RewardTrainer(GRPOTrainer):
    """`GRPOTrainer` on `model`, a PeftModel with a trained adapter: it stays in float32, and a reply ends where it does in 06."""

    def __init__(self, *args, **kwargs):
        """Raises ValueError where TRL would ask with other tokens than 04 trained and 06 asks with."""
        model, tokenizer, rows = (kwargs[name] for name in ("model", "processing_class", "train_dataset"))
        exact = {name: weight.detach().float() for name, weight in model.named_parameters() if weight.requires_grad}
        model.generation_config.eos_token_id = stop_ids(tokenizer)
        super().__init__(*args, **kwargs)  # it rounds the adapter to bfloat16
        float32_adapter(self.model)
        for name, weight in exact.items():
            self.model.get_parameter(name).data = weight.clone()
        one_function_a_branch(self.model)
        for theirs, messages in zip(self._tokenize_prompts(list(rows["prompt"]))[0], rows["asked"], strict=True):
            if theirs != (ours := prompt_ids(tokenizer, messages)):
                sentence = _("TRL asks with {theirs!r}, but 04 trained on {ours!r}: set another chat_template in 03.")
                raise ValueError(sentence.format(theirs=tokenizer.decode(theirs), ours=tokenizer.decode(ours)))

    def load_trained(self, checkpoint) -> None:
        """The adapter of a finished training into the model, when there is nothing left to train."""
        self._load_from_checkpoint(str(checkpoint))


def reward_chart(history: list[dict], checks: Sequence[str]) -> Picture:
    """Checks that a drawn reply passes, in all and for each check, over the steps of a trainer's `log_history`."""
    from helpers.show.pictures import Picture, chart

    rows = [row for row in history if "reward" in row]
    steps = [row["step"] for row in rows]
    figure, axis = chart(8, 3)
    for name in checks:
        shares = [row[f"rewards/{name}/mean"] for row in rows]
        axis.plot(steps, shares, linewidth=1, alpha=0.7, label=name)
    worth = [row["reward"] / len(checks) for row in rows]
    axis.plot(steps, worth, color="black", label=_("all of them"))
    axis.set(xlabel=_("step"), ylabel=_("share of drawn replies that pass"), ylim=(0, 1.05))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    sentence = _(
        "Share of the drawn replies that pass, mean of {checks} checks: {first:.2f} at step {one}, {last:.2f} at step {end}"
    )
    ends = {"first": worth[0], "one": steps[0], "last": worth[-1], "end": steps[-1]}
    return Picture(figure, sentence.format(checks=len(checks), **ends))


def reply_strip(folder: Path, checks: Sequence[str], most: int = 6) -> Table:
    """One drawn reply each few steps, as TRL's `log_completions` kept them in `folder`, and how many checks it passes."""
    files, rows = sorted((folder / "completions").glob("*.parquet")), []
    for file in files[:: max(1, -(-len(files) // most))]:
        row = next(parquet_rows(file, []))
        passed = f"{sum(row[name] for name in checks):.0f} of {len(checks)}"
        reply = row["completion"][0]["content"]
        rows.append({"step": int(row["step"]), "asked": row["prompt"][-1]["content"], "reply": reply, "passes": passed})
    return Table(rows)


def passed_table(before: dict[str, list[bool]], after: dict[str, list[bool]]) -> Table:
    """The held-out replies that pass, before and after: each check counted, and the reward, their mean, with its interval."""
    rows = []
    for name in before:
        was, now, count = before[name], after[name], len(before[name])
        both = sum(a and b for a, b in zip(was, now, strict=True))
        row = {"": name, "before": share(sum(was), count), "after": share(sum(now), count)}
        rows.append(row | {"won": sum(now) - both, "lost": sum(was) - both})
    gap = reward_gap(before, after)
    means = {
        side: f"{sum(map(sum, found.values())) / len(found) / gap['rows']:.1%}"
        for side, found in (("before", before), ("after", after))
    }
    change = f"{gap['difference']:+.1%} ({told_interval(gap['low'], gap['high'], '+.1%')}): {_(gap['verdict'])}"
    caption = _("{rows} held-out prompts, greedy replies. The reward is the share of the checks that a reply passes.")
    reward = {"": _("the reward"), **means, "won": None, "lost": None, "change (95 % interval)": change}
    return Table([reward, *rows], caption=caption.format(rows=gap["rows"]))


def reward_gap(before: dict[str, list[bool]], after: dict[str, list[bool]]) -> dict:
    """The paired difference of the reward on the same prompts, with its verdict: all of the interval on one side of 0."""
    worth = [[sum(row) / len(found) for row in zip(*found.values(), strict=True)] for found in (before, after)]
    gap = paired_difference(*worth, [1] * len(worth[0]))
    verdict = BETTER if gap["low"] > 0 else WORSE if gap["high"] < 0 else UNCLEAR
    return {**gap, "verdict": TOO_FEW if gap["rows"] < FEWEST else verdict}
