"""Several processes that train one model: what one of them measured decides for all, or they wait for ever."""

from __future__ import annotations


def first_decides(value):
    """`value` as the first process has it, in every process; they must all ask, at the same place."""
    from torch import distributed

    if not distributed.is_initialized():
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def lowest(number: float) -> float:
    """The lowest `number` of all processes; they must all ask, at the same place."""
    from torch import distributed

    if not distributed.is_initialized():
        return number
    numbers = [number] * distributed.get_world_size()
    distributed.all_gather_object(numbers, number)
    return min(numbers)
