"""The stored run that overfits: it does, it says where it comes from, and its chart marks the step to stop at."""

from helpers.compare.overfit import FILE, overfit_chart, overfit_told
from helpers.evaluate.intervals import MARGINS, NLL
from helpers.files import read_jsonl


def test_the_stored_run_overfits_and_says_where_it_comes_from():
    head, *rows = read_jsonl(FILE)
    assert head["command"] == "python -m proofs.bench_overfit" and head["date"] and head["hardware"]
    training = [row["loss"] for row in rows if "loss" in row]
    held_out = [row["eval_loss"] for row in rows if "eval_loss" in row]
    assert training[-1] < training[len(training) // 2] < training[0]
    assert held_out[-1] > min(held_out) + MARGINS[NLL], "no overfitting to be seen"
    assert FILE.stat().st_size < 4000


def test_its_star_stands_at_the_lowest_held_out_loss():
    _head, *rows = read_jsonl(FILE)
    lowest = min((row for row in rows if "eval_loss" in row), key=lambda row: row["eval_loss"])
    star = overfit_chart().figure.axes[0].lines[-1]
    assert (star.get_marker(), *star.get_xdata(), *star.get_ydata()) == ("*", lowest["step"], lowest["eval_loss"])
    assert f"lowest at step {lowest['step']}, {lowest['eval_loss']:.3f}" in overfit_told()
