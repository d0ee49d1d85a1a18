"""Would one product for q, k and v, and one for gate and up, be faster than each by itself? One thread, by hand:

    python -m proofs.bench_together [--passes 20]

Forward and backward of frozen layers with LoRA branches (rank 16), as in `helpers/model/branch.py`, at the shapes of
the demo's model; CPU milliseconds, the least of all passes, both ways by turns. "together" stacks the frozen weights
and the A's, which are read in one piece, and splits what comes out.

2026-11-30, 2-core AMD EPYC with AVX2 only, beside other work, float32:

    tokens   q, k, v apart, together   gate, up apart, together
     256       11.0    10.9 ms           35.9    40.4 ms
     576       25.1    24.4              74.7    78.4
    1024       46.0    44.3             133.2   129.6

At most 4 % of these layers, and a loss as often: they stay apart.
"""

import argparse
import time

import torch

from helpers.model.device import compute_dtype
from helpers.settings import RunConfig

WIDTH, RANK = 576, 16
LAYERS = {"q, k, v": (576, 192, 192), "gate, up": (1536, 1536)}


class Stack:
    """Layers of `outs` numbers each behind one input of (tokens, WIDTH), with gradients of what comes out of them."""

    def __init__(self, outs: tuple[int, ...], tokens: int, dtype: torch.dtype):
        def some(*shape):
            return torch.randn(shape).to(dtype)

        self.outs, self.x, self.gradients = outs, some(tokens, WIDTH), [some(tokens, out) for out in outs]
        self.weights, self.a = [some(out, WIDTH) for out in outs], [some(RANK, WIDTH) for _ in outs]
        self.b = [some(out, RANK) for out in outs]
        self.weight, self.every_a = torch.cat(self.weights), torch.cat(self.a)

    def apart(self):
        of_x, kept = torch.zeros_like(self.x), []
        for weight, a, b, gradient in zip(self.weights, self.a, self.b, self.gradients, strict=True):
            inner = self.x @ a.T
            out = torch.nn.functional.linear(self.x, weight).addmm_(inner, b.T)
            of_inner = gradient @ b
            kept += [out, of_inner.T @ self.x, gradient.T @ inner]
            of_x.addmm_(gradient, weight).addmm_(of_inner, a)
        return of_x, kept

    def together(self):
        inner = self.x @ self.every_a.T
        parts = torch.nn.functional.linear(self.x, self.weight).split(self.outs, 1)
        inners = inner.split(RANK, 1)
        kept = [part.addmm_(own, b.T) for part, own, b in zip(parts, inners, self.b, strict=True)]
        of_inner = torch.cat([gradient @ b for gradient, b in zip(self.gradients, self.b, strict=True)], 1)
        kept += [gradient.T @ own for gradient, own in zip(self.gradients, inners, strict=True)]
        of_x = (torch.cat(self.gradients, 1) @ self.weight).addmm_(of_inner, self.every_a)
        return of_x, [*kept, of_inner.T @ self.x]


def milliseconds(*ways, passes: int) -> list[float]:
    """Of CPU time, the least of `passes`, one way after the other so that a busy machine is the same for all."""
    taken = [[] for _ in ways]
    for _ in range(passes):
        for way, times in zip(ways, taken, strict=True):
            start = time.process_time()
            way()
            times.append(1e3 * (time.process_time() - start))
    return [min(times) for times in taken]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--passes", type=int, default=20)
    passes = parser.parse_args().passes
    torch.set_num_threads(1)
    dtype = compute_dtype(RunConfig.load("demo"))
    for tokens in (256, 576, 1024):
        for name, outs in LAYERS.items():
            stack = Stack(outs, tokens, dtype)
            torch.testing.assert_close(stack.apart()[0], stack.together()[0], rtol=1e-2, atol=1e-1)
            apart, together = milliseconds(stack.apart, stack.together, passes=passes)
            print(f"{dtype}  {tokens:5} tokens  {name:9} apart {apart:6.2f}  together {together:6.2f} ms", flush=True)


if __name__ == "__main__":
    main()
