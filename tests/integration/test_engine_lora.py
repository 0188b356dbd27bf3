"""Rows without an adapter in vLLM's own torch kernels: the last slot, which they are taken for, adds nothing."""

from __future__ import annotations

import pytest
import torch

punica_cpu = pytest.importorskip("vllm.lora.punica_wrapper.punica_cpu", reason="vllm is not installed")

from guards.engine.lora import spare_rows  # noqa: E402 - after vllm is known to be there

A = torch.arange(1.0, 13.0).view(3, 1, 2, 2)
"""Three slots of adapters with rank 2, over two inputs."""
X = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def shrunk(indices: list[int]) -> torch.Tensor:
    out = torch.full((3, 2), 9.0)
    punica_cpu.bgmv_shrink(X, A, out, torch.tensor(indices), 0.5)
    return out


def test_rows_without_an_adapter_stay_without_one() -> None:
    spare_rows()
    spare_rows()
    out = shrunk([0, -1, 2])
    assert out[0].tolist() == [0.5 * (1 + 4), 0.5 * (3 + 8)]
    assert out[1].tolist() == [0.0, 0.0]
    assert out[2].tolist() == [0.5 * (5 * 9 + 6 * 10), 0.5 * (5 * 11 + 6 * 12)]


def test_so_do_sequences_without_one() -> None:
    spare_rows()
    out = torch.full((3, 2), 9.0)
    lengths, indices = torch.tensor([2, 1]), torch.tensor([-1, 1])
    punica_cpu.sgmv_shrink(X, A, out, torch.tensor([0, 2]), lengths, indices, 2, 2, 3, 1.0)
    assert out[:2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert out[2].tolist() == [5 * 5 + 6 * 6, 5 * 7 + 6 * 8]
