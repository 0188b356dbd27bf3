"""Which configurations of vLLM corruption and restriction work under. The others are refused when the engine starts."""

from __future__ import annotations

from typing import Any


class UnsupportedEngine(RuntimeError):
    """This vLLM is configured in a way in which a guard could silently miss. The message says which."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Unremember's engine plug-in cannot work here: {reason}. Change that, or start vLLM without the "
            f"plug-in (set VLLM_PLUGINS to the plug-ins you want) and let the gateway decline instead of corrupt."
        )


def generates(config: Any) -> bool:
    """Whether this vLLM generates text at all. A pooling server has nothing to corrupt."""
    return bool(config.model_config is not None and config.model_config.runner_type == "generate")


def check(config: Any, *, plugin: str) -> None:
    """Raise UnsupportedEngine if a ``VllmConfig`` rules our guards out; ``plugin`` is our fingerprint."""
    model, parallel = config.model_config, config.parallel_config
    # Each entry: whether it rules them out, and why.
    reasons = (
        (parallel.use_ubatching, "micro-batch overlap (--enable-dbo, --ubatch-size) splits a batch's rows"),
        (config.speculative_config is not None, "a speculative decoder may share the model's embedding"),
        (model.is_multimodal_model, "a multimodal model computes its embeddings outside the hook"),
        (model.enable_prompt_embeds, "--enable-prompt-embeds lets clients bring embeddings of their own"),
        (model.is_encoder_decoder, "an encoder-decoder model reads its prompt through another embedding"),
        (model.is_diffusion, "a diffusion language model rewrites its rows"),
        (model.return_sampling_mask, "sampling masks (--return-sampling-mask) leave out what a restriction bans"),
        (parallel.prefill_context_parallel_size > 1, "prefill context parallelism splits a prompt's rows"),
        (parallel.enable_elastic_ep, "elastic expert parallelism loads models past the hook"),
        (
            bool(config.compilation_config.mode) and _declared(config) != plugin,
            "compiled graphs are cached under a key that must name the plug-in, or one compiled without it is "
            f'loaded and nothing is corrupted; pass --additional-config \'{{"unremember": "{plugin}"}}\', '
            "or --enforce-eager",
        ),
    )
    for refused, reason in reasons:
        if refused:
            raise UnsupportedEngine(reason)


def _declared(config: Any) -> object:
    declared = config.additional_config
    return declared.get("unremember") if isinstance(declared, dict) else None
