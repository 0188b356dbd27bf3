"""Contrastive tuning of a sentence encoder, once, before any forget request exists (CURaTE, section 3)."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from offline.encoder.pairs import training_pairs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from offline.encoder.pairs import Pair

RECIPE = "unremember-tuning.json"
"""What is written beside the model: how it was made."""
_WARM_UP = 0.1


@dataclass(frozen=True, slots=True)
class Tuning:
    """How to tune. The defaults are CURaTE's, with as many pairs as a processor tunes on in minutes."""

    pairs: int = 6_000
    epochs: int = 1
    batch: int = 16
    learning_rate: float = 2e-5
    margin: float = 0.5
    """Cosine distance that texts about different owners should have at least."""
    seed: int = 1

    @property
    def digest(self) -> str:
        """Tells apart what is tuned on, and how: 16 hexadecimal digits."""
        pairs = [(pair.one, pair.other, pair.same) for pair in training_pairs(self.pairs, self.seed)]
        return hashlib.sha256(json.dumps([asdict(self), pairs]).encode()).hexdigest()[:16]


def tune(
    source: Path, output: Path, tuning: Tuning, *, threads: int, progress: Callable[[int, int], None] | None = None
) -> float:
    """Tune the encoder in ``source`` and save it in ``output``: a drop-in sentence-transformers directory.

    ``progress`` is told the pairs done and all of them. Returns the mean loss of the last tenth.
    On a processor the same seed and number of threads give the same weights.

    Raises:
        OSError: there is no model in ``source``, or ``output`` cannot be written.
    """
    import torch  # seconds, which only who tunes waits
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import ContrastiveLoss

    torch.set_num_threads(threads)
    torch.manual_seed(tuning.seed)
    model = SentenceTransformer(str(source), local_files_only=True)
    model.train()
    loss_of: Any = ContrastiveLoss(model, margin=tuning.margin)
    optimizer = torch.optim.AdamW(model.parameters(), lr=tuning.learning_rate, weight_decay=0.01)
    batches = _batches(training_pairs(tuning.pairs, tuning.seed), tuning)
    warm = max(1, round(_WARM_UP * len(batches)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (len(batches) - step) / max(1, len(batches) - warm))
    )
    losses: list[float] = []
    done, total = 0, sum(map(len, batches))
    for batch in batches:
        sides = [
            {
                name: value.to(model.device)
                for name, value in model.preprocess(texts).items()
                if isinstance(value, torch.Tensor)
            }
            for texts in ([pair.one for pair in batch], [pair.other for pair in batch])
        ]
        labels = torch.tensor([int(pair.same) for pair in batch], device=model.device)
        loss = loss_of(sides, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        if progress is not None:
            done += len(batch)
            progress(done, total)
    model.eval()
    model.save(str(output), create_model_card=False)
    (output / RECIPE).write_text(json.dumps({"base": source.name, **asdict(tuning)}, indent=1) + "\n")
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)


def _batches(pairs: list[Pair], tuning: Tuning) -> list[list[Pair]]:
    draw = random.Random(tuning.seed)  # noqa: S311 - no secret
    batches = []
    for _ in range(tuning.epochs):
        shuffled = draw.sample(pairs, len(pairs))
        batches += [shuffled[start : start + tuning.batch] for start in range(0, len(shuffled), tuning.batch)]
    return batches
