"""A causal model with a fresh adapter on it, earlier ones merged into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from offline.adapter.orthogonality import overlap
from offline.adapter.stacking import Adapter

if TYPE_CHECKING:
    from torch import Tensor

    from offline.adapter.recipe import Recipe


def load(directory: Path, recipe: Recipe, previous: Path | None) -> Any:
    """The peft model to train: float32 on a processor, bfloat16 with a float32 adapter on a GPU.

    The base model is merged with ``previous``, in its own precision, so the adapter disabled leaves that one acting.

    Raises:
        OSError: there is no model or adapter.
        ValueError: the model has none of the layers that the recipe adapts, or not the one its loss looks at.
    """
    on_gpu = torch.cuda.is_available()
    model: Any = AutoModelForCausalLM.from_pretrained(
        directory, local_files_only=True, dtype=torch.bfloat16 if on_gpu else torch.float32
    )
    layer, layers = recipe.method().needs.layer, model.config.num_hidden_layers
    if layer is not None and layer >= layers:
        raise ValueError(f"layer must be below {layers}, not {layer}")
    if previous is not None:
        model = PeftModel.from_pretrained(model, str(previous)).merge_and_unload()
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.projections),
    )
    return get_peft_model(model.to("cuda" if on_gpu else "cpu"), config)


def adapter_of(model: Any) -> Adapter:
    """What was trained, as it is saved."""
    tensors = {name: tensor.detach().cpu() for name, tensor in get_peft_model_state_dict(model).items()}
    config = model.peft_config["default"].to_dict()
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    # The model's name alone: where it lies is nobody's business.
    name = Path(config["base_model_name_or_path"] or "").name
    return Adapter({**plain, "base_model_name_or_path": name, "inference_mode": True}, tensors)


def keep(model: Any, path: Path) -> None:
    """Save the adapter's weights as they are now."""
    save_file(get_peft_model_state_dict(model), path)


def restore(model: Any, path: Path) -> None:
    """Go back to kept weights."""
    set_peft_model_state_dict(model, load_file(path))


class Penalty:
    """What the overlap with an earlier adapter costs, in the terms of a loss. Called for its present value."""

    def __init__(self, model: Any, earlier: Adapter, weight: float) -> None:
        """Of the adapter on ``model``.

        Raises:
            ValueError: they adapt different layers.
        """
        self._weight = weight
        self._earlier = {name: a.to(model.device) for name, a in earlier.inward.items()}
        self._current = {
            name.partition(".lora_A.")[0]: parameter
            for name, parameter in model.named_parameters()
            if ".lora_A." in name
        }
        overlap(self._earlier, self._current)

    def __call__(self) -> Tensor:
        return self._weight * overlap(self._earlier, self._current)
