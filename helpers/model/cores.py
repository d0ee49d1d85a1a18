"""On a CPU, batches side by side, each on one core.

The products of a small model are short. Where two cores share each of them, they wait for each other thousands of
times a step, and on a busy machine for whoever else works there; with batches of their own they wait once
(proofs/bench_step).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def workers(device: torch.device) -> int:
    """How many batches are worked on at once: as many as torch has threads on a CPU, one on a GPU."""
    import torch

    return torch.get_num_threads() if device.type == "cpu" else 1


def longest_first(texts: Sequence[Sequence], size: int) -> list[list[int]]:
    """The numbers of `texts` in batches of `size`: hardly padded, and what does not fit into memory fails first."""
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
    return [order[start : start + size] for start in range(0, len(order), size)]


def side_by_side(
    work: Callable[[Part], Result], parts: Sequence[Part], device: torch.device, at_most: int = 64
) -> Iterator[Result]:
    """`work` of each part, in their order. On a CPU in threads, whose products are then made by the core that asked.

    `work` sets its own modes (torch.no_grad, autocast): those of torch belong to a thread.
    """
    import torch

    cores = workers(device)
    threads = min(cores, len(parts), at_most)
    if threads < 2:
        yield from map(work, parts)
        return

    def alone(part: Part) -> Result:
        torch.set_num_threads(cores // threads)
        return work(part)

    try:
        with ThreadPoolExecutor(threads, "side-by-side") as pool:
            yield from pool.map(alone, parts)
    finally:
        torch.set_num_threads(cores)  # what a thread sets holds for those that begin later, too
