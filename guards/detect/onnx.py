"""A sentence encoder run by ONNX Runtime: the same model, exported once, twice as fast on short texts."""

from __future__ import annotations

import hashlib
import logging
import warnings
from typing import TYPE_CHECKING

from guards.detect.encoder import Encoder, encoder_of, fingerprint, load_model, longest_input

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

# Counts up when the export changes, so that files of an older one are made anew.
_EXPORT = 1
_EXAMPLE = ("a sentence that the shape of a batch is learned from", "another")


def load_exported(directory: Path, cache: Path, *, threads: int, int8: bool = False) -> Encoder:
    """Load the sentence-transformers model in ``directory``, exported to ``cache`` on first use: half a minute.

    Its vectors differ from torch's by rounding, and it has a fingerprint, so a calibration, of its own. With
    ``int8`` weights are rounded to eight bits, channel by channel, and activations as they come: faster again, with
    vectors whose cosine to torch's is above 0.97.

    Raises:
        ImportError: a package of the extra ``onnx`` is not installed; its ``name`` says which.
        OSError: the directory holds no model.
        ValueError: the model reads fewer tokens than a window has.
    """
    import onnxruntime

    identity = hashlib.sha256(f"{fingerprint(directory)} onnx{' int8' * int8} {_EXPORT}".encode()).hexdigest()
    target = cache / f"{identity[:16]}.onnx"
    model = load_model(directory)
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        _export(model, partial)
        if int8:
            _quantize(partial)
        partial.replace(target)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin while they wait take the engine's time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
    inputs = {each.name for each in session.get_inputs()}

    def forward(features: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        given = {name: each for name, each in features.items() if name in inputs}
        vectors: NDArray[np.float32] = session.run(None, given)[0]
        return vectors

    return encoder_of(model, forward, fingerprint=identity)


def _export(model: SentenceTransformer, target: Path) -> None:
    """Write the model's graph, from token ids to sentence embeddings [n, dimension], any batch and length."""
    import onnx
    import onnxscript  # noqa: F401  torch needs it to export, and says so only half-way
    import torch

    class Embedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
            embedding: torch.Tensor = self.model(dict(zip(features, given, strict=True)))["sentence_embedding"]
            return embedding

    features = dict(model.tokenizer(list(_EXAMPLE), padding=True, return_tensors="pt"))
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=longest_input(model))}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            Embedding(), (tuple(features.values()),), dynamic_shapes={"given": tuple(axes for _ in features)}
        )
        program = torch.onnx.export(exported, input_names=list(features), dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("the export gave nothing")
    onnx.save(program.model_proto, str(target))


def _quantize(path: Path) -> None:
    """Round the weights of an exported graph to eight bits, in place."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Seven bits of the eight: older processors add two products in sixteen bits, and would cut them off.
    quantize_dynamic(path, path, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
