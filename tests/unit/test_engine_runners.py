"""The hooks against fakes of vLLM's two model runners: batches of several requests, computed in chunks."""

import itertools
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from guards.engine import runner_v1, runner_v2
from guards.engine.embedding import Corruptible
from guards.engine.prompt import corrupted_positions
from guards.engine.wire import CorruptionArgs
from tests.examples import examples

pytestmark = pytest.mark.thorough

VOCABULARY, HIDDEN, BATCH = 97, 6, 64


@dataclass
class Request:
    name: str
    prompt: list[int]
    args: CorruptionArgs | None = None
    extra: dict[str, object] = field(default_factory=dict)
    computed: int = 0
    output: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> list[int]:
        return self.prompt + self.output

    @property
    def parameters(self) -> SimpleNamespace:
        xargs = {**self.extra, **(self.args.to_xargs() if self.args else {})}
        return SimpleNamespace(extra_args=xargs or None)


class V1:
    """As much of ``GPUModelRunner`` as the hook touches: one step is ``_preprocess``, then ``_model_forward``."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, HIDDEN)
        self.requests: dict[str, SimpleNamespace] = {}
        self.embedding = Corruptible(self.embed, max_tokens=BATCH)
        runner_v1.install(self, self.embedding)

    def _preprocess(self, scheduler_output: SimpleNamespace, padded: int) -> tuple[torch.Tensor, int]:
        return scheduler_output.ids, padded

    def _model_forward(self, *, input_ids: torch.Tensor) -> torch.Tensor:
        if (input_ids < 0).any():
            raise RuntimeError("the forward pass failed")
        return self.embed(input_ids)

    def step(self, batch: list[tuple[Request, int]]) -> dict[str, torch.Tensor]:
        ids = torch.tensor([token for request, count in batch for token in _next(request, count)])
        # Rows of finished requests stay in the arrays past num_reqs; they must not be read.
        table = np.full((len(batch) + 1, 256), 9, dtype=np.int32)
        for index, (request, _) in enumerate(batch):
            table[index, : len(request.tokens)] = request.tokens
        self.requests = {r.name: SimpleNamespace(sampling_params=r.parameters) for r, _ in batch}
        self.input_batch = SimpleNamespace(
            num_reqs=len(batch),
            req_ids=[request.name for request, _ in batch],
            num_computed_tokens_cpu=np.array([request.computed for request, _ in batch] + [0], dtype=np.int32),
            num_prompt_tokens=np.array([len(request.prompt) for request, _ in batch] + [5], dtype=np.int32),
            token_ids_cpu=table,
        )
        # The scheduler's own order is another one than the batch's.
        counts = {request.name: count for request, count in reversed(batch)}
        self._preprocess(SimpleNamespace(num_scheduled_tokens=counts, ids=ids), BATCH)
        return _split(self._model_forward(input_ids=ids), batch)


class V2:
    """As much of the V2 runner and its model state as the hook touches."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, HIDDEN)
        self.added: list[str] = []
        self.model_state = SimpleNamespace(
            add_request=lambda index, request: self.added.append(request.req_id),
            remove_request=lambda name: self.added.remove(name) if name in self.added else None,
            prepare_inputs=lambda batch, states: {"positions": None},
        )
        self.embedding = Corruptible(self.embed, max_tokens=BATCH)
        runner_v2.install(self, self.embedding)

    def add(self, request: Request) -> None:
        self.model_state.add_request(
            0,
            SimpleNamespace(
                req_id=request.name,
                sampling_params=request.parameters,
                prefill_token_ids=request.tokens,
                prompt_len=len(request.prompt),
            ),
        )

    def step(self, batch: list[tuple[Request, int]]) -> dict[str, torch.Tensor]:
        for request, _ in batch:
            if request.name not in self.added:
                self.add(request)
        counts = np.array([count for _, count in batch], dtype=np.int32)
        prepared = self.model_state.prepare_inputs(
            SimpleNamespace(
                req_ids=[request.name for request, _ in batch],
                num_computed_tokens_np=np.array([request.computed for request, _ in batch], dtype=np.int32),
                num_scheduled_tokens=counts,
                query_start_loc_np=np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
            ),
            None,
        )
        assert prepared == {"positions": None}
        ids = torch.tensor([token for request, count in batch for token in _next(request, count)])
        return _split(self.embed(ids), batch)


def _next(request: Request, count: int) -> list[int]:
    return request.tokens[request.computed : request.computed + count]


def _split(rows: torch.Tensor, batch: list[tuple[Request, int]]) -> dict[str, torch.Tensor]:
    parts = torch.split(rows.detach(), [count for _, count in batch])
    for request, count in batch:
        request.computed += count
    return {request.name: part.clone() for (request, _), part in zip(batch, parts, strict=True)}


def prompt(length: int, first: int = 0) -> list[int]:
    return [(first + 7 * index) % VOCABULARY for index in range(length)]


def args(
    length: int, *spans: int, kind: str = "gaussian-first", strength: float = 2.0, seed: int = 5
) -> CorruptionArgs:
    return CorruptionArgs(kind, strength, 0, seed, spans or (2, 5), length)


@pytest.fixture(params=[V1, V2])
def runner(request: pytest.FixtureRequest) -> V1 | V2:
    return request.param()


def changed(runner: V1 | V2, request: Request, rows: torch.Tensor) -> list[int]:
    with torch.inference_mode():
        clean = runner.embed.weight[torch.tensor(request.tokens[: len(rows)])]
    return torch.nonzero((rows != clean).any(dim=1)).flatten().tolist()


def test_exactly_the_spans_are_corrupted(runner: V1 | V2) -> None:
    request = Request("a", prompt(12), args(12, 2, 5, 9, 10))
    assert changed(runner, request, runner.step([(request, 12)])["a"]) == [2, 3, 4, 9]


def test_others_in_the_batch_stay_clean(runner: V1 | V2) -> None:
    first, asked = Request("first", prompt(9, 4)), Request("asked", prompt(12), args(12))
    last = Request("last", prompt(7, 30), extra={"someone_elses": 1})
    rows = runner.step([(first, 9), (asked, 12), (last, 7)])
    assert changed(runner, first, rows["first"]) == []
    assert changed(runner, asked, rows["asked"]) == [2, 3, 4]
    assert changed(runner, last, rows["last"]) == []


def test_two_in_one_batch_get_what_each_would_get_alone(runner: V1 | V2) -> None:
    def pair() -> tuple[Request, Request]:
        return Request("a", prompt(12), args(12, seed=1)), Request("b", prompt(9), args(9, 4, 8, seed=2))

    a, b = pair()
    together = runner.step([(a, 12), (b, 9)])
    for request in pair():
        alone = type(runner)()
        assert torch.equal(alone.step([(request, len(request.prompt))])[request.name], together[request.name])


def test_the_step_after_is_clean(runner: V1 | V2) -> None:
    asked, clean = Request("asked", prompt(12), args(12)), Request("clean", prompt(12))
    runner.step([(asked, 12)])
    assert changed(runner, clean, runner.step([(clean, 12)])["clean"]) == []


@pytest.mark.parametrize("make", [V1, V2])
@examples(25)
@given(cuts=st.sets(st.integers(1, 29)), kind=st.sampled_from(["gaussian-first", "gaussian-random", "shuffle"]))
def test_chunks_give_the_same_rows(make: type[V1 | V2], cuts: set[int], kind: str) -> None:
    asked = args(30, 3, 11, 17, 26, kind=kind)
    whole = make().step([(Request("a", prompt(30), asked), 30)])["a"]
    runner, request, filler = make(), Request("a", prompt(30), asked), Request("b", prompt(64))
    parts = []
    bounds = [0, *sorted(cuts), 30]
    for start, end in itertools.pairwise(bounds):
        parts.append(runner.step([(filler, 1), (request, end - start)])["a"])
    assert torch.equal(torch.cat(parts), whole)


def test_a_cached_prefix_shifts_nothing(runner: V1 | V2) -> None:
    whole = type(runner)().step([(Request("a", prompt(12), args(12, 2, 9)), 12)])["a"]
    warm = Request("a", prompt(12), args(12, 2, 9), computed=4)
    assert torch.equal(runner.step([(warm, 8)])["a"], whole[4:])


def test_output_tokens_are_never_corrupted(runner: V1 | V2) -> None:
    request = Request("a", prompt(12), args(12, 0, 12))
    runner.step([(request, 12)])
    request.output = [5]
    rows = runner.step([(request, 1)])["a"]
    with torch.inference_mode():
        assert torch.equal(rows[0], runner.embed.weight[5])


def test_recomputation_after_a_preemption(runner: V1 | V2) -> None:
    request = Request("a", prompt(12), args(12, 2, 12))
    before = runner.step([(request, 12)])["a"]
    request.output, request.computed = [5, 6], 0
    if isinstance(runner, V2):
        runner.model_state.remove_request("a")
    after = runner.step([(request, 14)])["a"]
    assert torch.equal(after[:12], before)
    assert changed(runner, request, after) == list(range(2, 12))


def test_a_wrong_count_corrupts_everything_but_the_last(runner: V1 | V2) -> None:
    request = Request("a", prompt(12), args(13, 2, 5))
    assert changed(runner, request, runner.step([(request, 12)])["a"]) == list(range(11))


def test_strength_zero_is_clean(runner: V1 | V2) -> None:
    request = Request("a", prompt(12), args(12, strength=0, kind="zero-first"))
    assert changed(runner, request, runner.step([(request, 12)])["a"]) == []


def test_an_unasked_batch_writes_and_clears_nothing(runner: V1 | V2, monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: object) -> None:
        raise AssertionError("touched the buffers")

    monkeypatch.setattr(runner.embedding, "write", unexpected)
    monkeypatch.setattr(runner.embedding, "base", unexpected)
    monkeypatch.setattr(torch.Tensor, "zero_", unexpected)
    request = Request("a", prompt(12))
    runner.step([(request, 8)])
    runner.step([(request, 4)])


def test_v1_clears_after_a_failed_pass() -> None:
    runner = V1()
    asked, clean = Request("asked", [*prompt(11), -1], args(12)), Request("clean", prompt(12))
    with pytest.raises(RuntimeError, match="forward pass"):
        runner.step([(asked, 12)])
    assert changed(runner, clean, runner.step([(clean, 12)])["clean"]) == []


def test_v2_forgets_a_request_that_is_removed() -> None:
    runner = V2()
    asked = Request("a", prompt(12), args(12))
    runner.step([(asked, 12)])
    runner.model_state.remove_request("a")
    again = Request("a", prompt(12))
    assert changed(runner, again, runner.step([(again, 12)])["a"]) == []


@pytest.mark.parametrize(
    ("asked", "tokens", "expected"),
    [
        (args(6, 1, 3, 4, 5), 6, [1, 2, 4]),
        (args(6, 1, 3), 7, [0, 1, 2, 3, 4, 5]),
        (args(1, 0, 1), 1, [0]),
        (args(2, 0, 1), 1, [0]),
        (args(6, 1, 2, kind="reverse"), 6, [0, 1, 2, 3, 4]),
        (args(6, 1, 3, kind="reverse"), 6, [1, 2]),
        (args(6, 1, 3, strength=0.0), 7, []),
    ],
)
def test_corrupted_positions(asked: CorruptionArgs, tokens: int, expected: list[int]) -> None:
    assert corrupted_positions(asked, tokens).tolist() == expected
