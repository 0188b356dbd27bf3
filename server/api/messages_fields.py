"""What may be in a body of ``/v1/messages``: Anthropic's fields and vLLM 0.32's."""

from __future__ import annotations

from typing import Final

from server.api import fields as f
from server.api import sampling
from server.errors import BadRequest

_NO_TOOLS: Final = "the server runs no tools itself"
COUNTED: Final = {
    # What a count of tokens is asked by
    "cache_control": f.OBJECT,
    "chat_template_kwargs": f.SCALARS_BY_NAME,
    "context_management": f.OBJECT,
    "messages": f.OBJECTS,
    "model": f.STRING,
    "output_config": f.OBJECT,
    "speed": f.STRING,
    "system": f.STRING_OR_LIST,
    "thinking": f.OBJECT,
    "tool_choice": f.OBJECT,
    "tools": f.OBJECTS,
}
ALLOWED: Final = COUNTED | {
    # Anthropic
    "diagnostics": f.OBJECT,
    "inference_geo": f.STRING,
    "max_tokens": f.INTEGER,
    "metadata": f.OBJECT,
    "service_tier": f.STRING,
    "stop_sequences": f.STOPS,
    "stream": f.BOOLEAN,
    "temperature": f.NUMBER,
    "top_k": f.INTEGER,
    "top_p": f.NUMBER,
    "user_profile_id": f.STRING,
    "workspace_id": f.STRING,
    # vLLM
    "cache_salt": f.STRING,
    "watermarking": f.BOOLEAN,
}
REFUSED: Final = sampling.REFUSED | {
    "chat_template": f.TEMPLATE,
    "container": _NO_TOOLS,
    "mcp_servers": _NO_TOOLS,
    "media_io_kwargs": f.OPAQUE,
    "mm_processor_kwargs": f.OPAQUE,
}
# Kinds of blocks: the field that holds a text, and the others.
BLOCKS: Final = {
    "text": "text",
    "thinking": "thinking",
    "tool_addition": "",
    "tool_removal": "",
    "tool_result": "",
    "tool_use": "",
}
BLOCK_FIELDS: Final = {
    "text": {"cache_control": f.OBJECT, "citations": f.LIST},
    "thinking": {"signature": f.STRING},
    "tool_addition": {"cache_control": f.OBJECT, "tool": f.OBJECT},
    "tool_removal": {"cache_control": f.OBJECT, "tool": f.OBJECT},
    "tool_result": {
        "cache_control": f.OBJECT,
        "content": f.STRING_OR_LIST,
        "is_error": f.BOOLEAN,
        "tool_use_id": f.STRING,
        "toolset_name": f.STRING,
    },
    "tool_use": {
        "cache_control": f.OBJECT,
        "caller": f.OBJECT,
        "id": f.STRING,
        "input": f.OBJECT,
        "name": f.STRING,
        "toolset_name": f.STRING,
    },
}
RESULTS: Final = {"text": "text", "tool_reference": ""}
RESULT_FIELDS: Final = {
    "text": {"cache_control": f.OBJECT, "citations": f.LIST},
    "tool_reference": {"cache_control": f.OBJECT, "name": f.STRING, "tool_name": f.STRING},
}


def check_tool(tool: object, at: str) -> None:
    """Check a tool that stands at ``at``. Raises BadRequest."""
    if not isinstance(tool, dict):
        raise BadRequest(f"`{at}` must be an object.", param=at)
    kind = tool.get("type")
    if kind is not None and kind != "custom":
        shown = f"`{kind[:40]}`" if isinstance(kind, str) else "a tool without a type"
        raise BadRequest(
            f"`{at}.type`: {shown} is not accepted; {_NO_TOOLS}.", param=f"{at}.type", code="field_not_accepted"
        )
    if not isinstance(tool.get("name"), str):
        raise BadRequest(f"`{at}.name` must be a string.", param=f"{at}.name")
    if not isinstance(tool.get("input_schema"), dict):
        raise BadRequest(f"`{at}.input_schema` must be an object.", param=f"{at}.input_schema")
