"""The logits processors behind the interfaces of the installed vLLM's two runners, without starting an engine.

The V2 runner needs a GPU: its processor is tested here and nowhere else, against what its source says of its state.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

pytest.importorskip("vllm")

from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor.interface import BatchUpdate, MoveDirectionality

from guards.engine import processor_v1, processor_v2
from guards.engine.restriction import Forbidden, RestrictionArgs
from guards.engine.restrictor import Restrictor
from guards.engine.vocabulary import read_vocabulary
from tests.fakes.tokenizers import byte_level

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = b"key"
ARGS = RestrictionArgs((Forbidden("rowling", 5), Forbidden("tolkien", 4)))
ASKING = {"unremember_penalty": 0.0, **ARGS.to_xargs(KEY)}


def encode(text: str) -> list[int]:
    return list(byte_level().encode(text, add_special_tokens=False))


def params(extra: dict[str, Any] | None = None) -> SamplingParams:
    made = SamplingParams()
    made.extra_args = extra
    made.update_from_generation_config({}, 0)
    return made


VOCABULARY = read_vocabulary(byte_level())
WIDTH = len(VOCABULARY)
LETTER = {letter: encode(letter)[0] for letter in "io"}
PROMPT = "It was J.K. "


def restrictor(*_: object) -> Restrictor:
    return Restrictor(VOCABULARY, KEY, width=WIDTH, device=torch.device("cpu"))


def forbids(row: torch.Tensor, letter: str) -> bool:
    return bool(row[LETTER[letter]] == float("-inf"))


@pytest.fixture
def v1(monkeypatch: pytest.MonkeyPatch) -> processor_v1.Restriction:
    monkeypatch.setattr(processor_v1, "restrictor_of", restrictor)
    return processor_v1.Restriction(None, torch.device("cpu"), False)


def update(
    size: int,
    added: Sequence[tuple[int, SamplingParams, list[int] | None, list[int]]] = (),
    removed: Sequence[int] = (),
    moved: Sequence[tuple[int, int, MoveDirectionality]] = (),
) -> BatchUpdate:
    return BatchUpdate(size, removed, added, moved)


def test_v1_changes_greedy_sampling(v1: processor_v1.Restriction) -> None:
    assert not v1.is_argmax_invariant()


def test_v1_leaves_a_batch_that_does_not_ask(v1: processor_v1.Restriction) -> None:
    v1.update_state(update(1, [(0, params(), [1], [])]))
    logits = torch.zeros(1, WIDTH)
    assert v1.apply(logits) is logits
    assert not logits.any()


def test_v1_follows_the_answer_that_vllm_goes_on_writing(v1: processor_v1.Restriction) -> None:
    answer: list[int] = []
    v1.update_state(update(1, [(0, params(ASKING), encode(PROMPT), answer)]))
    seen = []
    for token in encode("Rowl") + encode("x"):
        answer.append(token)
        v1.update_state(None)
        seen.append(forbids(v1.apply(torch.zeros(1, WIDTH))[0], "i"))
    assert answer == encode("Rowl") + encode("x")
    assert seen == [False] * (len(seen) - 2) + [True, False]


def test_v1_sees_the_prompt(v1: processor_v1.Restriction) -> None:
    v1.update_state(update(2, [(0, params(ASKING), encode(PROMPT + "Rowl"), []), (1, params(ASKING), None, [])]))
    logits = v1.apply(torch.zeros(2, WIDTH))
    assert forbids(logits[0], "i")
    assert not forbids(logits[1], "i")


def test_v1_moves_with_the_batch(v1: processor_v1.Restriction) -> None:
    rowl, t, plain = (params(ASKING), encode("Rowl"), []), (params(ASKING), encode("T"), []), (params(), [1], [])
    v1.update_state(update(3, [(0, *rowl), (1, *plain), (2, *t)]))

    def places() -> list[str]:
        logits = v1.apply(torch.zeros(3, WIDTH))
        return ["".join(letter for letter in "io" if forbids(row, letter)) for row in logits]

    before = places()
    assert before[0] == "i"
    assert before[1] == ""
    v1.update_state(update(3, moved=[(0, 2, MoveDirectionality.SWAP)]))
    assert places() == before[::-1]
    v1.update_state(update(2, removed=[0], moved=[(2, 0, MoveDirectionality.UNIDIRECTIONAL)]))
    assert places() == ["i", "", ""]
    # A request that does not ask takes the place of one that did.
    v1.update_state(update(2, [(0, *plain)]))
    assert places() == ["", "", ""]


def test_v1_reads_a_resumed_request_anew(v1: processor_v1.Restriction) -> None:
    answer = encode("Rowl")
    v1.update_state(update(1, [(0, params(ASKING), encode(PROMPT), answer)]))
    assert forbids(v1.apply(torch.zeros(1, WIDTH))[0], "i")
    v1.update_state(update(0, removed=[0]))
    v1.update_state(update(1, [(0, params(ASKING), encode(PROMPT), list(answer))]))
    assert forbids(v1.apply(torch.zeros(1, WIDTH))[0], "i")


def test_v1_ends_an_answer_whose_last_token_it_is_not_told(v1: processor_v1.Restriction) -> None:
    v1.update_state(update(1, [(0, params(ASKING), encode(PROMPT), [-1])]))
    row = v1.apply(torch.zeros(1, WIDTH))[0]
    assert torch.nonzero(row > float("-inf")).flatten().tolist() == [0]


class Slots:
    """As much of the V2 runner's request state as the processor reads."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.prompt_len = SimpleNamespace(np=np.zeros(8, dtype=np.int32))
        self.all_token_ids = SimpleNamespace(gpu=torch.full((8, 64), -7, dtype=torch.int32))

    def write(self, slot: int, prompt: list[int], answer: list[int]) -> None:
        self.prompt_len.np[slot] = len(prompt)
        tokens = prompt + answer
        self.all_token_ids.gpu[slot] = -7
        self.all_token_ids.gpu[slot, : len(tokens)] = torch.tensor(tokens, dtype=torch.int32)


class V2:
    """One V2 runner: steps over slots, each computed up to a length."""

    def __init__(self) -> None:
        self.slots = Slots()
        self.processor = processor_v2.Restriction(None, self.slots)

    def step(self, batch: list[tuple[int, int]]) -> torch.Tensor:
        at = [(slot, length - 1) for slot, length in batch]
        ctx = SimpleNamespace(
            idx_mapping_np=np.array([slot for slot, _ in at], dtype=np.int32),
            pos=torch.tensor([position for _, position in at]),
            input_ids=torch.tensor([int(self.slots.all_token_ids.gpu[place]) for place in at], dtype=torch.int32),
        )
        logits = torch.zeros(len(batch), WIDTH)
        assert self.processor.apply(logits, ctx) is logits
        return logits


@pytest.fixture
def v2(monkeypatch: pytest.MonkeyPatch) -> V2:
    monkeypatch.setattr(processor_v2, "restrictor_of", restrictor)
    return V2()


def test_v2_says_whether_a_request_asks(v2: V2) -> None:
    assert v2.processor.add_request(0, params(ASKING)) is True
    assert v2.processor.add_request(1, params()) is False
    assert v2.processor.add_request(2, params({"other": 1})) is False


def test_v2_follows_the_answer(v2: V2) -> None:
    prompt, answer = encode(PROMPT), encode("Rowl") + encode("x")
    v2.slots.write(3, prompt, answer)
    v2.slots.write(1, prompt, answer)
    v2.processor.add_request(3, params(ASKING))
    v2.processor.add_request(1, params())
    seen = []
    for length in range(len(prompt), len(prompt) + len(answer) + 1):
        logits = v2.step([(1, length), (3, length)])
        assert not logits[0].any()
        seen.append(forbids(logits[1], "i"))
    assert seen == [False] * (len(seen) - 2) + [True, False]


def test_v2_leaves_what_is_sampled_behind_a_part_of_a_prompt(v2: V2) -> None:
    prompt = encode(PROMPT + "Rowl")
    v2.slots.write(0, prompt, [])
    v2.processor.add_request(0, params(ASKING))
    assert not v2.step([(0, 2)]).any()
    assert forbids(v2.step([(0, len(prompt))])[0], "i")


def test_v2_takes_up_an_answer_after_a_preemption(v2: V2) -> None:
    prompt, answer = encode(PROMPT), encode("Rowl")
    v2.slots.write(0, prompt, answer)
    v2.processor.add_request(0, params(ASKING))
    v2.step([(0, len(prompt))])
    v2.slots.write(5, prompt, answer)
    v2.processor.add_request(5, params(ASKING))
    assert forbids(v2.step([(5, len(prompt) + len(answer))])[0], "i")


def test_v2_forgets_who_had_a_slot_before(v2: V2) -> None:
    v2.slots.write(0, encode("Rowl"), [])
    v2.processor.add_request(0, params(ASKING))
    assert forbids(v2.step([(0, len(encode("Rowl")))])[0], "i")
    v2.slots.write(0, encode("Jam"), [])
    v2.processor.add_request(0, params(ASKING))
    assert not forbids(v2.step([(0, len(encode("Jam")))])[0], "i")
    v2.processor.add_request(0, params())
    assert not v2.step([(0, len(encode("Jam")))]).any()


def test_the_attributes_that_the_fakes_stand_for() -> None:
    from dataclasses import fields

    from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsContext, LogitsProcRequestState

    assert {"device", "prompt_len", "all_token_ids"} <= {field.name for field in fields(LogitsProcRequestState)}
    assert {"idx_mapping_np", "pos", "input_ids"} <= {field.name for field in fields(LogitsContext)}
