"""The kernel of the loss: run by Triton's interpreter where Triton is, and what happens where it cannot be built."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ibtrack.capture import fused_loss
from ibtrack.capture.fused_loss import row_logsumexps

INTERPRETED = """
import torch
from ibtrack.capture import fused_loss
fused_loss.AT_ONCE = 64
generator = torch.Generator().manual_seed(0)
for dtype in fused_loss.KINDS:
    logits = (8 * torch.randn(6, 200, generator=generator) - 40).to(dtype)
    logits[0, :70] = -torch.inf  # all that the first lanes read at first
    logits[1, 199] = 300
    logits[2, 3] = torch.nan
    logits[3] = -torch.inf
    part = logits[:, :197]  # rows that do not follow each other at once
    sums = fused_loss.row_logsumexps(part)
    expected = part.double().logsumexp(-1).float()
    torch.testing.assert_close(sums, expected, rtol=1e-6, atol=0, equal_nan=True)
    print(sums.tolist())
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton, which comes with torch for CUDA")
def test_the_kernel_adds_up_what_torch_does() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    program = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True)
    if "InterpreterError" in program.stderr:  # Triton 3.6 with NumPy 2.5; tests/test_cuda.py has the real kernel
        pytest.skip("the interpreter of this version of Triton does not run here")
    assert program.returncode == 0, program.stderr
    assert len(program.stdout.splitlines()) == 3


BUILT = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ibtrack.capture import fused_loss
kinds = {"logits": "*bf16", "sums": "*fp32", "row_stride": "i32", "number": "i32", "AT_ONCE": "constexpr"}
source = ASTSource(fn=fused_loss._kernel, signature=kinds, constexprs={(4,): fused_loss.AT_ONCE})
print(len(compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8}).asm["cubin"]))
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton, which comes with torch for CUDA")
def test_the_kernel_is_built_for_a_gpu() -> None:
    program = subprocess.run([sys.executable, "-c", BUILT], capture_output=True, text=True)
    assert program.returncode == 0, program.stderr
    assert int(program.stdout) > 1000


class _Kernel:
    """Stands for the kernel: it fills in 7 or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.calls = error, 0

    def __getitem__(self, grid: tuple[int]) -> Any:
        def launch(logits: torch.Tensor, sums: torch.Tensor, *sizes: int, **options: int) -> None:
            self.calls += 1
            if self.error is not None:
                raise self.error
            assert grid == (len(logits),)
            sums.fill_(7)

        return launch


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> _Kernel:
    kernel = _Kernel()
    monkeypatch.setattr(fused_loss, "triton", SimpleNamespace())
    monkeypatch.setattr(fused_loss, "_kernel", kernel)
    monkeypatch.setattr(fused_loss, "_failed", set())
    return kernel


def test_a_row_has_one_sum(kernel: _Kernel) -> None:
    sums = row_logsumexps(torch.zeros(3, 5))
    assert sums is not None
    assert sums.tolist() == [7, 7, 7]


def test_without_triton_and_for_other_tables_there_is_no_kernel(
    kernel: _Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert row_logsumexps(torch.zeros(5, 3).T) is None
    assert row_logsumexps(torch.zeros(3, 5).double()) is None
    monkeypatch.setattr(fused_loss, "triton", None)
    assert row_logsumexps(torch.zeros(3, 5)) is None
    assert kernel.calls == 0


def test_a_kernel_that_cannot_be_built_is_tried_once(kernel: _Kernel) -> None:
    kernel.error = RuntimeError("no C\ncompiler")
    with pytest.warns(RuntimeWarning, match=r"cannot build the kernel of the loss here \(RuntimeError: no C compiler"):
        assert row_logsumexps(torch.zeros(3, 5)) is None
    assert row_logsumexps(torch.zeros(3, 5)) is None
    assert kernel.calls == 1


def test_memory_that_runs_out_is_no_fault_of_the_kernel(kernel: _Kernel) -> None:
    kernel.error = torch.OutOfMemoryError("no room")
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        row_logsumexps(torch.zeros(3, 5))
    kernel.error = None
    assert row_logsumexps(torch.zeros(3, 5)) is not None
