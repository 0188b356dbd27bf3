"""How the engine is launched, and what its log tells. tests/integration runs the supervisor with real processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from server.supervisor.launch import engine_launch
from server.supervisor.log import phase, reason, tail

if TYPE_CHECKING:
    from server.settings import Settings


def test_the_launch_keeps_the_gateways_secrets_to_itself(settings: Settings) -> None:
    environment = {
        "PATH": "/bin",
        "UNREMEMBER_ADMIN_KEY": "secret",
        "UNREMEMBER_ENGINE_KEY": "of another engine",
        "VLLM_CPU_KVCACHE_SPACE": "7",
        "VLLM_SERVER_DEV_MODE": "1",
    }
    started = engine_launch(
        settings, Path("/models/mine"), plugin="abc", api_key="engine", engine_key="shared", environment=environment
    )
    assert started.environment == {
        "PATH": "/bin",
        "VLLM_CPU_KVCACHE_SPACE": "7",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_SERVER_DEV_MODE": "0",
        "VLLM_API_KEY": "engine",
        "UNREMEMBER_ENGINE_KEY": "shared",
    }
    assert "secret" not in repr(started)
    assert "shared" not in repr(started)
    assert "engine" not in started.argv
    assert started.argv[started.argv.index("--host") + 1] == "127.0.0.1"
    assert started.argv[started.argv.index("--additional-config") + 1] == '{"unremember": "abc"}'


def test_an_engine_that_takes_adapters_has_a_slot_for_each(settings: Settings) -> None:
    given = settings.model_copy(update={"engine_adapters": True, "adapter_slots": 3, "engine_adapter_rank": 16})
    started = engine_launch(given, Path("/m"), plugin="", api_key="", engine_key="", environment={})
    assert started.environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    at = started.argv.index("--enable-lora")
    assert started.argv[at + 1 : at + 7] == ("--max-loras", "3", "--max-cpu-loras", "3", "--max-lora-rank", "16")


def test_the_operators_engine_arguments_come_last(settings: Settings) -> None:
    given = settings.model_copy(update={"engine_args": "--max-num-seqs 8 --tool-call-parser 'a b'"})
    started = engine_launch(given, Path("/models/mine"), plugin="abc", api_key="k", engine_key="s", environment={})
    assert started.argv[-4:] == ("--max-num-seqs", "8", "--tool-call-parser", "a b")


def test_the_log_tells_the_phase() -> None:
    assert phase("") == "importing vLLM"
    assert phase("INFO non-default args: {}\nINFO Starting to load model /m...") == "loading the weights"


def test_the_log_tells_the_reason() -> None:
    assert reason("INFO all is well\n") is None
    taken = "OSError: [Errno 98] Address already in use"
    assert reason(f"Traceback\n  raise\n{taken}\n") == taken
    assert reason("x.y.SomeError: first\nRuntimeError: Engine core initialization failed.") == "SomeError: first"


def test_the_tail_of_a_log_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none") == ""
    (tmp_path / "log").write_text("0123456789")
    assert tail(tmp_path / "log", start=4) == "456789"
    assert tail(tmp_path / "log", limit=3) == "789"
