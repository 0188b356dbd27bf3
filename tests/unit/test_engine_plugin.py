import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import guards.engine
from guards.engine import support

HOME = Path(guards.engine.__file__).parent


def config(**changes: Any) -> SimpleNamespace:
    """A ``VllmConfig`` that suits, but for ``part__field=value`` changes."""
    parts = SimpleNamespace(
        model_config=SimpleNamespace(
            runner_type="generate",
            is_multimodal_model=False,
            enable_prompt_embeds=False,
            is_encoder_decoder=False,
            is_diffusion=False,
            return_sampling_mask=False,
        ),
        parallel_config=SimpleNamespace(use_ubatching=False, prefill_context_parallel_size=1, enable_elastic_ep=False),
        compilation_config=SimpleNamespace(mode=0),
        speculative_config=None,
        additional_config={},
    )
    for path, value in changes.items():
        *owners, field = path.split("__")
        owner = parts
        for name in owners:
            owner = getattr(owner, name)
        assert hasattr(owner, field)
        setattr(owner, field, value)
    return parts


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"compilation_config__mode": 3, "additional_config": {"unremember": "abc"}},
        {"additional_config": {"unremember": "of another version"}},
    ],
)
def test_configurations_that_suit(changes: dict[str, Any]) -> None:
    support.check(config(**changes), plugin="abc")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"parallel_config__use_ubatching": True}, "micro-batch overlap"),
        ({"speculative_config": object()}, "speculative"),
        ({"model_config__is_multimodal_model": True}, "multimodal"),
        ({"model_config__enable_prompt_embeds": True}, "--enable-prompt-embeds"),
        ({"model_config__is_encoder_decoder": True}, "encoder-decoder"),
        ({"model_config__is_diffusion": True}, "diffusion"),
        ({"model_config__return_sampling_mask": True}, "--return-sampling-mask"),
        ({"parallel_config__prefill_context_parallel_size": 2}, "context parallelism"),
        ({"parallel_config__enable_elastic_ep": True}, "elastic"),
        ({"compilation_config__mode": 3}, "--additional-config"),
        ({"compilation_config__mode": 3, "additional_config": {"unremember": "old"}}, "--additional-config"),
        ({"compilation_config__mode": 3, "additional_config": object()}, "--additional-config"),
    ],
)
def test_configurations_that_are_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(support.UnsupportedEngine, match=reason):
        support.check(config(**changes), plugin="abc")


def test_a_pooling_server_is_left_alone() -> None:
    assert support.generates(config())
    assert not support.generates(config(model_config__runner_type="pooling"))


def test_the_fingerprint_is_short_and_stable() -> None:
    assert guards.engine.fingerprint() == guards.engine.fingerprint()
    assert len(bytes.fromhex(guards.engine.fingerprint())) == 8


def test_the_wheel_holds_the_engine_alone_and_depends_on_little() -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"] == ["guards.engine"]
    assert project["project"]["dependencies"] == ["confusable-homoglyphs>=3.3,<4", "cryptography>=45"]
    assert project["project"]["entry-points"]["vllm.general_plugins"] == {"unremember": "guards.engine:register"}


def test_nothing_else_of_ours_is_imported() -> None:
    lines = [line.strip() for source in HOME.glob("*.py") for line in source.read_text().splitlines()]
    ours = [line for line in lines if line.startswith(("from guards", "import guards", "from server", "from offline"))]
    assert ours
    assert all(line.startswith("from guards.engine") for line in ours)
