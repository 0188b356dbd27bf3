"""Training of an adapter that withholds answers: from a recipe and examples to a directory that vLLM loads."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from offline.adapter.checkpoints import Checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from offline.adapter.examples import Example
    from offline.adapter.recipe import Recipe

REPORT: Final = "training.json"
"""What is written beside the adapter: how it was made, without any text."""
CHECKPOINT_STEPS = 25
"""Optimiser steps from one checkpoint to the next: a few minutes of a small model on a processor."""


class Cancelled(Exception):
    """The training was cancelled. Called again with the same arguments it goes on from where it stopped."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished adapter."""

    directory: Path
    steps: int
    """Optimiser steps done."""
    held_out: tuple[float, ...]
    """Mean -log p in nats per token of held-out retain answers: before training, then after each epoch."""
    exceeded: bool
    """The last of them is past the tolerance. The adapter is that of the epoch before, where there was one."""
    seconds: float
    """Of training, without loading and without what a killed run lost."""


def train(
    model_directory: Path,
    recipe: Recipe,
    forget: Sequence[Example],
    retain: Sequence[Example],
    output: Path,
    *,
    previous: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Trained:
    """Train an adapter on a causal model and save it in ``output``, as PEFT and vLLM's ``load_lora_adapter`` read it.

    One in ten of ``retain`` is held out; when its loss exceeds the base model's by the recipe's tolerance, training
    stops. ``previous`` is an earlier adapter of the same model, which acts while this one is trained; what is saved
    is one adapter of both. ``progress`` is told the optimiser steps done and all of them. What was killed or
    cancelled goes on when called again with the same arguments, and on a processor ends with the same weights.
    No text of the examples is written anywhere.

    Raises:
        Cancelled: ``cancelled`` returned true after a step; the checkpoint stays.
        OSError: there is no model or previous adapter, or ``output`` cannot be written.
        ValueError: the examples do not fit the recipe, the model has no such layers, or ``output`` holds an
            unfinished training of another kind. The message holds no text of the examples.
        FloatingPointError: the loss diverged.
    """
    from transformers import AutoTokenizer, set_seed  # seconds, which only who trains waits

    from offline.adapter import adapted, forward, loop, material, stacking
    from offline.adapter.retain import TERMS

    loss = recipe.method()
    material.check(loss, forget, retain)
    tokenizer = AutoTokenizer.from_pretrained(model_directory, local_files_only=True)
    prepared = material.prepare(tokenizer, recipe, forget, retain)
    earlier = None if previous is None else stacking.read(previous)
    set_seed(recipe.seed)
    model = adapted.load(model_directory, recipe, previous)
    penalty = None if earlier is None else adapted.Penalty(model, earlier, recipe.orthogonality)
    run = {
        "recipe": recipe.digest,
        "data": _digest(json.dumps([[asdict(example) for example in part] for part in (forget, retain)]).encode()),
        "model": str(model_directory.resolve()),
        "previous": None if previous is None else _digest((previous / stacking.WEIGHTS).read_bytes()),
    }
    checkpoints = Checkpoints(output / "checkpoints")
    checkpoints.claim(run)
    if loss.needs.reference:
        with model.disable_adapter():
            prepared = material.scored(model, prepared, size=recipe.batch)
    watch = loop.Watch(
        measure=(lambda: forward.nll(model, prepared.held_out, size=recipe.batch)) if prepared.held_out else None,
        keep=lambda: adapted.keep(model, checkpoints.kept),
        tolerance=recipe.tolerance,
        progress=progress,
        cancelled=cancelled,
    )
    trainer = loop.AdapterTrainer(
        model,
        _arguments(recipe, checkpoints.directory),
        prepared.lessons(recipe.seed),
        loss=loss,
        term=TERMS[recipe.retain],
        penalty=penalty,
        watch=watch,
    )
    trainer.train(resume_from_checkpoint=checkpoints.latest())
    if watch.was_cancelled:
        raise Cancelled
    if watch.exceeded and checkpoints.kept.exists():
        adapted.restore(model, checkpoints.kept)
    adapter = adapted.adapter_of(model)
    stacking.write(adapter if earlier is None else stacking.stacked(earlier, adapter), output)
    history = trainer.state.log_history
    trained = Trained(
        output,
        trainer.state.global_step,
        tuple(loop.held_out(history)),
        watch.exceeded,
        sum(entry.get("seconds", 0.0) for entry in history),
    )
    counts = {"forget": len(forget), "retain": len(retain), "held_out": len(prepared.held_out)}
    report = {
        "recipe": json.loads(recipe.to_json()),
        "loss": asdict(loss),
        "learning_rate": recipe.peak_rate,
        "data_sha256": run["data"],
        "previous_sha256": run["previous"],
        "examples": counts,
        **_outcome(trained, history),
    }
    (output / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    checkpoints.remove()
    return trained


def _arguments(recipe: Recipe, checkpoints: Path) -> Any:
    import torch
    from transformers import TrainingArguments

    on_gpu = torch.cuda.is_available()
    own_rate = recipe.method().needs.search_every is not None
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulation,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.peak_rate,
        weight_decay=recipe.weight_decay,
        lr_scheduler_type="constant_with_warmup" if own_rate else "cosine",
        warmup_steps=recipe.warm_up,
        optim="adamw_torch",
        seed=recipe.seed,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        # The lessons have an order of their own.
        train_sampling_strategy="sequential",
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        label_names=["labels"],
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_steps=CHECKPOINT_STEPS,
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
    )
    # Several would be DataParallel, which splits tensors only.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _outcome(trained: Trained, history: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    names = ("step", "loss", "forget", "retain", "penalty", "grad_norm", "learning_rate")
    versions = {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")}
    return {
        "steps": [{name: entry[name] for name in names if name in entry} for entry in history if "loss" in entry],
        "held_out": trained.held_out,
        "exceeded": trained.exceeded,
        "seconds": round(trained.seconds, 3),
        "versions": {"python": platform.python_version(), **versions},
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
