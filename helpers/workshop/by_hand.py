"""The exercises of 09, of A2, of A4, LoRA by hand, and of A5, the reward."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from typing import Any

from helpers.files import read_json
from helpers.runs import RunDir
from helpers.show.words import _
from helpers.workshop.nearby import record, report, rows_of, runs_beside
from helpers.workshop.tasks import called, require, require_number, require_pair


def rank_of_the_change(run: RunDir, answer) -> str:
    """A4.1: the smallest rank that learns a change of rank 2."""
    hint = _("Set `change` to rank 2 (64 x 2 times 2 x 64), run the cells below it, and look at the bars.")
    require_number(answer, 2, _("the smallest rank whose loss falls to about 0"), hint)
    return _("A branch can write down any change up to its own rank: 2 is enough for 2.")


def both_start_at_zero(run: RunDir, answer) -> str:
    """A4.2: with A and B both zero nothing is learned, so the loss falls by 0."""
    hint = _("Is `A` zero, and does `learn` get the new layer? Print losses[0] - losses[-1].")
    require_number(answer, 0, _("the first loss less the last one"), hint, 1e-6)
    return _("Each matrix's gradient is a product with the other one, so two zeros never begin to learn.")


def rslora(run: RunDir, answer) -> str:
    """A4.3: a class of a LoRA layer, scaled by alpha / sqrt(r); compared with peft's layer with use_rslora."""
    import torch
    from peft import LoraConfig, get_peft_model

    require(isinstance(answer, type), _("Write the class RsLora(LoraLinear) and give it itself: answer=RsLora."))
    x, base = torch.randn(4, 16), torch.nn.Linear(16, 8)
    scaled = LoraConfig(r=9, lora_alpha=6, target_modules=["0"], use_rslora=True, init_lora_weights=False)
    theirs = get_peft_model(torch.nn.Sequential(copy.deepcopy(base)), scaled)
    layers: Any = theirs.base_model.model
    branch = layers[0]

    def replies():
        mine = answer(base, r=9, alpha=6)
        mine.A.data, mine.B.data = branch.lora_A["default"].weight.data, branch.lora_B["default"].weight.data
        return mine(x)

    off = (called(replies) - theirs(x)).abs().max().item()
    other = _("Its answers are up to {off:.2g} off those of peft's rsLoRA: set self.scale to alpha / r**0.5.")
    require(off < 1e-5, other, off=off)
    return _("It answers as peft's layer with use_rslora=True does.")


def wrong_values(run: RunDir, answer) -> str:
    """A2.2: a run of DPO on the pairs the other way round; the answer is the NLL on what judges, before and after."""
    made = [(other, record(other.preference)) for other, _settings in runs_beside(run)]
    made = [(other, how) for other, how in made if how.get("from") == run.path.name and how.get("sha256")]
    swapped = {data: swapped_pairs(run, data) for data in {how["data"] for _other, how in made}}
    found = [other for other, how in made if how["sha256"] == swapped[how["data"]]]
    none = _("No run here has swapped pairs: write that line and another NAME into A2, and run from there.")
    require(found, none)
    asked, seen = _("the NLL before, and after"), {"run": found[-1].path.name}
    require(found[-1].held_out.exists(), _("{run} is not saved yet: run A2 to its end."), **seen)
    require_pair(answer, asked)
    numbers = record(found[-1].held_out)
    hint = _("See NLL of {run} in the table under 'What was won, what was lost'.").format(**seen)
    require_number(answer[1], sum(numbers["nll"]) / sum(numbers["tokens"]), asked, hint, 0.006)
    return _("{run}: {before:g} before, {after:g} after. The answers below say why.").format(
        before=answer[0], after=answer[1], **seen
    )


def swapped_pairs(run: RunDir, data: str) -> str:
    """The fingerprint of the pairs that A2 trains on when they are swapped; "" without pairs."""
    from helpers.data.split import split_pairs
    from helpers.evaluate.voting import VOTES, preference_pairs
    from helpers.model.tokenizer import load_tokenizer
    from helpers.train.preferences import fingerprint, read_pairs, ready

    config = run.stored_config()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # A2 has said what it leaves out
            pairs = preference_pairs(run) if data == VOTES else read_pairs(data, config)
            pairs = ready(pairs, load_tokenizer(config, source=str(run.adapter)), config)
    except (OSError, ValueError):  # the file is gone, or there are fewer votes now
        return ""
    pairs = pairs.rename_columns({"chosen": "rejected", "rejected": "chosen"})
    return fingerprint(split_pairs(pairs, 0.25, config.seed)["train"].to_list())


def check_of_substance(run: RunDir, answer) -> str:
    """A5.1: a check that the cheat (every field null) fails and every right answer passes."""
    require(callable(answer), _("Write the check, mine(messages, reply, reference), and give it itself: answer=mine."))
    for *asked, last in (row["messages"] for row in rows_of(run.eval_jsonl)):
        right = last["content"]
        cheat = json.dumps(dict.fromkeys(called(json.loads, right)))  # of the calendar; other data have no fields
        fooled, refused = called(answer, asked, cheat, right), not called(answer, asked, right, right)
        require(not refused, _("It refuses a right answer: {text}"), text=right)
        require(not fooled or cheat == right, _("The cheat still passes where the right answer is {text}."), text=right)
    return _("The cheat fails and every right answer passes: such a reward asks for what you mean.")


def rows_taken_out(run: RunDir, answer) -> str:
    """09.1: a run beside this one that learns from fewer rows."""
    lists = [read_json(other.left_out)["rows"] for other, _settings in runs_beside(run) if other.left_out.exists()]
    require(lists, _("No run here has a list of rows that were taken out: set TAKE_OUT in its cell, and run it."))
    return _("{rows} rows are on the list: 03 leaves them out, and says so.").format(rows=max(map(len, lists)))


def exit_code(run: RunDir, answer) -> str:
    """09.2: the exit code of the gate for a share that so few rows can hardly prove."""
    from helpers.evaluate.gate import decide

    report(run.evaluation, "06")
    code, _reasons = decide(run, "exact >= 0.99")
    hint = _("Set REQUIRE, run the cell, and read its first line.")
    require_number(answer, code, _("the exit code for exact >= 0.99"), hint)
    return _("{code}: a script that asks the gate knows what to do.").format(code=code)


def sizes_measured(run: RunDir, answer) -> str:
    """09.3: the same training on three numbers of rows at least."""
    from helpers.compare.enough import EPOCHS, STEPS, by_size

    sizes = max((by_size(run.path.name, same) for same in (STEPS, EPOCHS)), key=len)
    missing = _("{sizes} sizes are measured here; a curve needs three: set HOW_MUCH = True.")
    require(len(sizes) > 2, missing, sizes=len(sizes))
    return _("Measured on {sizes} rows.").format(sizes=", ".join(map(str, sizes)))
