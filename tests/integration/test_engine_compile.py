"""The embedding's hook under torch.compile: a graph compiled while nothing is marked sees what is marked later."""

import numpy as np
import torch
from torch import nn

from guards.engine.embedding import Corruptible

IDS = torch.tensor([3, 1, 4])


class Doubling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(50, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.embed(ids) * 2


def test_a_compiled_graph_sees_what_is_written_later() -> None:
    model = Doubling()
    embedding = Corruptible(model.embed, max_tokens=16)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", dynamic=True, fullgraph=True)
    with torch.inference_mode():
        clean = compiled(IDS).clone()
        embedding.write(np.array([1]), torch.full((1, 8), 7.0))
        corrupted = compiled(IDS).clone()
        embedding.clear()
        assert torch.equal(compiled(IDS), clean)
    assert (corrupted[1] == 14).all()
    assert torch.equal(corrupted[[0, 2]], clean[[0, 2]])
