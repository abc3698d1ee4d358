"""The logarithm of the sum of exponentials of every row of logits, by a kernel of Triton's that reads them once.

torch has no call that reads logits in half precision and adds up in single precision without writing tables of their
size, which take ten times as long as to read the logits. Triton comes with torch for CUDA.

Letters: N rows, V vocabulary size.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

try:
    import triton
    from triton import language as tl
except ImportError:  # it is not made for every platform
    triton = None

AT_ONCE = 1 << 12  # logits of a row that a program reads together, a power of 2
LONGEST_REASON = 200  # letters of an error that a warning shows
KINDS = (torch.float32, torch.float16, torch.bfloat16)

_failed: set[torch.device] = set()  # devices for which there is no kernel


def row_logsumexps(logits: Tensor) -> Tensor | None:
    """Work out log Σ_v exp(x_v) of every row in single precision.

    Args:
        logits: (N, V) on a GPU.

    Returns:
        (N,) float32; None where there is no Triton, or none that can build a kernel here, which it needs a C compiler
        for and which a warning says once, or where the logits of a row are not side by side.

    Raises:
        OutOfMemoryError: There is no room on the GPU.
    """
    if triton is None or logits.device in _failed or logits.dtype not in KINDS or logits.stride(1) != 1:
        return None
    sums = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    try:
        with torch.cuda.device_of(logits):
            _kernel[len(logits),](logits, sums, logits.stride(0), logits.shape[1], AT_ONCE=AT_ONCE, num_warps=8)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of many kinds: of the compiler, of its files, of the driver
        _failed.add(logits.device)
        warnings.warn(
            f"ibtrack: Triton cannot build the kernel of the loss here ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:LONGEST_REASON]}); it is worked out by torch alone, which gives the same "
            "loss and takes longer",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return sums


# Triton reads the annotations as code of the kernel, so only its own are there
def _sum_row(logits, sums, row_stride, number, AT_ONCE: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Work out one row: a running maximum, and the sum of exponentials less it, in each of ``AT_ONCE`` lanes."""
    row = tl.program_id(0).to(tl.int64)
    lanes = tl.arange(0, AT_ONCE)
    largest = tl.full((AT_ONCE,), -3.4e38, tl.float32)  # nearly the lowest: infinity less itself is not a number
    total = tl.zeros((AT_ONCE,), tl.float32)
    for begin in range(0, number, AT_ONCE):
        place = begin + lanes
        values = tl.load(logits + row * row_stride + place, mask=place < number, other=-float("inf")).to(tl.float32)
        larger = tl.maximum(largest, values)
        total = total * tl.exp(largest - larger) + tl.exp(values - larger)
        largest = larger
    top = tl.max(largest, 0)
    tl.store(sums + row, top + tl.log(tl.sum(total * tl.exp(largest - top), 0)))


_kernel: Any = None if triton is None else triton.jit(_sum_row)
