"""A5: `GRPOTrainer` on base and adapter of 04, rewarded by your own checks; and pairs for A2 by the same checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOTrainer

from helpers.evaluate.checks import Check, Checked, run_checks
from helpers.evaluate.decoding import Sampling
from helpers.evaluate.generation import Reply, cut_reply, generate_replies, prompts_and_references
from helpers.evaluate.intervals import BETTER, FEWEST, SAME, TOO_FEW, UNCLEAR, WORSE, paired_difference, told_interval
from helpers.evaluate.passed import checks_told
from helpers.show.pictures import INK, Picture, chart
from helpers.show.words import _
from helpers.template.chat import fold_system, prompt_ids, render, stop_ids
from helpers.train.further import exact_weights, keep_exact, require_same_tokens
from helpers.train.trainer import LeanTrainer

OF_EACH = 4  # drawn replies to a prompt
REHEARSED = 0.3


class NoSignal(ValueError):
    """A reward that gives every reply of a prompt the same."""


class Group(NamedTuple):
    """Several replies to one prompt, and how many checks each passes."""

    prompt: list[dict]
    replies: list[Reply]
    rewards: list[int]


def reward_prompts(rows: list[dict], tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """What rows without tools ask: `prompt` as the template shows it, `asked` as the checks get it, `reference`."""
    asked, references = prompts_and_references([row for row in rows if not row.get("tools")], tokenizer=tokenizer)
    texts = [[{key: turn[key] for key in ("role", "content")} for turn in messages] for messages in asked]
    prompts = [fold_system(tokenizer, messages) for messages in texts]
    return Dataset.from_dict({"prompt": prompts, "asked": texts, "reference": references})


def reward_functions(checks: dict[str, Check], tokenizer: PreTrainedTokenizerBase) -> list[Callable]:
    """One reward function a check, by its name: 1 for a reply that passes, else 0. TRL adds them up."""
    stops = stop_ids(tokenizer)

    def function(name: str) -> Callable:
        def reward(prompts, completion_ids, asked, reference, **_more) -> list[float]:
            texts = [render(tokenizer, prompt, add_generation_prompt=True) for prompt in prompts]
            replies = [cut_reply(i, tokenizer, stops, 0, text) for i, text in zip(completion_ids, texts, strict=True)]
            return list(map(float, run_checks({name: checks[name]}, asked, {"": replies}, reference).passed[name][""]))

        reward.__name__ = name
        return reward

    return list(map(function, checks))


def sampled(
    model: PreTrainedModel, tokenizer, prompts: Dataset, checks: dict, length: int, temperature: float = 1.0
) -> list[Group]:
    """Four drawn replies of at most `length` tokens to each of `prompts`; says it when a check failed itself."""
    every: list[Any] = [row for row in prompts for _again in range(OF_EACH)]
    asked, references = ([row[name] for row in every] for name in ("asked", "reference"))
    replies = generate_replies(model, tokenizer, asked, length, Sampling(temperature), progress=_("replies"))
    checked = run_checks(checks, asked, {"drawn": replies}, references)
    for told in checks_told({}, checked.faults):
        print(told)
    worth = [sum(passed) for passed in zip(*(found["drawn"] for found in checked.passed.values()), strict=True)]
    places = [slice(i, i + OF_EACH) for i in range(0, len(every), OF_EACH)]
    return [Group(asked[place][0], replies[place], worth[place]) for place in places]


def require_signal(groups: list[Group], checks: int) -> str:
    """How many prompts have replies of different worth, in words. Raises NoSignal, with what to do, where none has."""
    rewards = [group.rewards for group in groups]
    apart, every = sum(len(set(worth)) > 1 for worth in rewards), {value for worth in rewards for value in worth}
    if apart:
        sentence = _(
            "{count} of {prompts} prompts have replies of different worth (0 to {checks}): it learns from those."
        )
        return sentence.format(count=apart, prompts=len(groups), checks=checks)
    sentence = _(
        "Each prompt's replies are worth the same, so there is nothing to prefer: draw more replies of each "
        "(num_generations), or take prompts that are neither easy nor hopeless."
    )
    if every == {0}:
        sentence = _(
            "No reply passes any check, so the reward is 0 for all and nothing is learned: train longer in 04 first, "
            "or add a check that is easier to pass, as one field of five."
        )
    elif every == {checks}:
        sentence = _(
            "Every reply passes every check, so nothing is left to learn: take harder prompts or stricter checks, or "
            "go on from an earlier adapter (fork with a smaller max_steps)."
        )
    raise NoSignal(sentence)


def pairs_by_checks(groups: list[Group]) -> list[dict]:
    """The best and the worst reply of each prompt as a pair for A2, where they differ in worth (rejection sampling)."""
    pairs = []
    for prompt, replies, rewards in groups:
        worst, best = rewards.index(min(rewards)), rewards.index(max(rewards))
        if rewards[best] > rewards[worst] and replies[best].stopped:
            sides = {"chosen": replies[best].text, "rejected": replies[worst].text}
            answers = {name: [{"role": "assistant", "content": text}] for name, text in sides.items()}
            pairs.append({"prompt": prompt, **answers})
    return pairs


class RewardTrainer(GRPOTrainer):
    """`GRPOTrainer` on a trained adapter (PeftModel), which stays in float32; a reply ends where it does in 06.

    `rehearsal`: encoded rows, four of which are learned as in 04 at each step, at `REHEARSED` of their loss, so that
    less is forgotten (PPO-ptx in Ouyang and others, Training language models to follow instructions, 2022).
    """

    model: Any
    load_trained: Any = LeanTrainer.load_trained  # as in 04

    def __init__(self, *args, rehearsal: Dataset | None = None, **kwargs):
        """Raises ValueError where TRL would ask with other tokens than 04 trained."""
        model, tokenizer, rows = (kwargs[name] for name in ("model", "processing_class", "train_dataset"))
        exact = exact_weights(model)
        model.generation_config.eos_token_id = stop_ids(tokenizer)
        super().__init__(*args, **kwargs)  # it rounds the adapter to bfloat16
        keep_exact(self.model, exact)
        for theirs, messages in zip(self._tokenize_prompts(list(rows["prompt"]))[0], rows["asked"], strict=True):
            require_same_tokens(theirs, prompt_ids(tokenizer, messages), tokenizer)
        self.rehearsal, self.collated = rehearsal, DataCollatorForSeq2Seq(tokenizer)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.rehearsal and model.training:
            first = self.state.global_step * OF_EACH  # after a kill, the same rows
            rows = [self.rehearsal[(first + i) % len(self.rehearsal)] for i in range(OF_EACH)]
            general = model(**self.collated(rows).to(loss.device)).loss
            loss = loss + REHEARSED * general / self.current_gradient_accumulation_steps
        return loss


def reward_chart(history: list[dict], checks: list[str]) -> Picture:
    """The share of drawn replies that pass, in all and for each check, over the steps of a trainer's `log_history`."""
    rows = [row for row in history if "reward" in row]
    figure, axis = chart(8, 3)
    for name in checks:
        axis.plot([row["step"] for row in rows], [row[f"rewards/{name}/mean"] for row in rows], linewidth=1, label=name)
    worth = [row["reward"] / len(checks) for row in rows]
    axis.plot([row["step"] for row in rows], worth, color=INK, linewidth=3, label=_("all of them"))
    axis.set(xlabel=_("step"), ylabel=_("share of drawn replies that pass"), ylim=(0, 1.05))
    axis.locator_params("x", integer=True)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    sentence = _("Drawn replies pass {first:.0%} of {checks} checks at first, {last:.0%} in the end")
    return Picture(figure, sentence.format(checks=len(checks), first=worth[0], last=worth[-1]))


def told_reward(checked: Checked, before: str = "before", after: str = "after") -> str:
    """How the reward, the share of checks that a reply passes, changed on the same prompts, with its interval."""
    sides = [zip(*(found[model] for found in checked.passed.values()), strict=True) for model in (before, after)]
    first, then = ([sum(row) / len(row) for row in side] for side in sides)
    gap = paired_difference(first, then, [1] * len(first))
    verdict = BETTER if gap["low"] > 0 else WORSE if gap["high"] < 0 else UNCLEAR if first != then else SAME
    values = {"change": f"{gap['difference']:+.1%}", "interval": told_interval(gap["low"], gap["high"], "+.1%")}
    sentence = _("The reward changed by {change} ({interval}, {rows} held-out prompts): {verdict}.")
    return sentence.format(**values, rows=gap["rows"], verdict=_(verdict if gap["rows"] >= FEWEST else TOO_FEW))
