"""How good is a model on held-out conversations? NLL, KL and agreement by token, and where it is most surprised.

NLL: negative log-likelihood of the answers' tokens, in nats; its mean per token is what training lowers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from helpers.evaluate.intervals import ratio_interval, told_interval
from helpers.show.words import _

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Scores:
    """Sums over the answer tokens of each row. `kl` and `agree`: of the leading rows that had a reference."""

    nll: list[float]  # nats
    tokens: list[int]
    kl: list[float] = field(default_factory=list)  # nats, KL(reference || this model)
    agree: list[int] = field(default_factory=list)  # tokens where both models' first choice is the same
    logits: list = field(default_factory=list, repr=False, compare=False)  # see `held_out_nll`, keep

    def put(self, row: int, logits, targets) -> None:
        """The NLL of a row from its answer's float32 logits (tokens, vocabulary). Raises ValueError as `finite`."""
        from torch.nn.functional import cross_entropy

        self.nll[row] = finite("NLL", row, cross_entropy(logits, targets, reduction="sum").item())
        self.tokens[row] = len(targets)

    def numbers(self) -> dict:
        """NLL per token and its interval, as the reports on the disk hold them."""
        low, high = ratio_interval(self.nll, self.tokens)
        return {"nll": self.nll_per_token, "nll_low": low, "nll_high": high}

    @property
    def nll_per_token(self) -> float:
        return sum(self.nll) / sum(self.tokens)

    @property
    def perplexity(self) -> float:
        """e to the NLL per token: how many equally likely tokens the model hesitates between."""
        return math.exp(self.nll_per_token)

    @property
    def kl_per_token(self) -> float:
        return sum(self.kl) / sum(self.tokens[: len(self.kl)])

    @property
    def agreement(self) -> float:
        """Share of answer tokens where both models' most likely token is the same, 0 to 1."""
        return sum(self.agree) / sum(self.tokens[: len(self.agree)])


def nll_cells(numbers: dict) -> dict[str, str]:
    """Cells of a table for `Scores.numbers`."""
    interval = told_interval(numbers["nll_low"], numbers["nll_high"], ".3f")
    return {"NLL": f"{numbers['nll']:.3f}", "95 % interval": interval}


def held_out_nll(
    model, dataset, batch_size: int = 8, reference: list | None = None, progress: str = "", keep: int = 0
) -> Scores:
    """NLL of every row of `dataset` (columns input_ids, labels; -100 = context) under `model`.

    `keep`: of how many leading rows the logits at the answer tokens, (tokens, vocabulary) each, are kept on the CPU,
    in the result's `logits`; `rows_that_fit` says how many fit. `reference`: the logits that another model gave on
    the same rows, or the first of them; there KL and agreement are measured as well. Raises ValueError for a data
    set without a row, a row without a labelled token, or a number that is not finite.
    """
    from torch.nn.functional import kl_div

    reference, size = reference or [], len(dataset)
    compared = len(reference)
    scores = Scores([0.0] * size, [0] * size, [0.0] * compared, [0] * compared, [None] * keep)

    def look(row, logits, targets):
        if row < keep:
            scores.logits[row] = logits.to("cpu", copy=True)  # of its batch, no more than this row
        logits = logits.float()
        scores.put(row, logits, targets)
        if row < compared:
            theirs = reference[row].to(logits.device).float()
            wanted, mine = theirs.log_softmax(-1), logits.log_softmax(-1)
            distance = kl_div(mine, wanted, log_target=True, reduction="sum").item()
            scores.kl[row] = finite("KL to the reference", row, distance)
            scores.agree[row] = (theirs.argmax(-1) == logits.argmax(-1)).sum().item()

    look_at_answers(model, dataset, batch_size, progress, look)
    return scores


def finite(what: str, row: int, value: float) -> float:
    """`value`; raises ValueError when it is not finite: a comparison with it would be False, and read as "no"."""
    if not math.isfinite(value):
        sentence = _(
            "The {what} of held-out row {row} is {value}: this model computes numbers that do not fit its format. Set "
            "compute_dtype to bfloat16 or float32; if the adapter diverged, train again with a lower learning_rate."
        )
        raise ValueError(sentence.format(what=what, row=row, value=value))
    return value


def rows_that_fit(dataset, vocabulary: int, budget: float = 1e9, at_most: int = 200) -> int:
    """How many leading rows of `dataset` have answer logits (2 bytes each) within `budget` bytes; at least 1."""
    used = 0
    for count, labels in enumerate(dataset["labels"][:at_most]):
        used += sum(label != -100 for label in labels) * vocabulary * 2
        if count and used > budget:
            return count
    return min(len(dataset), at_most)


def look_at_answers(model, dataset, batch_size: int, progress: str, look: Callable) -> None:
    """`look` (row number, logits at its answer tokens, the tokens that were right) at each row, longest ones first."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from helpers.model.cores import longest_first, side_by_side, workers
    from helpers.model.head import asking, labelled_alone
    from helpers.model.rows import scoring_rows
    from helpers.show.progress import Progress

    if not len(dataset):
        raise ValueError(_("The held-out part has no row: run 03_data_preview.ipynb with a larger eval_fraction."))
    ids, labels = dataset["input_ids"], dataset["labels"]
    at_once = workers(model.device)
    batch_size = max(1, scoring_rows(model, max(map(len, ids)), at_most=batch_size * at_once) // at_once)

    def measure(batch: list[int]) -> None:
        # rows flush left: each token keeps its position, and in a causal model padding behind it changes nothing
        inputs = pad_sequence([torch.tensor(ids[i]) for i in batch], batch_first=True)
        mask = pad_sequence([torch.ones(len(ids[i]), dtype=torch.long) for i in batch], batch_first=True)
        # each position predicts the next token
        target = pad_sequence([torch.tensor([*labels[i][1:], -100]) for i in batch], True, padding_value=-100)
        labelled = target != -100  # on the CPU: of a model over several cards, the head may lie on any
        lengths = labelled.sum(1).tolist()
        if not all(lengths):
            raise ValueError(_("A held-out row has no labelled token: encode the rows with labels.encode_rows."))
        with torch.inference_mode(), asking(labelled=labelled):
            inputs, mask = inputs.to(model.device), mask.to(model.device)
            logits = model(input_ids=inputs, attention_mask=mask, use_cache=False).logits
        targets = target[labelled].to(logits.device)
        for i, mine, right in zip(batch, logits.split(lengths), targets.split(lengths), strict=True):
            look(i, mine, right)

    batches = longest_first(ids, batch_size)
    measured = side_by_side(measure, batches, model.device)
    with model.get_output_embeddings().register_forward_pre_hook(labelled_alone):
        for _done in Progress(measured, desc=progress, total=len(batches), disable=not progress):
            pass


@dataclass(frozen=True)
class Surprise:
    """One row under a model: the loss of each learned token (nats), and where it is largest."""

    nll: list[float]
    place: int  # of the most surprising token, in input_ids
    token: int  # that stands there
    instead: int  # that the model holds for most likely

    @property
    def mean(self) -> float:
        """Nats per token."""
        return sum(self.nll) / len(self.nll)


def surprises(model, dataset, progress: str = "", batch_size: int = 8) -> list[Surprise]:
    """Every row of `dataset` (columns input_ids, labels) under `model`. Raises ValueError as `held_out_nll`."""
    rows, labels = {}, dataset["labels"]

    def look(row, logits, targets):
        chances = logits.float().log_softmax(-1)
        nll = -chances.gather(1, targets[:, None])[:, 0]
        finite("NLL", row, nll.sum().item())
        worst = int(nll.argmax())
        learned = [place for place, label in enumerate(labels[row]) if label != -100 and place]
        rows[row] = Surprise(nll.tolist(), learned[worst], int(targets[worst]), int(chances[worst].argmax()))

    look_at_answers(model, dataset, batch_size, progress, look)
    return [rows[row] for row in range(len(dataset))]
