"""The checks of labs 8 to 15: what the participant wrote is tried out."""

from __future__ import annotations

import json

from helpers.runs import RunDir
from helpers.runs.lock import RunInUse
from helpers.show.words import _
from helpers.workshop.tasks import Missing, called, require, same_start


def vanished(run: RunDir, answer, *, rows: list[dict]) -> str:
    """lab8. `answer`: a function from a row {"question", "answer": an object} to its two messages."""
    for row in rows:
        turns = called(answer, row)
        asked = [{"role": "user", "content": row["question"]}, "assistant"]
        two = isinstance(turns, list) and len(turns) == 2 and isinstance(turns[1], dict)
        both = _("A row gives two messages: its question, from the user, and the assistant's answer.")
        require(two and [turns[0], turns[1].get("role")] == asked, both)
        text = turns[1].get("content")
        require(isinstance(text, str), _("The answer is {kind}; a template writes text."), kind=type(text).__name__)
        value = called(json.loads, text)
        other = _("A program reads {value!r}; the row has {right!r}.")
        require(value == row["answer"], other, value=value, right=row["answer"])
    return _("{rows} answers are text, and a program reads from it what was there.").format(rows=len(rows))


def leaked(run: RunDir, answer, *, rows: list[dict]) -> str:
    """lab9. `answer`: (rows to train on, rows held out) of `rows`; "source": the conversation of a row."""
    two = isinstance(answer, (tuple, list)) and len(answer) == 2 and all(isinstance(part, list) for part in answer)
    require(two, _("parts must be two lists: (rows to train on, rows held out)."))
    train, held_out = answer
    every = sorted(map(repr, train + held_out)) == sorted(map(repr, rows))
    require(every, _("Every row belongs into one of the two lists, once, as it is."))
    both, share = {row["source"] for row in train} & {row["source"] for row in held_out}, len(held_out) / len(rows)
    require(not both, _("{count} conversations are on both sides, in other words."), count=len(both))
    fifth = _("{share:.0%} of the rows are held out; about a fifth is asked for.")
    require(0.1 <= share <= 0.3, fifth, share=share)
    sentence = _("{rows} rows are held out, and of none has the training seen another wording.")
    return sentence.format(rows=len(held_out))


def moves(run: RunDir, answer, *, model, learn) -> str:
    """lab10. `answer`: an optimizer for `model`; `learn` takes a few steps with it and gives the losses."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    base = [name for name in weights if "lora_" not in name]
    require(not base, _("{name} of the base learns too, which is no LoRA. Run this page again."), name=base[:1])
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    losses = called(learn, answer)
    stays = [name for name, weight in weights.items() if weight.equal(before[name])]
    for name, weight in weights.items():  # for the next try
        weight.data.copy_(before[name])
    numbers = {"count": len(stays), "all": len(weights), "first": losses[0], "last": losses[-1]}
    require(not stays, _("{count} of {all} matrices have not moved."), **numbers)
    require(losses[-1] < losses[0], _("They move, and the loss goes from {first:.3f} to {last:.3f}."), **numbers)
    return _("All {all} matrices move, and the loss goes from {first:.3f} to {last:.3f}.").format(**numbers)


def luck(run: RunDir, answer, *, draw, days: int = 60) -> str:
    """lab11. `answer`: a function (base, trained) -> number of the training that is better, or None.

    `draw(seed, gain)` gives losses by row, of a base and of 20 trainings, and the number of the one better by `gain`.
    """
    false = sum(called(answer, *draw(seed, 0.0)[:2]) is not None for seed in range(days))
    many = _("On {days} days of luck you choose one {false} times; at most {most} are honest.")
    require(false <= days // 10, many, days=days, false=false, most=days // 10)
    drawn = [draw(seed, 0.1) for seed in range(days)]
    hits = sum(called(answer, base, trained) == best for base, trained, best in drawn)
    require(
        hits >= 0.8 * days,
        _("On {days} days one is better by 0.1 nats; you name it {hits} times."),
        days=days,
        hits=hits,
    )
    sentence = _("In {days} days, luck is taken for better {false} times; what is better is named {hits} times.")
    return sentence.format(days=days, false=false, hits=hits)


def served(run: RunDir, answer, *, serve, asked: list[list[dict]], wanted: list[dict]) -> str:
    """lab12. `answer`: options for `serve`; `wanted`: the token ids of "prompt" and "reply" for each of `asked`."""
    require(isinstance(answer, dict), _("options must be a dict, such as {example}."), example="{'length': 12}")
    for messages, right in zip(asked, wanted, strict=True):
        got = called(serve, messages, **answer)
        at = same_start(got["prompt"], right["prompt"])
        other = _("The server reads another text, from token {at} on.")
        require(got["prompt"] == right["prompt"], other, at=at + 1)
        less = len(right["reply"]) - len(got["reply"])
        require(less <= 0, _("It reads the same, and stops {less} tokens too early."), less=less)
        require(got["reply"] == right["reply"], _("It reads the same, and writes on where the reply has ended."))
    return _("{count} replies, token by token the model's own.").format(count=len(wanted))


def gamed(run: RunDir, answer, *, entries: list[dict], cheats) -> str:
    """lab13. `answer`: a reward, a function of a reply and the right entry as JSON texts; `cheats(entry)`: replies."""
    for entry in entries:
        same, near = dict(reversed(entry.items())), {**entry, "event": "?"}
        replies = [*map(json.dumps, (entry, same, near)), *cheats(entry)]
        paid = [called(answer, reply, json.dumps(entry)) for reply in replies]
        number = all(isinstance(each, (int, float)) for each in paid)
        require(number, _("A reward is a number; yours are {paid}."), paid=paid)
        right, again, near, *cheap = paid
        require(right == again, _("The same entry in another order gets another reward."))
        require(near < right, _("An entry with a wrong event gets as much as the right one."))
        most = max(range(len(cheap)), key=cheap.__getitem__)
        more = _("{reply!r} gets {paid:g}, an entry with one wrong field gets {near:g}.")
        require(cheap[most] < near, more, reply=replies[3 + most][:80], paid=cheap[most], near=near)
    return _("The right entry gets most, a nearly right one less, and no cheat as much.")


def alone(run: RunDir, answer, *, other: RunDir, rows: list[dict]) -> str:
    """lab14. `answer`: a function (run, rows) that appends `rows` to metrics.jsonl; `other`: a run to try it on."""
    held, wanted = [], other.metrics.read_text(encoding="utf-8") + "".join(json.dumps(row) + "\n" for row in rows)
    called(answer, other, (held.append(other.lock_owner()) or row for row in rows))
    whole = other.metrics.read_text(encoding="utf-8") == wanted
    require(whole, _("metrics.jsonl must hold the old rows and the new ones, a line of JSON for each."))
    require(all(held), _("While you wrote, nobody held the run: another kernel may write between two of your rows."))
    require(other.lock_owner() is None, _("The run is still held, though you have ended: nobody can use it any more."))
    refused = False
    try:
        with other.lock("another kernel"):
            answer(other, rows)
    except RunInUse:
        refused = True
    except Exception as error:  # the participant's own code
        raise Missing(_("Where the run is held, yours raises {error}."), error=repr(error)) from None
    written = other.metrics.read_text(encoding="utf-8") != wanted
    require(not written, _("Another kernel holds the run, and yours has written all the same."))
    require(refused, _("Another kernel holds the run, and yours says nothing: its user believes that all is written."))
    return _("One kernel writes, and the other hears who holds the run.")


def stranger(run: RunDir, answer, *, tokenizer, conversations: list[list[dict]], plain) -> str:
    """lab15. `answer`: a chat template; `plain(messages)`: the text that it has to write, before the reply."""
    from helpers.template.sandbox import require_safe

    called(require_safe, answer, tokenizer.special_tokens_map, "lab15")
    settings = {"chat_template": answer, "tokenize": False, "add_generation_prompt": True}
    for messages in conversations:
        there, right = called(tokenizer.apply_chat_template, messages, **settings), plain(messages)
        at = same_start(there, right)
        other = _("It writes {there!r} where {right!r} belongs.")
        require(there == right, other, there=there[at : at + 40], right=right[at : at + 40])
    return _("All {count} conversations are written as they are.").format(count=len(conversations))
