"""The command line and environment of the vLLM that ``unremember up`` starts."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guards.engine.sealing import KEY_VARIABLE
from server.assets import served_model_name
from server.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from server.settings import Settings

# Only what the operator has not set in the environment already.
DEFAULT_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB
    # Far above the time for which the gateway keeps an idle connection: it is the gateway that closes them.
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",  # seconds
}
FORCED_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # A development mode opens routes that reach the engine past its key.
    "VLLM_SERVER_DEV_MODE": "0",
}

# Whoever holds the engine's key can then have any path loaded: that is the gateway alone.
ADAPTING_ENVIRONMENT = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start the engine, where its log goes, and how to reach it."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    log: Path
    url: str
    api_key: str = field(repr=False)


def engine_launch(
    settings: Settings, model: Path, *, plugin: str, api_key: str, engine_key: str, environment: Mapping[str, str]
) -> Launch:
    """vLLM on loopback, serving ``model``.

    ``plugin`` is the fingerprint of the engine plug-in. vLLM caches compiled graphs under a key that
    does not see the plug-in; given as additional configuration, the fingerprint enters that key.
    float32 and eager, as measured fastest to start and run on CPU. The gateway's own settings, keys
    among them, are kept from the engine's environment, except ``engine_key``, which the plug-in needs.
    """
    argv = (
        sys.executable,
        "-m",
        "vllm.entrypoints.launchers.api_server.entry",
        *("--model", str(model)),
        *("--served-model-name", served_model_name(settings)),
        *("--host", "127.0.0.1"),
        *("--port", str(settings.engine_port)),
        *("--dtype", "float32"),
        "--enforce-eager",
        *("--max-model-len", str(settings.engine_max_model_len)),
        *("--max-num-seqs", "64"),
        *_adapter_arguments(settings),
        *("--additional-config", json.dumps({"unremember": plugin})),
        *shlex.split(settings.engine_args),
    )
    inherited = {name: value for name, value in environment.items() if not name.upper().startswith(PREFIX)}
    return Launch(
        argv=argv,
        environment={
            **DEFAULT_ENVIRONMENT,
            **inherited,
            **FORCED_ENVIRONMENT,
            **(ADAPTING_ENVIRONMENT if settings.engine_adapters else {}),
            "VLLM_API_KEY": api_key,
            KEY_VARIABLE: engine_key,
        },
        log=settings.data_dir / "logs" / "engine.log",
        url=f"http://127.0.0.1:{settings.engine_port}",
        api_key=api_key,
    )


def _adapter_arguments(settings: Settings) -> tuple[str, ...]:
    """As many slots as there are adapters at once."""
    if not settings.engine_adapters:
        return ()
    slots = str(max(settings.adapter_slots, 1))
    rank = str(settings.engine_adapter_rank)
    return ("--enable-lora", "--max-loras", slots, "--max-cpu-loras", slots, "--max-lora-rank", rank)
