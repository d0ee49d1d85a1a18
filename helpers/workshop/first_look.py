"""The first look: a message that a reader types, the rows of the short training, and its settings."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from helpers.evaluate.generation import generate_replies
from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.settings import PRESETS, SAMPLE_DATA, RunConfig, explicit_overrides
from helpers.show.clicks import telling
from helpers.show.notebook import is_interactive
from helpers.show.pictures import Playable
from helpers.show.tables import Table
from helpers.show.words import _

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HELD_OUT, EXAMPLES = 20, 160  # rows that judge, and rows to learn from: 20 steps of 8
BOLD = {"per_device_train_batch_size": 8, "learning_rate": 2e-3}  # 04 takes more and smaller steps
OWN = {"run_name": "first-look", "dataset_id": SAMPLE_DATA, "checks": PRESETS["demo"]["checks"]}  # whatever is set
NEW_TOKENS = 64  # of a reply: an entry has about 40


def short_config(preset: str, **overrides) -> RunConfig:
    """The demo's settings (tiny's on tiny) with bold steps, then the reader's, on its own rows; no run is opened."""
    preset = preset if preset == "tiny" else "demo"
    return RunConfig(**{**PRESETS[preset], "preset": preset, **BOLD, **explicit_overrides(overrides), **OWN})


def short_rows(config: RunConfig) -> tuple[list[dict], list[dict]]:
    """(held out, examples): the first rows of the data set, and those after them."""
    rows = read_jsonl(PROJECT_ROOT / config.dataset_id)
    return rows[:HELD_OUT], rows[HELD_OUT : HELD_OUT + EXAMPLES]


@contextmanager
def leaving_nothing(config: RunConfig, steps: int):
    """The `SFTConfig` of `steps` steps and the callbacks of a live chart; their folder is gone afterwards."""
    from transformers import set_seed
    from trl import SFTConfig

    from helpers.train.arguments import QUIET, sft_arguments
    from helpers.train.chart import LiveChart
    from helpers.train.metrics import MetricsLog

    set_seed(config.seed)
    short = replace(config, max_steps=steps, warmup_steps=2, logging_steps=2)
    with TemporaryDirectory() as folder:
        log = Path(folder, "metrics.jsonl")
        yield SFTConfig(folder, **{**sft_arguments(short), **QUIET}), [MetricsLog(log), LiveChart(log)]


class MessageBox:
    """A message, and what models answer to it side by side.

    Where a person is looking, the message is a text box: Enter asks the models again. Elsewhere (papermill, a saved
    copy, a server without ipywidgets) the message it was made with is answered, as a table. `replies`: by name.
    """

    def __init__(self, message: str, order: dict, tokenizer: PreTrainedTokenizerBase):
        """`order`: the system turn that says what the model is to do."""
        self.message, self.order, self.tokenizer = message, order, tokenizer
        self.replies: dict[str, str] = {}
        self._known: dict[str, tuple] = {}  # name: (model, message) that was asked last

    def answers(self, models: dict[str, PreTrainedModel]) -> Table | Playable:
        """Ask each of `models`, by the name of its column; one that has answered this message is not asked again."""
        still = self._table(models, self.message)
        return Playable(self._widget(models), still) if is_interactive() else still

    def _table(self, models: dict, message: str) -> Table:
        prompt = [self.order, {"role": "user", "content": message}]
        for name, model in models.items():
            if self._known.get(name) != (model, message):
                [reply] = generate_replies(model, self.tokenizer, [prompt], NEW_TOKENS)
                self._known[name], self.replies[name] = (model, message), reply.shown
        self.message = message  # one that cannot be answered is not asked in the next cell
        return Table([{"your message": message, **{name: self.replies[name] for name in models}}])

    def _widget(self, models: dict):
        import ipywidgets

        wide = ipywidgets.Layout(width="95%")
        text = ipywidgets.Text(self.message, continuous_update=False, layout=wide)
        hint, told = ipywidgets.Label(_("Type another message, and press Enter.")), ipywidgets.Label()
        shown = ipywidgets.HTML(self._table(models, self.message)._repr_html_())

        def ask(change):
            if message := change["new"].strip():
                told.value = _("The model is writing ...")
                shown.value = self._table(models, message)._repr_html_()
                told.value = ""

        text.observe(telling(told, ask), "value")
        return ipywidgets.VBox([hint, text, told, shown])
