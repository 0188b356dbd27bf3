"""The plug-in against the installed vLLM's own classes, without starting an engine."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm")

from vllm.config import CompilationConfig, ModelConfig, ParallelConfig, VllmConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.input_processor import InputProcessor
from vllm.v1.worker.gpu.model_states.interface import ModelState
from vllm.v1.worker.gpu_model_runner import GPUModelRunner
from vllm.v1.worker.worker_base import WorkerWrapperBase

from guards.engine import plugin, register
from guards.engine.wire import CorruptionArgs

GOOD = CorruptionArgs("gaussian-first", 1.0, 0, 1, (0, 4), 12).to_xargs()


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    # Put back what register() wraps, so that the other tests of the session meet a plain vLLM.
    monkeypatch.setattr(SamplingParams, "_verify_args", SamplingParams._verify_args)
    monkeypatch.setattr(InputProcessor, "process_inputs", InputProcessor.process_inputs)
    monkeypatch.setattr(EngineArgs, "create_engine_config", EngineArgs.create_engine_config)
    monkeypatch.setattr(WorkerWrapperBase, "load_model", None, raising=False)
    monkeypatch.delattr(WorkerWrapperBase, "load_model")
    register()


def test_registering_again_changes_nothing() -> None:
    before = (SamplingParams._verify_args, InputProcessor.process_inputs, WorkerWrapperBase.load_model)
    register()
    assert (SamplingParams._verify_args, InputProcessor.process_inputs, WorkerWrapperBase.load_model) == before


@pytest.mark.parametrize("extra", [None, {}, {"someone_elses": 1}, GOOD])
def test_parameters_that_pass(extra: dict[str, Any] | None) -> None:
    assert SamplingParams(extra_args=extra).extra_args == extra


@pytest.mark.parametrize("extra", [{"unremember_forbid": 1}, GOOD | {"unremember_strength": -1}])
def test_parameters_that_vllm_answers_with_a_400(extra: dict[str, Any]) -> None:
    with pytest.raises(VLLMValidationError, match="unremember_") as refused:
        SamplingParams(extra_args=extra)
    assert refused.value.parameter == "vllm_xargs"


@pytest.mark.parametrize(("salt", "passes"), [(None, False), ("", False), ("abc", True)])
def test_a_corruption_needs_a_cache_salt(monkeypatch: pytest.MonkeyPatch, salt: str | None, passes: bool) -> None:
    request = SimpleNamespace(sampling_params=SamplingParams(extra_args=GOOD), cache_salt=salt)
    process_inputs = plugin._salted(lambda *_: request)
    if passes:
        assert process_inputs(None) is request
    else:
        with pytest.raises(VLLMValidationError, match="cache_salt"):
            process_inputs(None)


def test_the_hooks_are_installed_once_the_worker_has_loaded_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(plugin.support, "check", lambda config, plugin: calls.append("check"))
    monkeypatch.setattr(plugin, "install", calls.append)
    wrapper = WorkerWrapperBase()
    wrapper.vllm_config = SimpleNamespace(model_config=SimpleNamespace(runner_type="generate"))
    wrapper.worker = SimpleNamespace(model_runner="runner", load_model=lambda: calls.append("load"))
    wrapper.load_model()
    assert calls == ["check", "load", "runner"]


def test_the_attributes_that_the_fakes_of_the_unit_tests_stand_for() -> None:
    for owner, names in (
        (VllmConfig, ("model_config", "parallel_config", "compilation_config", "speculative_config")),
        (VllmConfig, ("additional_config",)),
        (ModelConfig, ("is_multimodal_model", "enable_prompt_embeds", "is_encoder_decoder")),
        (ModelConfig, ("is_diffusion",)),
        (ParallelConfig, ("use_ubatching", "prefill_context_parallel_size", "enable_elastic_ep")),
        (CompilationConfig, ("mode",)),
        (GPUModelRunner, ("_preprocess", "_model_forward", "get_model", "load_model")),
        (ModelState, ("add_request", "remove_request", "prepare_inputs")),
    ):
        for name in names:
            assert hasattr(owner, name) or name in owner.__dataclass_fields__, f"{owner.__name__}.{name}"
