"""Raw rows on their way to usable conversations, each once: converted, asked of the template, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.data.formats import convert
from helpers.data.normalise import Converted
from helpers.data.reasons import Reason, Unusable
from helpers.data.report import Counts
from helpers.data.sources import Source
from helpers.data.split import conversation_key
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.template.spans import require_learnable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass
class Reading:
    """Reads data sets; `counts` what becomes of their rows; `seen`: the keys of the conversations that were there."""

    config: RunConfig
    tokenizer: PreTrainedTokenizerBase | None
    seen: set[int] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)

    def conversations(self, source: Source, name: str = "") -> Iterator[tuple[int, dict]]:
        """(key, row to write) of every usable conversation of one data set, each once; counts as it goes."""
        from helpers.show.progress import Progress

        counts = self.counts
        for row in Progress(source.rows, desc=_("reading"), unit=_(" rows")):
            origin = name or _source(row, source)
            counts.read[origin] += 1
            source.count(row)
            try:
                converted = convert(row, source.form)
                key = conversation_key(converted.messages, self.config.seed, converted.tools)
                self._require_new(key, converted)
            except Unusable as unusable:
                counts.drops.add(unusable, origin, row)
                counts.marks.dropped(unusable, row, source.form)
                continue
            self.seen.add(key)
            counts.marks.kept(row, source.form)
            counts.leftovers.look(converted.messages)
            for repair in converted.repairs:
                counts.repairs.add(repair, origin, row)
            tools = {"tools": converted.tools} if converted.tools else {}
            yield key, {"messages": converted.messages, **tools, "source": origin}

    def _require_new(self, key: int, row: Converted) -> None:
        """Raises Unusable for what the template refuses, and for a conversation that was there."""
        if self.tokenizer is not None:
            try:
                require_learnable(self.tokenizer, row.messages, row.tools, self.config.learn_thinking)
            except ValueError as error:
                raise Unusable(Reason.TEMPLATE, value=str(error)) from None
        if key in self.seen:
            raise Unusable(Reason.AGAIN)


def _source(row: object, data: Source) -> str:
    """The row's own `source`, where that is a name, else the data set's."""
    named = row.get("source") if isinstance(row, dict) and "source" not in data.form.misnamed else None
    name = named if isinstance(named, str) and named.strip() else Path(data.name).stem
    return name.encode("utf-8", "replace").decode()
