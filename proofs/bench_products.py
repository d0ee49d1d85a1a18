"""Matrix products by number format, on one thread. Run by hand: OMP_NUM_THREADS=1 python -m proofs.bench_products

It is why `compute_dtype="auto"` means float32 on a CPU without bfloat16 instructions.

2026-11-25, 2-core AMD EPYC CPU with AVX2 only, torch 2.13.0, GFLOP/s:
torch.float32     (256, 128, 352):  57.8  (2048, 576, 1536):  83.9  (8, 576, 1536):  37.2
torch.float16     (256, 128, 352):   6.6  (2048, 576, 1536):  11.6  (8, 576, 1536):  11.7
torch.bfloat16    (256, 128, 352):   6.1  (2048, 576, 1536):   9.8  (8, 576, 1536):   9.9

2026-11-30, another 2-core AMD EPYC with AVX2 only, without OMP_NUM_THREADS=1 (two threads):
torch.float32     (256, 128, 352):  58.7  (2048, 576, 1536): 105.2  (8, 576, 1536):  30.2
torch.float16     (256, 128, 352):   8.9  (2048, 576, 1536):  18.4  (8, 576, 1536):  17.1
torch.bfloat16    (256, 128, 352):   7.7  (2048, 576, 1536):  15.1  (8, 576, 1536):  14.8
"""

import time

import torch

SHAPES = (
    (256, 128, 352),
    (2048, 576, 1536),
    (8, 576, 1536),
)  # tokens, in, out: tiny, a training step of demo, generation


def speed(dtype, tokens: int, inner: int, out: int, repeats: int = 10) -> float:
    """GFLOP/s of (tokens, inner) @ (inner, out) in `dtype`."""
    a, b = torch.randn(tokens, inner).to(dtype), torch.randn(out, inner).to(dtype)
    a @ b.T
    start = time.perf_counter()
    for _ in range(repeats):
        a @ b.T
    return 2 * tokens * inner * out * repeats / (time.perf_counter() - start) / 1e9


if __name__ == "__main__":
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        print(f"{str(dtype):16}", *(f"{shape}: {speed(dtype, *shape):5.1f}" for shape in SHAPES), sep="  ")
