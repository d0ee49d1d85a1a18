"""docs/settings.md and docs/settings.ko.md out of the settings themselves.

python -m docs.make_settings
"""

from __future__ import annotations

import os
from dataclasses import fields

from helpers.fields import Stage, plain_number
from helpers.files import write_atomic
from helpers.paths import PROJECT_ROOT
from helpers.settings import PRESETS, RunConfig
from helpers.show.words import N_, _

STAGES = {
    Stage.DATA: N_("03 reads and splits the rows by these. After a change, run 03 first."),
    Stage.LABELS: N_("03 decides by these what of a row is learned, and judges it. After a change, run 03 first."),
    Stage.TRAINING: N_("04 trains by these. After a change, run 04 first; the data stays."),
    Stage.MERGE: N_("05 merges and measures by these. After a change, run 05 first."),
    Stage.PUSH: N_("The last section of 05 uploads by these."),
    Stage.EVALUATION: N_("06 compares by these."),
    Stage.SERVE: N_("07 writes files for llama.cpp by these."),
    Stage.PLAN: N_("00 plans cards and money by these. Nothing has to run again."),
    Stage.FREE: N_("How a step is run or watched. No result depends on them."),
}


def page() -> str:
    """The page, in the language of QLORA_LANG."""
    lines = [
        "# " + _("Settings"),
        "",
        _("Made by `python -m docs.make_settings`: change `helpers/settings.py` instead."),
        _("Set one in `OVERRIDES` of a notebook, or as the variable `QLORA_<NAME>`; a preset changes several."),
        "",
    ]
    for stage, sentence in STAGES.items():
        lines += [f"## {stage.value}", "", _(sentence), ""]
        names = [_("Setting"), _("Default"), _("Allowed"), _("What it does")]
        lines += [f"| {' | '.join(names)} |", "|---|---|---|---|"]
        for field in fields(RunConfig):
            if field.metadata["stage"] == stage:
                row = (f"`{field.name}`", f"`{field.default!r}`", _allowed(field), _help(field))
                lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
        lines.append("")
    return "\n".join([*lines, *_presets()]) + "\n"


def _allowed(field) -> str:
    rules = field.metadata
    if rules["choices"]:
        return ", ".join(f"`{choice}`" for choice in rules["choices"])
    if rules["low"] is None:
        return ""
    unit = f" {_(rules['unit'])}" if rules["unit"] else ""
    return f"{plain_number(rules['low'])} … {plain_number(rules['high'])}{unit}"


def _help(field) -> str:
    return _(field.metadata["help"])


def _presets() -> list[str]:
    names = list(dict.fromkeys(name for preset in PRESETS.values() for name in preset))
    lines = ["## " + _("Presets"), "", _("What each preset changes; an empty cell is the default."), ""]
    lines += ["| " + " | ".join([_("Setting"), *PRESETS]) + " |", "|---" * (len(PRESETS) + 1) + "|"]
    for name in names:
        cells = [f"`{preset[name]}`" if name in preset else "" for preset in PRESETS.values()]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Write the page in both languages."""
    for language, name in (("en", "settings.md"), ("ko", "settings.ko.md")):
        os.environ["QLORA_LANG"] = language
        write_atomic(PROJECT_ROOT / "docs" / name, page())


if __name__ == "__main__":
    main()
