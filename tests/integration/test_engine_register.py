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
from vllm.v1.request import RequestStatus
from vllm.v1.structured_output import StructuredOutputManager
from vllm.v1.worker.gpu.model_states.interface import ModelState
from vllm.v1.worker.gpu_model_runner import GPUModelRunner
from vllm.v1.worker.worker_base import WorkerWrapperBase

from guards.engine import plugin, register
from guards.engine.restriction import Forbidden, RestrictionArgs
from guards.engine.sealing import KEY_VARIABLE
from guards.engine.wire import CorruptionArgs

KEY = "the shared key"
GOOD = CorruptionArgs("gaussian-first", 1.0, 0, 1, (0, 4), 12).to_xargs()
RESTRICTED = RestrictionArgs((Forbidden("rowling", 5),)).to_xargs(KEY.encode())


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    # Put back what register() wraps, so that the other tests of the session meet a plain vLLM.
    monkeypatch.setattr(SamplingParams, "_verify_args", SamplingParams._verify_args)
    monkeypatch.setattr(InputProcessor, "process_inputs", InputProcessor.process_inputs)
    monkeypatch.setattr(EngineArgs, "create_engine_config", EngineArgs.create_engine_config)
    monkeypatch.setattr(StructuredOutputManager, "accept_tokens", StructuredOutputManager.accept_tokens)
    monkeypatch.setattr(WorkerWrapperBase, "load_model", None, raising=False)
    monkeypatch.delattr(WorkerWrapperBase, "load_model")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    register()


def test_registering_again_changes_nothing() -> None:
    before = (SamplingParams._verify_args, InputProcessor.process_inputs, WorkerWrapperBase.load_model)
    register()
    assert (SamplingParams._verify_args, InputProcessor.process_inputs, WorkerWrapperBase.load_model) == before


@pytest.mark.parametrize("extra", [None, {}, {"someone_elses": 1}, GOOD, RESTRICTED, GOOD | RESTRICTED])
def test_parameters_that_pass(extra: dict[str, Any] | None) -> None:
    assert SamplingParams(extra_args=extra).extra_args == extra


@pytest.mark.parametrize(
    "extra",
    [
        {"unremember_forbid": 1},
        GOOD | {"unremember_strength": -1},
        GOOD | {"unremember_penalty": 1},
        RESTRICTED | {"unremember_kind": "reverse"},
        RESTRICTED | {"unremember_phrases": "x"},
        RestrictionArgs((Forbidden("rowling", 5),)).to_xargs(b"another key"),
    ],
)
def test_parameters_that_vllm_answers_with_a_400(extra: dict[str, Any]) -> None:
    with pytest.raises(VLLMValidationError, match="unremember_") as refused:
        SamplingParams(extra_args=extra)
    assert refused.value.parameter == "vllm_xargs"


def test_without_a_key_a_restriction_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(VLLMValidationError, match="without a key"):
        SamplingParams(extra_args=RESTRICTED)


@pytest.mark.parametrize(("salt", "passes"), [(None, False), ("", False), ("abc", True)])
def test_a_corruption_needs_a_cache_salt(monkeypatch: pytest.MonkeyPatch, salt: str | None, passes: bool) -> None:
    request = SimpleNamespace(sampling_params=SamplingParams(extra_args=GOOD), cache_salt=salt)
    process_inputs = plugin._admitting(lambda *_: request)
    if passes:
        assert process_inputs(None) is request
    else:
        with pytest.raises(VLLMValidationError, match="cache_salt"):
            process_inputs(None)


def test_a_restriction_needs_none() -> None:
    request = SimpleNamespace(sampling_params=SamplingParams(extra_args=RESTRICTED), cache_salt=None)
    assert plugin._admitting(lambda *_: request)(None) is request


@pytest.mark.parametrize(("extra", "ignored"), [(RESTRICTED, False), (None, True), ({"other": 1}, True)])
def test_a_restricted_grammar_can_end(extra: dict[str, Any] | None, ignored: bool) -> None:
    params = SamplingParams(extra_args=extra, ignore_eos=True)
    params.structured_outputs = object()
    request = SimpleNamespace(sampling_params=params, cache_salt=None)
    processor = SimpleNamespace(renderer=SimpleNamespace(get_eos_token_id=lambda: 2))
    plugin._admitting(lambda *_: request)(processor)
    assert (params.ignore_eos, params.eos_token_id) == (ignored, None if ignored else 2)


@pytest.mark.parametrize(
    ("extra", "status", "asked"),
    [
        (RESTRICTED, RequestStatus.FINISHED_STOPPED, False),
        (RESTRICTED, RequestStatus.RUNNING, True),
        (RESTRICTED, RequestStatus.FINISHED_LENGTH_CAPPED, True),
        (None, RequestStatus.FINISHED_STOPPED, True),
    ],
)
def test_the_grammar_has_no_say_in_how_a_restricted_answer_ends(
    extra: dict[str, Any] | None, status: RequestStatus, asked: bool
) -> None:
    request = SimpleNamespace(sampling_params=SamplingParams(extra_args=extra), status=status)
    accept_tokens = plugin._accepting(lambda *_: False)
    assert accept_tokens(None, request, [2]) is not asked


@pytest.mark.parametrize(("v2", "module"), [(False, "processor_v1"), (True, "processor_v2")])
def test_the_logits_processor_is_named_to_the_workers(monkeypatch: pytest.MonkeyPatch, v2: bool, module: str) -> None:
    monkeypatch.setattr(plugin.support, "check", lambda config, plugin: None)
    model = SimpleNamespace(runner_type="generate", logits_processors=["theirs:Own"])
    config = SimpleNamespace(model_config=model, use_v2_model_runner=v2)
    assert plugin._configuring(lambda *_: config)(None) is config
    assert model.logits_processors == ["theirs:Own", f"guards.engine.{module}:Restriction"]


def test_vllm_loads_what_is_named() -> None:
    from vllm.v1.sample.logits_processor import _load_logitsprocs_by_fqcns
    from vllm.v1.worker.gpu.sample.logits_processor.loader import _load_v2_logitsprocs_by_fqcns

    assert _load_logitsprocs_by_fqcns(["guards.engine.processor_v1:Restriction"])
    assert _load_v2_logitsprocs_by_fqcns(["guards.engine.processor_v2:Restriction"])


def test_the_hooks_are_installed_once_the_worker_has_loaded_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(plugin.support, "check", lambda config, plugin: calls.append("check"))
    monkeypatch.setattr(plugin, "install", calls.append)
    wrapper = WorkerWrapperBase()
    wrapper.vllm_config = SimpleNamespace(model_config=SimpleNamespace(runner_type="generate"), lora_config=None)
    wrapper.worker = SimpleNamespace(model_runner="runner", load_model=lambda: calls.append("load"))
    wrapper.load_model()
    assert calls == ["check", "load", "runner"]


def test_the_attributes_that_the_fakes_of_the_unit_tests_stand_for() -> None:
    for owner, names in (
        (VllmConfig, ("model_config", "parallel_config", "compilation_config", "speculative_config")),
        (VllmConfig, ("additional_config",)),
        (ModelConfig, ("is_multimodal_model", "enable_prompt_embeds", "is_encoder_decoder")),
        (ModelConfig, ("is_diffusion", "return_sampling_mask", "logits_processors", "get_vocab_size")),
        (SamplingParams(), ("eos_token_id", "stop_token_ids", "all_stop_token_ids", "structured_outputs")),
        (SamplingParams(), ("allowed_token_ids", "bad_words_token_ids", "min_tokens", "extra_args", "ignore_eos")),
        (ParallelConfig, ("use_ubatching", "prefill_context_parallel_size", "enable_elastic_ep")),
        (CompilationConfig, ("mode",)),
        (GPUModelRunner, ("_preprocess", "_model_forward", "get_model", "load_model")),
        (ModelState, ("add_request", "remove_request", "prepare_inputs")),
    ):
        for name in names:
            assert hasattr(owner, name) or name in owner.__dataclass_fields__, f"{owner}.{name}"
