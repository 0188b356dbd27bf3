"""Adapter files, and one adapter that acts as two together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
_A, _B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter in PEFT's form: h = W x + (alpha / rank) B A x in each adapted layer."""

    config: Mapping[str, Any]
    """Of ``adapter_config.json``: plain LoRA, one rank and one alpha for all layers."""
    tensors: Mapping[str, Tensor]
    """By PEFT's names: ``<layer>.lora_A.weight`` [rank, inputs] and ``<layer>.lora_B.weight`` [outputs, rank]."""

    @property
    def inward(self) -> dict[str, Tensor]:
        """A by layer."""
        return {name.removesuffix(_A): tensor for name, tensor in self.tensors.items() if name.endswith(_A)}

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return float(self.config["lora_alpha"]) / int(self.config["r"])


def read(directory: Path) -> Adapter:
    """The adapter in ``directory``.

    Raises:
        OSError: there is none.
        ValueError: it is not plain LoRA with one rank and one alpha.
    """
    config = json.loads((directory / CONFIG).read_text("utf-8"))
    unlike = [name for name in ("rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias") if config[name]]
    tensors = {name: tensor.float() for name, tensor in load_file(directory / WEIGHTS).items()}
    if unlike or any(not name.endswith((_A, _B)) for name in tensors):
        raise ValueError(f"the adapter in {directory.name} is not plain LoRA with one rank and one alpha")
    return Adapter(config, tensors)


def write(adapter: Adapter, directory: Path) -> None:
    """Save as PEFT and vLLM's ``load_lora_adapter`` read it."""
    tensors = {name: tensor.contiguous() for name, tensor in adapter.tensors.items()}
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
    (directory / CONFIG).write_text(json.dumps(adapter.config, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def stacked(earlier: Adapter, later: Adapter) -> Adapter:
    """One adapter of both ranks together that adds exactly what the two add: s1 B1 A1 + s2 B2 A2.

    Scales go into B, so that the A's of every request stay as they were trained; `overlap` compares them.

    Raises:
        ValueError: they adapt different layers.
    """
    if earlier.tensors.keys() != later.tensors.keys():
        raise ValueError("the earlier adapter adapts other layers than the new one")
    tensors = {
        name: torch.cat([earlier.tensors[name], tensor])
        if name.endswith(_A)
        else torch.cat([earlier.scale * earlier.tensors[name], later.scale * tensor], dim=1)
        for name, tensor in later.tensors.items()
    }
    rank = int(earlier.config["r"]) + int(later.config["r"])
    return Adapter({**later.config, "r": rank, "lora_alpha": rank}, tensors)
