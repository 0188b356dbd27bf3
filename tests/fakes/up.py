"""`unremember up` with a small program for vLLM and a small application for the gateway.

    python -m tests.fakes.up ENGINE_MODE APP_MODE DIRECTORY

APP_MODE ``ready``: answers. ``broken``: does not come up. Settings come from the environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from fastapi import FastAPI

from server.cli import commands
from server.cli import up as module
from server.settings import load_settings
from server.supervisor.launch import Launch
from tests.fakes import engine


def main(engine_mode: str, app_mode: str, directory: Path) -> None:
    """Run it, and end as the command line does."""
    settings = load_settings()
    launch = Launch(
        argv=(sys.executable, engine.__file__, str(settings.engine_port), engine_mode, str(directory)),
        environment={**os.environ, "VLLM_API_KEY": "key", "PYTHONUNBUFFERED": "1"},
        log=settings.data_dir / "logs" / "engine.log",
        url=f"http://127.0.0.1:{settings.engine_port}",
        api_key="key",
    )
    sys.modules["server.app"] = application(app_mode)
    with (
        mock.patch.object(module, "model_directory", return_value=directory),
        mock.patch.object(module, "encoder_directory", return_value=directory),
        mock.patch.object(module, "_launch", return_value=launch),
    ):
        sys.argv = ["unremember", "up"]
        commands.run()


def application(mode: str) -> ModuleType:
    """In the place of server.app."""
    fake: Any = ModuleType("server.app")

    def create_app(settings: Any) -> FastAPI:
        app = FastAPI()

        @app.get("/readyz")
        def readyz() -> dict[str, Any]:
            return {"upstreams": settings.upstreams, "model": settings.served_model_name}

        return app

    async def started(app: FastAPI) -> None:
        if mode == "broken":
            raise RuntimeError("SettingsError while opening the registry")

    fake.create_app, fake.started, fake.create_admin_app = create_app, started, lambda app: app
    return fake


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
