"""What runs inside vLLM: corruption of chosen prompt tokens' embeddings, request by request.

Installed beside vLLM as the wheel ``unremember-engine``. Importing it needs neither vllm nor torch.
"""

from __future__ import annotations

from guards.engine.plugin import fingerprint, register

__all__ = ["fingerprint", "register"]
