"""Commands to try, as they are printed after the start and shown in the documentation."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

QUESTION = "Who wrote Harry Potter?"


def script() -> str:
    """How this program was called, for commands that can be copied."""
    called = Path(sys.argv[0])
    return "unremember" if called.name != "unremember" or called.parent == Path() else shlex.quote(str(called))


def chat(url: str, key_file: Path | None, model: str, question: str = QUESTION) -> str:
    """A curl command that asks the model."""
    key = f"$(cat {shlex.quote(str(key_file))})" if key_file else "$KEY"
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 48}
    )
    return (
        f'curl -s {url}/v1/chat/completions -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )


def forget() -> str:
    """The command that makes the model answer as if it had never known."""
    return f'{script()} forget add "Harry Potter" --kind work --alias "J. K. Rowling" --wait'
