"""What a training was paid for, by a row of its metrics.jsonl."""

from __future__ import annotations


def paid_seconds(row: dict) -> float:
    """How long the training had worked at a row of metrics.jsonl, with the steps that kills took back."""
    return row.get("elapsed_s", 0.0) + row.get("lost_s", 0.0)


def cost(row: dict, price_per_hour: float, gpus: int = 0) -> float | None:
    """What that time costs on all cards of the pod (`gpus` 0: as many as were there); None without price or time."""
    hours = paid_seconds(row) / 3600 * max(gpus or row.get("cards", 1), 1)
    return hours * price_per_hour if price_per_hour and row else None
