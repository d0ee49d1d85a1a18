"""The rows of a real run by their loss; what is made of them is in test_counts.py."""

from helpers.compare.suspects import early_checkpoint, losses_chart, rows_by_loss
from helpers.data.left_out import row_hash
from helpers.files import read_jsonl


def test_every_row_once_worst_first_early_and_late(trained_run):
    found = rows_by_loss(trained_run, trained_run.stored_config())
    rows = read_jsonl(trained_run.train_jsonl)
    assert sorted(row_hash(row.row) for row in found) == sorted(map(row_hash, rows))
    losses = [row.early.mean for row in found]
    assert losses == sorted(losses, reverse=True) and early_checkpoint(trained_run).name == "checkpoint-20"
    assert sum(row.late.mean < row.early.mean for row in found) > 0.9 * len(found)  # it has learned since
    marked = [row.marked for row in found]
    assert marked == sorted(marked, reverse=True) and sum(marked) < 0.2 * len(found)
    for row in found[:5]:
        text = "".join(message["content"] for message in row.row["messages"])
        assert row.token.strip() in text or row.token.startswith("</")
    assert f"{sum(marked)} are marked" in losses_chart(found).alt
