"""Two adapters as one, and the penalty that keeps them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from offline.adapter.adapted import Penalty, adapter_of
from offline.adapter.orthogonality import overlap
from offline.adapter.stacking import Adapter, read, stacked, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.thorough

PROJECTIONS = ["q_proj", "down_proj"]
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


def llama() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=12, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def random_adapter(seed: int, rank: int, alpha: int, projections: list[str] = PROJECTIONS) -> Adapter:
    model = get_peft_model(llama(), LoraConfig(r=rank, lora_alpha=alpha, target_modules=projections))
    torch.manual_seed(seed)
    found = adapter_of(model)
    return Adapter(found.config, {name: torch.randn_like(tensor) for name, tensor in found.tensors.items()})


def change(adapter: Adapter, directory: Path) -> dict[str, torch.Tensor]:
    """What the adapter, written and read by peft, adds to each weight of the model."""
    directory.mkdir()
    write(adapter, directory)
    base = llama()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    merged = PeftModel.from_pretrained(base, str(directory)).merge_and_unload()
    return {name: tensor - before[name] for name, tensor in merged.state_dict().items()}


def test_stacked_ranks_act_as_both(tmp_path: Path) -> None:
    one, other = random_adapter(1, rank=2, alpha=4), random_adapter(2, rank=3, alpha=1)
    both = stacked(one, other)
    parts = [change(adapter, tmp_path / name) for name, adapter in (("one", one), ("other", other), ("both", both))]
    changed = [name for name, tensor in parts[2].items() if tensor.any()]
    assert len(changed) == 2 * len(PROJECTIONS)
    for name, together in parts[2].items():
        torch.testing.assert_close(together, parts[0][name] + parts[1][name], rtol=1e-4, atol=1e-5)


def test_logits_of_stacked_ranks(tmp_path: Path) -> None:
    one, other = random_adapter(1, rank=2, alpha=4), random_adapter(2, rank=3, alpha=1)
    for name, adapter in (("one", one), ("other", other), ("both", stacked(one, other))):
        (tmp_path / name).mkdir()
        write(adapter, tmp_path / name)
    model = PeftModel.from_pretrained(llama(), str(tmp_path / "one"), adapter_name="one")
    model.load_adapter(str(tmp_path / "other"), "other")
    model.base_model.set_adapter(["one", "other"])
    together = PeftModel.from_pretrained(llama(), str(tmp_path / "both"))
    with torch.no_grad():
        expected, found, plain = (each(input_ids=IDS).logits for each in (model, together, llama()))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (found - plain).abs().max() > 0.1


def test_stacking_keeps_what_was_trained() -> None:
    one, other = random_adapter(1, rank=2, alpha=4), random_adapter(2, rank=3, alpha=1)
    both = stacked(one, other)
    assert (both.config["r"], both.config["lora_alpha"], both.scale) == (5, 5, 1.0)
    for layer, a in both.inward.items():
        assert torch.equal(a[:2], one.inward[layer])
        assert torch.equal(a[2:], other.inward[layer])
        b = both.tensors[f"{layer}.lora_B.weight"]
        assert torch.equal(b[:, :2], 2.0 * one.tensors[f"{layer}.lora_B.weight"])
        torch.testing.assert_close(b[:, 2:], other.tensors[f"{layer}.lora_B.weight"] / 3)


def test_other_layers_cannot_be_stacked() -> None:
    with pytest.raises(ValueError, match="other layers"):
        stacked(random_adapter(1, 2, 4), random_adapter(2, 2, 4, ["q_proj"]))


def test_an_adapter_comes_back_from_its_directory(tmp_path: Path) -> None:
    adapter = random_adapter(1, rank=2, alpha=4)
    write(adapter, tmp_path)
    back = read(tmp_path)
    assert back.tensors.keys() == adapter.tensors.keys()
    assert all(torch.equal(back.tensors[name], tensor) for name, tensor in adapter.tensors.items())
    assert back.config["target_modules"] == sorted(PROJECTIONS)


@pytest.mark.parametrize("config", [{"use_rslora": True}, {"rank_pattern": {"q_proj": 4}}, {"use_dora": True}])
def test_other_than_plain_lora_is_refused(tmp_path: Path, config: dict[str, object]) -> None:
    adapter = random_adapter(1, rank=2, alpha=4)
    write(Adapter({**adapter.config, **config}, adapter.tensors), tmp_path)
    with pytest.raises(ValueError, match="not plain LoRA"):
        read(tmp_path)


def test_overlap_by_hand() -> None:
    earlier = {"x": torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "y": torch.tensor([[3.0, 0.0]])}
    current = {"x": torch.tensor([[1.0, 0.0]]), "y": torch.tensor([[0.0, 5.0], [2.0, 0.0]])}
    # x: (1, 0) . (1, 2) = 1, (1, 0) . (0, 1) = 0. y: 0 and 6.
    assert overlap(earlier, current).item() == pytest.approx(1 + 36)
    assert overlap({"x": torch.tensor([[1.0, 1.0]])}, {"x": torch.tensor([[2.0, -2.0]])}).item() == 0.0
    with pytest.raises(ValueError, match="other layers"):
        overlap(earlier, {"x": current["x"]})


def test_the_overlap_pulls_the_new_rows_away() -> None:
    current = torch.tensor([[1.0, 0.0]], requires_grad=True)
    overlap({"x": torch.tensor([[1.0, 2.0]])}, {"x": current}).backward()
    # 2 (a . e) e.
    assert current.grad is not None
    assert current.grad.tolist() == [[2.0, 4.0]]


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1000))
def test_the_overlap_with_several_requests_is_the_sum(first: int, second: int, rank: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    one, two, current = (torch.randn(rows, 4, generator=draw) for rows in (first, second, rank))
    together = overlap({"x": torch.cat([one, two])}, {"x": current}).item()
    apart = overlap({"x": one}, {"x": current}).item() + overlap({"x": two}, {"x": current}).item()
    assert together == pytest.approx(apart, rel=1e-4)


def test_the_penalty_finds_the_new_adapter_in_the_model() -> None:
    earlier = random_adapter(1, rank=2, alpha=4)
    model = get_peft_model(llama(), LoraConfig(r=3, lora_alpha=6, target_modules=PROJECTIONS))
    penalty = Penalty(model, earlier, 0.5)
    expected = 0.5 * sum(
        float((earlier.inward[layer] @ a.T).square().sum()) for layer, a in adapter_of(model).inward.items()
    )
    assert penalty().item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="other layers"):
        Penalty(model, random_adapter(1, 2, 4, ["q_proj"]), 0.5)
