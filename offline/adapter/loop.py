"""The training loop: `transformers.Trainer` with two batches to a step, and what watches it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback

from offline.adapter.answers import Answers, ForgetBatch
from offline.adapter.forward import answers
from offline.adapter.lessons import lay_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from offline.adapter.examples import Batch
    from offline.adapter.lessons import Lesson, Lessons, Step
    from offline.adapter.losses.base import ForgetLoss
    from offline.adapter.retain import Term


class AdapterTrainer(Trainer):  # type: ignore[misc]  # untyped
    """Trains the adapter of a peft model on lessons.

    ``penalty`` is added to the loss, and its gradient to what the loss makes of the other two.
    """

    def __init__(
        self,
        model: Any,
        arguments: Any,
        lessons: Lessons,
        *,
        loss: ForgetLoss,
        term: Term,
        penalty: Callable[[], Tensor] | None,
        watch: TrainerCallback,
    ) -> None:
        super().__init__(model=model, args=arguments, train_dataset=lessons, data_collator=_collated, callbacks=[watch])
        self.remove_callback(PrinterCallback)
        self._loss = loss
        self._term = term
        self._penalty = penalty
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._parts: list[dict[str, float]] = []
        self._began = time.monotonic()
        if loss.needs.search_every is not None:
            self.add_callback(Search(self, loss, loss.needs.search_every))
        self.last_retain: Batch | None = None

    def training_step(self, model: Any, inputs: Mapping[str, Step], num_items_in_batch: object = None) -> Tensor:
        """One forward and backward pass. Called by the base class; returns the loss, detached.

        Raises:
            FloatingPointError: the loss is no longer finite.
        """
        # The adapter has no dropout, and that of a base model would make it train against another model than is served.
        model.eval()
        step = inputs["step"]
        layer = self._loss.needs.layer
        with self.compute_loss_context_manager():
            forget = self._loss(
                ForgetBatch(
                    _asked(model, step.original, step.original_reference, layer),
                    _asked(model, step.alternative, step.alternative_reference, None),
                )
            )
            retain = None if step.retain is None else self.retain_loss(step.retain)
        self.last_retain = step.retain
        gradients = self._loss.gradients(forget, retain, self._parameters)
        parts = {"forget": float(forget.detach())} | ({} if retain is None else {"retain": float(retain.detach())})
        total = sum(weight * part for weight, part in zip(self._loss.weights, parts.values(), strict=False))
        if self._penalty is not None:
            penalty = self._penalty()
            more = torch.autograd.grad(penalty, self._parameters, materialize_grads=True)
            gradients = tuple(one + other for one, other in zip(gradients, more, strict=True))
            parts["penalty"] = float(penalty.detach())
            total += parts["penalty"]
        share: float = 1.0 / self.current_gradient_accumulation_steps
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = share * gradient if parameter.grad is None else parameter.grad + share * gradient
        self._parts.append(parts)
        loss = torch.tensor(total, device=forget.device)
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is no longer finite after {self.state.global_step} steps")
        return share * loss

    def retain_loss(self, batch: Batch) -> Tensor:
        """The retain term, a scalar."""

        def reference() -> Answers:
            with torch.no_grad(), self.model.disable_adapter():
                return answers(self.model, batch)

        return self._term(answers(self.model, batch), reference)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Record a step with the parts of its loss and the seconds since training began. Called by the base class."""
        for name in self._parts[0] if self._parts else ():
            logs[name] = sum(parts[name] for parts in self._parts) / len(self._parts)
        self._parts.clear()
        now = time.monotonic()
        logs["seconds"] = now - self._began
        self._began = now
        super().log(logs, start_time)


class Watch(TrainerCallback):  # type: ignore[misc]  # untyped
    """Measures what must be kept, tells the progress, and ends the training early.

    ``measure`` returns the held-out retain loss in nats, before training and after each epoch; ``keep`` is called
    while it is within the tolerance.
    """

    def __init__(
        self,
        *,
        measure: Callable[[], float] | None,
        keep: Callable[[], None],
        tolerance: float | None,
        progress: Callable[[int, int], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self._measure = measure
        self._keep = keep
        self._tolerance = tolerance
        self._progress = progress
        self._cancelled = cancelled
        self.exceeded = False
        self.was_cancelled = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: object) -> None:
        """Measure the model as it is. Not when a run goes on: then it is on record."""
        if self._measure is not None and not held_out(state.log_history):
            state.log_history.append({"step": 0, "held_out": self._measure()})

    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        """Measure at the end of an epoch; then tell and ask."""
        steps = state.max_steps // args.num_train_epochs
        if self._measure is not None and state.global_step % steps == 0:
            state.log_history.append({"step": state.global_step, "held_out": self._measure()})
            losses = held_out(state.log_history)
            # Also true of what is not a number.
            self.exceeded = self._tolerance is not None and not losses[-1] <= losses[0] + self._tolerance
            if self.exceeded:
                control.should_training_stop = True
                # A run that is killed now measures this again.
                control.should_save = False
            else:
                self._keep()
        if self._progress is not None:
            self._progress(state.global_step, state.max_steps)
        if not control.should_training_stop and self._cancelled is not None and self._cancelled():
            self.was_cancelled = control.should_training_stop = control.should_save = True


class Search(TrainerCallback):  # type: ignore[misc]  # untyped
    """Lets a loss stretch the step that the optimiser just took, and the learning rate with it."""

    def __init__(self, trainer: AdapterTrainer, loss: ForgetLoss, every: int) -> None:
        self._trainer = trainer
        self._stretch = loss.stretch
        self._every = every
        self._start: list[Tensor] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: object) -> None:
        due = (state.global_step + 1) % self._every == 0
        self._start = [parameter.detach().clone() for parameter in self._parameters()] if due else []

    def on_optimizer_step(self, args: Any, state: Any, control: Any, *, lr_scheduler: Any, **_: object) -> None:
        batch = self._trainer.last_retain
        if not self._start or batch is None:
            return
        taken = [parameter - start for parameter, start in zip(self._parameters(), self._start, strict=True)]
        losses = []
        with torch.no_grad():
            for place in (-1.0, 0.0, 1.0):
                self._go(taken, place)
                losses.append(float(self._trainer.retain_loss(batch)))
            factor = self._stretch(*losses)
            self._go(taken, factor)
        # The scheduler's next step, which follows, sets the optimiser's rates from these.
        lr_scheduler.base_lrs = [factor * rate for rate in lr_scheduler.base_lrs]

    def _go(self, taken: list[Tensor], place: float) -> None:
        for parameter, start, way in zip(self._parameters(), self._start, taken, strict=True):
            parameter.copy_(start + place * way)

    def _parameters(self) -> list[Tensor]:
        return [parameter for parameter in self._trainer.model.parameters() if parameter.requires_grad]


def held_out(history: list[dict[str, float]]) -> list[float]:
    """Held-out retain losses on record: before training, and after each epoch."""
    return [entry["held_out"] for entry in history if "held_out" in entry]


def _collated(lessons: Sequence[Lesson]) -> dict[str, Step]:
    # The base class looks into the mapping for names of its own.
    return {"step": lay_out(lessons)}


def _asked(model: Any, batch: Batch | None, reference: Tensor | None, layer: int | None) -> Answers | None:
    return None if batch is None else answers(model, batch, layer=layer, reference=reference)
