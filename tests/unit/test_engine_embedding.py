import numpy as np
import pytest
import torch
from torch import nn

from guards.engine.embedding import Corruptible, find_embedding

pytestmark = pytest.mark.thorough


class Tied(nn.Module):
    """A toy model whose output head is its embedding's weight."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(50, 8, dtype=dtype)
        self.head = nn.Linear(8, 50, bias=False, dtype=dtype)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.embed(ids) * 2


class Adapted(nn.Module):
    """What a LoRA layer looks like: its forward reads state of the batch."""

    def __init__(self, base_layer: nn.Embedding) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.batch_rows = 3

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        assert len(ids) == self.batch_rows
        return self.base_layer.forward(ids) + 1


IDS = torch.tensor([3, 1, 4])


def ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@pytest.fixture
def model() -> Tied:
    return Tied()


def test_marked_rows_are_replaced_and_the_others_are_bit_for_bit_the_same(model: Tied) -> None:
    clean = model.embed(IDS)
    embedding = Corruptible(model.embed, max_tokens=16)
    assert torch.equal(model.embed(IDS), clean)
    embedding.write(ids(1), torch.full((1, 8), 7.0))
    corrupted = model.embed(IDS)
    assert (corrupted[1] == 7).all()
    assert torch.equal(corrupted[[0, 2]], clean[[0, 2]])
    embedding.clear()
    assert torch.equal(model.embed(IDS), clean)


def test_a_row_once_written_does_not_come_back(model: Tied) -> None:
    embedding = Corruptible(model.embed, max_tokens=16)
    clean = model.embed(IDS)
    embedding.write(ids(0, 1), torch.full((2, 8), 7.0))
    embedding.clear()
    embedding.write(ids(2), torch.full((1, 8), 5.0))
    assert torch.equal(model.embed(IDS)[:2], clean[:2])


def test_base_rows_are_clean_while_rows_are_marked(model: Tied) -> None:
    embedding = Corruptible(model.embed, max_tokens=16)
    clean = model.embed(IDS).clone()
    embedding.write(ids(0, 1, 2), torch.zeros(3, 8))
    assert torch.equal(embedding.base(IDS.numpy()), clean)


def test_a_tied_head_keeps_its_weight_and_the_state_its_names(model: Tied) -> None:
    names = list(model.state_dict())
    logits = model.head(torch.ones(1, 8))
    embedding = Corruptible(model.embed, max_tokens=16)
    embedding.write(ids(0), torch.zeros(1, 8))
    assert torch.equal(model.head(torch.ones(1, 8)), logits)
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_unit_of_strength_is_the_standard_deviation_of_the_matrix(dtype: torch.dtype) -> None:
    model = Tied(dtype)
    embedding = Corruptible(model.embed, max_tokens=16)
    assert embedding.std == pytest.approx(model.embed.weight.double().std(correction=0).item(), rel=1e-6)


def test_rows_stay_finite_in_half_precision() -> None:
    model = Tied(torch.float16)
    embedding = Corruptible(model.embed, max_tokens=16)
    embedding.write(ids(0), torch.full((1, 8), 1e30))
    assert model.embed(IDS).isfinite().all()


def test_under_an_adapter_the_wrapper_is_hooked_and_the_base_looked_up(model: Tied) -> None:
    adapted = Adapted(model.embed)
    embedding = Corruptible(adapted, max_tokens=16)
    embedding.write(ids(2), torch.full((1, 8), 7.0))
    assert (adapted(IDS)[2] == 7).all()
    assert torch.equal(embedding.base(ids(3)), model.embed(torch.tensor([3])))


def test_it_is_installed_once(model: Tied) -> None:
    Corruptible(model.embed, max_tokens=16)
    with pytest.raises(ValueError, match="already"):
        Corruptible(model.embed, max_tokens=16)


class Head(nn.Embedding):
    pass


def test_finding_the_embedding() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(4, 2), "head": Head(4, 2)})
    assert find_embedding(model, embeddings=(nn.Embedding,), heads=(Head,)) is model["embed"]


def test_finding_the_embedding_under_an_adapter() -> None:
    model = nn.ModuleDict({"embed": Adapted(nn.Embedding(4, 2)), "head": Head(4, 2)})
    assert find_embedding(model, embeddings=(nn.Embedding,), heads=(Head,)) is model["embed"]


@pytest.mark.parametrize("count", [0, 2])
def test_no_or_several_embeddings_are_refused(count: int) -> None:
    model = nn.ModuleList([nn.Embedding(4, 2) for _ in range(count)])
    with pytest.raises(ValueError, match=f"{count} token embeddings"):
        find_embedding(model, embeddings=(nn.Embedding,), heads=(Head,))
