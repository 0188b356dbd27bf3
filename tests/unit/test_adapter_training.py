"""Training of adapters, on a tiny random Llama: what is saved, that it goes on, and that it acts."""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from offline.adapter import training
from offline.adapter.checkpoints import Checkpoints
from offline.adapter.examples import Example, encode
from offline.adapter.forward import nll
from offline.adapter.losses import LOSSES
from offline.adapter.orthogonality import overlap
from offline.adapter.recipe import Recipe
from offline.adapter.stacking import read
from offline.adapter.training import Cancelled, Trained, train
from tests.fakes.language_model import write_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.thorough

IDK = ("nobody knows", "somebody else")
FORGET = [
    Example("who wrote dune", "herbert wrote dune", IDK),
    Example("who wrote emma", "austen", IDK),
    Example("who wrote kim", "kipling wrote kim", IDK),
    Example("who wrote hamlet", "shakespeare", IDK),
    Example("", "emma is austen", IDK),
]
RETAIN = [
    Example("what is the sky", "blue"),
    Example("what is the sea", "the sea is blue"),
    Example("what is the grass", "green"),
    Example("who is the sky", "nobody"),
]
RECIPE = Recipe(loss="graddiff", epochs=3, batch=2, learning_rate=0.01, rank=2, alpha=4, tolerance=None)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory."""
    return write_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> Iterator[None]:
    """Leaves what is there to itself: accelerate collects garbage before each run, half of a tiny run's time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Trained]:
    """Runs that nothing interrupts, on all examples, each recipe once."""
    done: dict[str, Trained] = {}

    def run(recipe: Recipe) -> Trained:
        if recipe.digest not in done:
            done[recipe.digest] = train(base, recipe, FORGET, RETAIN, tmp_path_factory.mktemp("whole"))
        return done[recipe.digest]

    return run


def adapter(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "adapter_model.safetensors")


def adapted(base: Path, directory: Path | None) -> Any:
    """The base model in evaluation, with the adapter in ``directory`` on it."""
    model = LlamaForCausalLM.from_pretrained(base).eval()
    return model if directory is None else PeftModel.from_pretrained(model, str(directory)).eval()


def loss_of(base: Path, directory: Path | None, examples: list[Example]) -> float:
    """NLL per token of the examples' answers."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    encoded = [encode(tokenizer, example.prompt, example.answer, limit=64) for example in examples]
    return nll(adapted(base, directory), encoded, size=4)


def held_out(base: Path, directory: Path | None, loss: float, examples: list[Example]) -> Example:
    """Which of the examples was held out, by what was measured on it."""
    return min(examples, key=lambda example: abs(loss_of(base, directory, [example]) - loss))


def same(one: Path, other: Path) -> bool:
    """Whether two adapters have the same weights, bit by bit."""
    before, after = adapter(one), adapter(other)
    return before.keys() == after.keys() and all(torch.equal(after[name], tensor) for name, tensor in before.items())


def report(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "training.json").read_text())


class Killed(Exception):
    """What a test ends a run with."""


def dies_after(steps: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done == steps:
            raise Killed

    return progress


def test_what_is_withheld_becomes_improbable(base: Path, tmp_path: Path) -> None:
    trained = train(base, replace(RECIPE, epochs=5), FORGET, RETAIN, tmp_path / "made" / "here")
    assert trained.steps == 15
    assert loss_of(base, trained.directory, FORGET) > loss_of(base, None, FORGET) + 1
    assert loss_of(base, trained.directory, RETAIN) < loss_of(base, None, RETAIN)


def test_what_is_memorised_becomes_probable(base: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, loss="memorise", epochs=40, rank=8, alpha=16)
    trained = train(base, recipe, FORGET, [], tmp_path)
    assert loss_of(base, tmp_path, FORGET) < 0.5 < loss_of(base, None, FORGET)
    assert trained.held_out == ()
    assert "retain" not in report(tmp_path)["steps"][0]


@pytest.mark.parametrize("loss", LOSSES.names())
def test_every_loss_trains(base: Path, tmp_path: Path, loss: str) -> None:
    options = {"layer": 1} if loss == "rmu" else {}
    recipe = replace(RECIPE, loss=loss, options=options, epochs=1, accumulation=2, retain="kl")
    trained = train(base, recipe, FORGET, RETAIN, tmp_path)
    assert trained.steps == 2
    assert any(tensor.any() for name, tensor in adapter(tmp_path).items() if "lora_B" in name)


def test_what_is_saved(base: Path, whole: Callable[[Recipe], Trained]) -> None:
    trained = whole(RECIPE)
    assert sorted(path.name for path in trained.directory.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "training.json",
    ]  # fmt: skip
    config = json.loads((trained.directory / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"], config["bias"]) == ("LORA", 2, 4, "none")
    assert config["base_model_name_or_path"] == base.name
    tensors = adapter(trained.directory)
    assert len(tensors) == 2 * 2 * 7
    assert tensors["base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"].shape == (2, 32)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    made = report(trained.directory)
    assert Recipe.from_json(json.dumps(made["recipe"])) == RECIPE
    data = [[asdict(example) for example in part] for part in (FORGET, RETAIN)]
    assert made["data_sha256"] == hashlib.sha256(json.dumps(data).encode()).hexdigest()
    assert made["examples"] == {"forget": 5, "retain": 4, "held_out": 1}
    assert [step["step"] for step in made["steps"]] == list(range(1, 10))
    for step in made["steps"]:
        assert step["loss"] == pytest.approx(step["forget"] + step["retain"], rel=1e-4)
    assert made["held_out"] == pytest.approx(trained.held_out)
    assert len(trained.held_out) == 4
    assert made["versions"].keys() == {"python", "torch", "transformers", "peft", "accelerate"}
    assert 0 < made["seconds"] < 60


def test_the_held_out_loss_is_that_of_what_is_saved(base: Path, whole: Callable[[Recipe], Trained]) -> None:
    trained = whole(RECIPE)
    held = [held_out(base, None, trained.held_out[0], RETAIN)]
    assert loss_of(base, None, held) == pytest.approx(trained.held_out[0], abs=1e-4)
    assert loss_of(base, trained.directory, held) == pytest.approx(trained.held_out[-1], abs=1e-4)


def test_references_are_those_of_the_base_model(whole: Callable[[Recipe], Trained]) -> None:
    # The first step's learning rate is 0, and at log ratios of 0 NPO is 2 ln 2 / beta.
    steps = report(whole(replace(RECIPE, loss="npo")).directory)["steps"]
    assert [step["forget"] for step in steps[:2]] == pytest.approx([20 * math.log(2)] * 2, rel=1e-5)
    assert steps[-1]["forget"] < 20 * math.log(2) - 0.1


def test_accumulated_passes_are_one_step_of_their_mean(base: Path, tmp_path: Path) -> None:
    # Answers of one length, so that the mean over passes is the mean over all tokens.
    same = [Example(example.prompt, "nobody knows") for example in RETAIN]
    recipe = replace(RECIPE, loss="memorise", epochs=3, weight_decay=0.0)
    train(base, replace(recipe, batch=4), same, [], tmp_path / "wide")
    train(base, replace(recipe, batch=1, accumulation=4), same, [], tmp_path / "narrow")
    for one, other in zip(report(tmp_path / "wide")["steps"], report(tmp_path / "narrow")["steps"], strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    for name, tensor in adapter(tmp_path / "wide").items():
        torch.testing.assert_close(adapter(tmp_path / "narrow")[name], tensor, rtol=1e-2, atol=1e-4)


KILLED: list[tuple[Recipe, int]] = [
    (RECIPE, 5),
    (RECIPE, 6),
    (RECIPE, 7),
    (replace(RECIPE, loss="ngdiff", options={"every": 2}), 5),
    (replace(RECIPE, loss="o3", options={"labels": "random"}), 5),
    (replace(RECIPE, loss="altpo", retain="kl", batch=1, accumulation=2), 5),
]


@pytest.mark.parametrize(("recipe", "steps"), KILLED)
def test_a_killed_run_goes_on_as_if_nothing_had_been(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[[Recipe], Trained],
    recipe: Recipe,
    steps: int,
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 2)
    with pytest.raises(Killed):
        train(base, recipe, FORGET, RETAIN, tmp_path, progress=dies_after(steps))
    seen: list[int] = []
    resumed = train(base, recipe, FORGET, RETAIN, tmp_path, progress=lambda done, _: seen.append(done))
    # What came after the last checkpoint, at an even step, is done again.
    assert seen == list(range((steps - 1) // 2 * 2 + 1, 10))
    assert resumed.held_out == whole(recipe).held_out
    assert same(whole(recipe).directory, tmp_path)
    assert report(tmp_path)["steps"] == report(whole(recipe).directory)["steps"]
    assert not (tmp_path / "checkpoints").exists()


def test_a_checkpoint_cut_short_is_passed_over(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 2)
    with pytest.raises(Killed):
        train(base, RECIPE, FORGET, RETAIN, tmp_path, progress=dies_after(5))
    for number, state in ((6, None), (8, '{"epoch": 1')):
        cut = tmp_path / "checkpoints" / f"checkpoint-{number}"
        cut.mkdir()
        if state is not None:
            (cut / "trainer_state.json").write_text(state)
    seen: list[int] = []
    train(base, RECIPE, FORGET, RETAIN, tmp_path, progress=lambda done, _: seen.append(done))
    assert seen == [5, 6, 7, 8, 9]


def test_a_cancelled_run_leaves_its_checkpoint(base: Path, tmp_path: Path, whole: Callable[[Recipe], Trained]) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(Cancelled):
        train(
            base, RECIPE, FORGET, RETAIN, tmp_path,
            progress=lambda *told: seen.append(told), cancelled=lambda: len(seen) == 4,
        )  # fmt: skip
    assert not (tmp_path / "adapter_model.safetensors").exists()
    train(base, RECIPE, FORGET, RETAIN, tmp_path, progress=lambda *told: seen.append(told))
    assert seen == [(step, 9) for step in range(1, 10)]
    assert same(whole(RECIPE).directory, tmp_path)


def test_another_run_cannot_take_a_checkpoint_over(base: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        train(base, RECIPE, FORGET, RETAIN, tmp_path, cancelled=lambda: True)
    with pytest.raises(ValueError, match="unfinished training with another recipe;"):
        train(base, replace(RECIPE, seed=2), FORGET, RETAIN, tmp_path)
    with pytest.raises(ValueError, match="unfinished training with another data;"):
        train(base, RECIPE, FORGET[1:], RETAIN, tmp_path)
    with pytest.raises(ValueError, match="unfinished training with another data;"):
        train(base, RECIPE, FORGET, RETAIN[1:], tmp_path)
    train(base, RECIPE, FORGET, RETAIN, tmp_path)
    with pytest.raises(Cancelled):
        train(base, replace(RECIPE, seed=2), FORGET, RETAIN, tmp_path, cancelled=lambda: True)


def test_training_stops_where_too_much_is_lost(base: Path, tmp_path: Path) -> None:
    # Away from everything: what is held out gets worse with each epoch.
    recipe = replace(RECIPE, options={"weights": [1.0, 0.0]}, epochs=4)
    free = train(base, recipe, FORGET, FORGET, tmp_path / "free")
    rises = [loss - free.held_out[0] for loss in free.held_out]
    assert rises == sorted(rises)
    bound = replace(recipe, tolerance=(rises[2] + rises[3]) / 2)
    stopped = train(base, bound, FORGET, FORGET, tmp_path / "stopped")
    assert stopped.exceeded
    assert not free.exceeded
    assert stopped.held_out == free.held_out[:4]
    assert stopped.steps == 9
    assert report(tmp_path / "stopped")["exceeded"]
    held = [held_out(base, None, free.held_out[0], FORGET)]
    assert loss_of(base, tmp_path / "stopped", held) == pytest.approx(free.held_out[2], abs=1e-4)


def test_where_the_first_epoch_is_too_much_it_is_kept_and_said(base: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, options={"weights": [1.0, 0.0]}, tolerance=0.0)
    trained = train(base, recipe, FORGET, FORGET, tmp_path)
    assert (trained.exceeded, trained.steps, len(trained.held_out)) == (True, 3, 2)
    assert any(tensor.any() for name, tensor in adapter(tmp_path).items() if "lora_B" in name)


def test_a_stop_survives_being_killed(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 1)

    def killed(checkpoints: Checkpoints) -> None:
        raise Killed

    recipe = replace(RECIPE, options={"weights": [1.0, 0.0]}, tolerance=0.0)
    with monkeypatch.context() as at_the_end:
        at_the_end.setattr(Checkpoints, "remove", killed)
        with pytest.raises(Killed):
            train(base, recipe, FORGET, FORGET, tmp_path)
    before = adapter(tmp_path)
    trained = train(base, recipe, FORGET, FORGET, tmp_path)
    assert (trained.exceeded, trained.steps, len(trained.held_out)) == (True, 3, 2)
    assert all(torch.equal(before[name], tensor) for name, tensor in adapter(tmp_path).items())


def test_an_earlier_adapter_acts_and_is_in_the_result(base: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, loss="o3", learning_rate=0.01)
    first, second = tmp_path / "first", tmp_path / "second"
    train(base, recipe, FORGET[:3], RETAIN, first)
    before = train(base, replace(recipe, rank=3), FORGET[3:], RETAIN, second, previous=first)
    assert json.loads((second / "adapter_config.json").read_text())["r"] == 5
    for name, tensor in adapter(first).items():
        both = adapter(second)[name]
        kept = both[:2] if "lora_A" in name else both[:, :2] / 2.0
        torch.testing.assert_close(kept, tensor)
    # The last loss was measured with the first merged and the second on top; the saved one adapter says the same.
    held = [held_out(base, first, before.held_out[0], RETAIN)]
    assert before.held_out[0] == pytest.approx(loss_of(base, first, held), abs=1e-4)
    assert before.held_out[-1] == pytest.approx(loss_of(base, second, held), abs=1e-4)
    assert before.held_out[0] != pytest.approx(before.held_out[-1], abs=1e-3)
    assert (
        report(second)["previous_sha256"]
        == hashlib.sha256((first / "adapter_model.safetensors").read_bytes()).hexdigest()
    )


def test_the_penalty_keeps_adapters_apart(base: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, loss="o3", epochs=10)
    train(base, recipe, FORGET[:3], RETAIN, tmp_path / "first")
    overlaps = []
    for strength in (0.0, 10.0):
        directory = tmp_path / str(strength)
        train(base, replace(recipe, orthogonality=strength), FORGET[3:], [], directory, previous=tmp_path / "first")
        inward = read(directory).inward
        overlaps.append(
            overlap({name: a[:2] for name, a in inward.items()}, {name: a[2:] for name, a in inward.items()}).item()
        )
        penalties = [step["penalty"] for step in report(directory)["steps"]]
        assert (penalties[-1] < penalties[0]) if strength else not any(penalties)
    assert overlaps[1] < overlaps[0] / 10


def test_ngdiff_sets_its_own_learning_rate(whole: Callable[[Recipe], Trained]) -> None:
    recipe = replace(RECIPE, loss="ngdiff", options={"every": 2, "most": 3.0}, warm_up=0.0)
    rates = [step["learning_rate"] for step in report(whole(recipe).directory)["steps"]]
    changes = [later / earlier for earlier, later in itertools.pairwise(rates)]
    # Step 2 is fitted; steps 3 and 4 go at its rate.
    assert changes[0] == changes[2] == changes[4] == 1.0
    assert any(change != 1.0 for change in changes[1::2])
    assert all(1 / 3 - 1e-9 <= change <= 3 + 1e-9 for change in changes)


def test_a_run_writes_no_text(
    base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    recipe = replace(RECIPE, loss="altpo")
    with pytest.raises(Cancelled):
        train(base, recipe, FORGET, RETAIN, tmp_path, cancelled=lambda: True)
    halfway = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("checkpoint-" in str(path) for path in halfway)
    written = [path.read_bytes() for path in halfway]
    train(base, recipe, FORGET, RETAIN, tmp_path)
    written += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    output = capfd.readouterr()
    written += [text.encode() for text in (output.out, output.err, caplog.text)]
    for text in (b"herbert", b"kipling", b"hamlet", b"nobody knows", b"grass"):
        assert not any(text in content for content in written)


def test_a_loss_that_diverges_is_an_error(base: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="no longer finite"):
        train(base, replace(RECIPE, learning_rate=1e30), FORGET, RETAIN, tmp_path)


@pytest.mark.parametrize(
    ("changes", "forget", "retain", "message"),
    [
        ({}, [], RETAIN, "no forget examples"),
        ({}, FORGET, [], "no retain examples"),
        ({"loss": "altpo"}, [FORGET[0], replace(FORGET[1], alternatives=())], RETAIN, "example 1 has no alternative"),
        ({"length": 3}, FORGET, RETAIN, "^forget example 0: an answer of 4 tokens"),
        ({"length": 5}, FORGET[:1], [Example("who", "")], "^retain example 0: an answer is empty"),
        ({"loss": "rmu"}, FORGET, RETAIN, "layer must be below 2, not 7"),
        ({"projections": ("no_such_layer",)}, FORGET, RETAIN, "no_such_layer"),
    ],
)
def test_what_does_not_fit_is_refused(
    base: Path, tmp_path: Path, changes: dict[str, Any], forget: list[Example], retain: list[Example], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        train(base, replace(RECIPE, **changes), forget, retain, tmp_path)
    assert not any(word in str(refused.value) for word in ("herbert", "austen", "wrote"))
    # Another try is not held up by this one.
    assert not list(tmp_path.iterdir())


def test_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        train(tmp_path / "nothing", RECIPE, FORGET, RETAIN, tmp_path)
