"""`SFTTrainer` with a float32 adapter, a loss that skips what nobody learns from, and a resume that is exact."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch.nn.functional import pad
from torch.utils.data import Sampler
from transformers.modeling_outputs import CausalLMOutput
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.trainer_pt_utils import get_length_grouped_indices
from trl import SFTTrainer

from helpers.files import write_json
from helpers.model.branch import one_function_a_branch
from helpers.model.cores import side_by_side, workers
from helpers.model.head import ASKED, asking, labelled_alone
from helpers.model.meta import name_experts
from helpers.show.progress import in_notebook
from helpers.show.words import _
from helpers.train.chart import LiveChart
from helpers.train.checkpoints import rows_file, rows_per_step
from helpers.train.loss import SumOfLosses, by_row, places_of, token_losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class LeanTrainer(SFTTrainer):
    """The same losses and gradients as `SFTTrainer`, with less work on a CPU; it resumes exactly."""

    model: Any  # these are typed more widely than what 04 gives
    args: Any
    train_dataset: Any
    eval_dataset: Any

    def __init__(self, *args, **kwargs):
        """As `SFTTrainer`, on one card where nobody asked for more, and with a float32 adapter."""
        settings = kwargs["args"]
        settings._n_gpu = min(settings.n_gpu, 1)  # without a launcher the Trainer would copy the model to each card
        name_experts(args[0] if args else kwargs["model"])
        super().__init__(*args, **kwargs)
        if in_notebook() and any(isinstance(callback, LiveChart) for callback in kwargs.get("callbacks") or ()):
            self.remove_callback(DEFAULT_PROGRESS_CALLBACK)  # a bar, and the numbers of the chart as a table
        float32_adapter(self.model)
        one_function_a_branch(self.model)
        self.model.get_output_embeddings().register_forward_pre_hook(labelled_alone)
        self.model.base_model.register_forward_hook(loss_alone)  # inside of what accelerate wraps: it copies logits
        if self.is_fsdp_enabled:
            keep_losses_whole(self.accelerator.state.fsdp_plugin)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Mean loss over labelled tokens (nats); the head works on the positions with a label only.

        TRL's own does so on a GPU, in a Triton kernel; on a CPU it works on all positions. Other losses are TRL's own.
        """
        if return_outputs or self.other_loss or inputs["input_ids"].is_cuda:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        total, labelled = self._losses(model, inputs, SumOfLosses.apply)
        if num_items_in_batch is None:
            return total / labelled.sum().clamp(min=1)
        # the count is that of all processes, over whose gradients the average is taken
        return total / num_items_in_batch.clamp(min=1) * self.accelerator.num_processes

    def _losses(self, model, inputs: dict, loss) -> tuple[torch.Tensor, torch.Tensor]:
        """`loss` of the logits and targets at the positions that predict a labelled token; and where these lie."""
        targets = pad(inputs["labels"], (0, 1), value=-100)[..., 1:]  # each position predicts the next token
        labelled = targets != -100
        rest = {name: value for name, value in inputs.items() if name != "labels"}
        if flush_left(rest.get("attention_mask")):
            del rest["attention_mask"]
        with asking(labelled=labelled, loss=lambda logits: loss(logits, targets[labelled])):
            return model(**rest, use_cache=False).loss, labelled

    def training_step(self, model, inputs, num_items_in_batch=None):
        """As `SFTTrainer`'s; on a CPU a half of the rows on each of two cores, and the gradients of both are added."""
        step, parts = super().training_step, [inputs]
        if num_items_in_batch is not None and self.args.gradient_accumulation_steps == 1:  # of two, no order matters
            parts = self._halves(inputs)
        return sum(side_by_side(lambda rows: step(model, rows, num_items_in_batch), parts, self.args.device))

    def _halves(self, inputs: dict) -> list[dict]:
        """The rows of a batch in two parts, or in one where those could give other numbers, or one core has to do."""
        if self.undivided or min(len(inputs["input_ids"]), workers(self.args.device)) < 2:
            return [inputs]
        return [{name: values[start::2] for name, values in inputs.items()} for start in range(2)]

    @cached_property
    def undivided(self) -> bool:
        """Whether a loss is no sum over rows, or a pass draws random numbers (dropout of any kind, noise)."""
        config = self.model.config
        settings = config.to_dict() | config.get_text_config(decoder=True).to_dict() | self.args.to_dict()
        drawn = any(value for name, value in settings.items() if re.search("drop(?!_last)|noise|jitter", name))
        drawn |= any(isinstance(module, torch.nn.Dropout) and module.p for module in self.model.modules())
        return bool(drawn or self.other_loss or self.accelerator.num_processes > 1)

    def evaluation_loop(self, *args, **kwargs):
        """As `SFTTrainer`'s; the loss of each row goes to rows-STEP.json, so that runs can be compared row by row."""
        self.scored = {}
        output = super().evaluation_loop(*args, **kwargs)
        scored = dict(pair for part in gather_object([self.scored]) for pair in part.items())
        if self.is_world_process_zero() and Path(self.args.output_dir).is_dir():
            write_json(rows_file(Path(self.args.output_dir), self.state.global_step), scored)
        return output

    def prediction_step(self, model, inputs, *args, **kwargs):
        """A batch counts by its labelled tokens, so that the mean of all rows, eval_loss, is one of all tokens."""
        learned = places_of(inputs)[:, 1:][inputs["labels"][:, 1:] != -100]
        tokens = len(learned) / max(len(learned.unique()), 1)  # per row
        if self.other_loss:
            loss, *_rest = super().prediction_step(model, inputs, *args, **kwargs)
        else:
            inputs = self._prepare_inputs(inputs)
            parts = self._halves(inputs)
            scored = list(side_by_side(partial(self._scored, model), parts, self.args.device))
            for part, (losses, labelled) in zip(parts, scored, strict=True):
                self.scored |= by_row(part, losses, labelled)
            losses = torch.cat([losses for losses, _labelled in scored])
            loss = losses.sum() / max(len(losses), 1)
        return loss * tokens / self.held_out_tokens, None, None

    def _scored(self, model, rows: dict) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad(), self.compute_loss_context_manager():
            return self._losses(model, rows, token_losses)

    @cached_property
    def held_out_tokens(self) -> float:
        """Labelled tokens in a held-out row, on average."""
        rows = self.eval_dataset["labels"]
        return sum(label != -100 for labels in rows for label in labels[1:]) / len(rows)

    @property
    def other_loss(self) -> bool:
        """True when another loss than the mean of the labelled tokens was asked for, or experts have one of theirs."""
        asked = self.args.loss_type != "nll" or self.label_smoother is not None or self.compute_loss_func is not None
        return asked or self.aux_loss_enabled

    def load_trained(self, checkpoint: Path) -> None:
        """The adapter of a finished training into the model, when there is nothing left to train."""
        if self.is_fsdp_enabled:
            from torch.distributed.fsdp import FSDPModule

            for module in self.model.modules():
                if isinstance(module, FSDPModule):
                    module.reshard()  # an evaluation leaves the outermost part whole: no place to load into
        self._load_from_checkpoint(str(checkpoint))

    def keep_rows_per_step(self, checkpoint: Path | None) -> None:
        """Go on with as many rows in a step as `checkpoint` was trained with, also on another number of processes.

        Raises ValueError when no accumulation gives that number: the data order would be another one.
        """
        wanted = rows_per_step(checkpoint) if checkpoint else None
        if checkpoint is None or wanted is None:  # saved before this was written down
            return
        size, processes = self.args.per_device_train_batch_size, self.accelerator.num_processes
        passes, left = divmod(wanted, size * processes)
        names = {"checkpoint": checkpoint.name, "rows": wanted}
        if left:
            sentence = _(
                "{checkpoint} was trained with {rows} rows per step; {processes} processes of {size} rows cannot make "
                "that: start it with another number of processes."
            )
            raise ValueError(sentence.format(**names, processes=processes, size=size))
        before, self.args.gradient_accumulation_steps = self.args.gradient_accumulation_steps, passes
        if passes != before:
            sentence = _(
                "{checkpoint} was trained with {rows} rows per step: gradient_accumulation_steps is {now} instead of "
                "{before}, so that the steps stay the same."
            )
            print(sentence.format(**names, now=passes, before=before))

    def _get_train_sampler(self, train_dataset: Any = None):
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        rows = train_dataset if train_dataset is not None else self.train_dataset
        lengths = [len(ids) for ids in rows["input_ids"]]
        per_process = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return ByLength(lengths, per_process * self.args.world_size, self)


def loss_alone(module, args, output) -> CausalLMOutput | None:
    """Hook of a model: the loss in place of the logits, where a pass asks for it, once as well."""
    loss = vars(ASKED).pop("loss", None)
    return None if loss is None else CausalLMOutput(loss=loss(output.logits))


def float32_adapter(model: PreTrainedModel) -> None:
    """Give everything that is trained in `model` 32 bits; products stay in the format of the training.

    TRL makes the adapter of a 4-bit model bfloat16: an update below 1/256 of a number is rounded away, so much of it
    stands still. CUDA's GradScaler cannot unscale its gradients either (trl#4901).
    """
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def flush_left(mask: torch.Tensor | None) -> bool:
    """True when every row of an attention mask (rows, tokens) has its padding at the end, unseen."""
    return mask is not None and mask.dim() == 2 and bool((mask[:, 1:] <= mask[:, :-1]).all())


def keep_losses_whole(plugin) -> None:
    """Let FSDP2 compute in the plugin's number format without rounding the loss: 2.3047 would be 2.3125."""
    if plugin.mixed_precision_policy is not None:
        plugin.mixed_precision_policy = replace(plugin.mixed_precision_policy, output_dtype=None)


class ByLength(Sampler):
    """Rows of similar length together, shuffled anew in each epoch, from the seed and the epoch alone.

    The library's own asks the global random numbers: another order after a resume in the second epoch.
    """

    def __init__(self, lengths: list[int], batch_size: int, trainer):
        self.lengths, self.batch_size, self.trainer = lengths, batch_size, trainer

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self):
        epoch = int(self.trainer.state.epoch or 0)
        generator = torch.Generator().manual_seed(self.trainer.args.seed + epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))
