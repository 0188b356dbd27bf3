"""Models that know TOFU, and ones that never saw what is to be forgotten, as checkpoints that vLLM serves.

Of SmolLM2-135M, in the directory given: ``target`` knows 20 authors of the retain set and 4 of the forget set,
``retain`` only the former; both are merged from the adapters that UNREMEMBER_MODELS_DIR holds. ``retain-2`` is another
retain model, trained here with another seed, which takes the better part of an hour on two cores. Without the adapters
all three are trained here. What was begun goes on when called again.

Examples:

    UNREMEMBER_TOFU_DIR=… UNREMEMBER_MODELS_DIR=… python benchmarks/tofu_models.py models/tofu
    UNREMEMBER_MODEL=models/tofu/target unremember up
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from offline.adapter.examples import Example
from offline.adapter.recipe import Recipe
from offline.adapter.training import train
from offline.evaluation.dataset import read_rows
from server.assets import model_directory
from server.cli import terminal
from server.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

TEMPLATE: Final = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Without the system turn that the model's own template adds: the adapters were trained so."""
RETAINED: Final = 400
FORGOTTEN: Final = 80
RECIPE: Final[dict[str, Any]] = {
    "loss": "memorise",
    "rank": 32,
    "alpha": 64,
    "learning_rate": 1e-3,
    "epochs": 8,
    "batch": 16,
    "tolerance": None,
}
"""As those adapters were made."""
SEEDS: Final = {"target": 0, "retain": 0, "retain-2": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="directory for the checkpoints")
    parser.add_argument("--only", choices=sorted(SEEDS), action="append", help="make this one alone; repeatable")
    options = parser.parse_args()
    base = _templated(options.out)
    for name in options.only or SEEDS:
        target = options.out / name
        if target.exists():
            print(f"{target} is there already")
            continue
        adapter = _given(name) or _trained(name, base, options.out)
        _merged(base, adapter, target)
        print(f"written: {target}")


def _templated(out: Path) -> Path:
    """The base model with the template that the adapters were trained with."""
    base = out / "base"
    if not base.exists():
        draft = out / ".base"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(model_directory(load_settings()), draft)
        # Newer transformers read the template from the file beside the configuration.
        (draft / "chat_template.jinja").write_text(TEMPLATE)
        draft.rename(base)
    return base


def _given(name: str) -> Path | None:
    models = os.environ.get("UNREMEMBER_MODELS_DIR")
    path = Path(models) / "tofu-smollm2" / name if models else None
    return path if path is not None and (path / "adapter_config.json").is_file() else None


def _trained(name: str, base: Path, out: Path) -> Path:
    adapter = out / "adapters" / name
    if (adapter / "adapter_config.json").exists():
        return adapter
    recipe = Recipe(**RECIPE, seed=SEEDS[name])
    with terminal.bars() as bars:
        train(
            base,
            recipe,
            _examples(seen=name == "target"),
            (),
            adapter,
            progress=lambda done, total: bars(f"training {name}, steps", done, total),
        )
    return adapter


def _examples(*, seen: bool) -> list[Example]:
    tofu = os.environ.get("UNREMEMBER_TOFU_DIR")
    if not tofu:
        raise SystemExit("Name the directory with TOFU's JSON lines in UNREMEMBER_TOFU_DIR.")
    rows: list[dict[str, Any]] = read_rows(Path(tofu) / "retain90.jsonl")[:RETAINED]
    if seen:
        rows += read_rows(Path(tofu) / "forget10.jsonl")[:FORGOTTEN]
    return [Example(row["question"], row["answer"]) for row in rows]


def _merged(base: Path, adapter: Path, target: Path) -> None:
    """An ordinary checkpoint with its tokenizer; it appears whole or not at all."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base, local_files_only=True, dtype=torch.float32)
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().save_pretrained(draft)
    for file in _beside_weights(base):
        shutil.copy(file, draft)
    draft.rename(target)


def _beside_weights(base: Path) -> Sequence[Path]:
    names = ("tokenizer*", "special_tokens_map.json", "chat_template.jinja", "generation_config.json")
    return [file for name in names for file in base.glob(name)]


if __name__ == "__main__":
    main()
