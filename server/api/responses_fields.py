"""What may be in a body of ``/v1/responses``: OpenAI's fields and vLLM 0.32's."""

from __future__ import annotations

from typing import Final

from server.api import fields as f
from server.api import sampling
from server.errors import BadRequest

_KEPT: Final = "null: the server keeps no responses"
ALLOWED: Final = {
    # OpenAI
    "access_programs": f.OBJECT,
    "background": f.Type("false: the server keeps no responses", lambda value: value is False),
    "background_options": f.OBJECT,
    "context_management": f.OBJECTS,
    "conversation": f.Type(_KEPT, f.never),
    "frequency_penalty": f.NUMBER,
    "image": f.OBJECT,
    "include": f.STRINGS,
    "input": f.Type("a string or an array of objects", lambda value: isinstance(value, str) or f.OBJECTS.check(value)),
    "instructions": f.STRING,
    "logit_bias": f.NUMBERS_BY_NAME,
    "max_output_tokens": f.INTEGER,
    "max_tool_calls": f.INTEGER,
    "metadata": f.STRINGS_BY_NAME,
    "model": f.STRING,
    "moderation": f.OBJECT,
    "parallel_tool_calls": f.BOOLEAN,
    "presence_penalty": f.NUMBER,
    "previous_response_id": f.Type(_KEPT, f.never),
    "prompt": f.Type("null: the server keeps no prompts", f.never),
    "prompt_cache_key": f.STRING,
    "prompt_cache_options": f.OBJECT,
    "prompt_cache_retention": f.STRING,
    "reasoning": f.SCALARS_BY_NAME,
    "safety_identifier": f.STRING,
    "service_tier": f.STRING,
    "store": f.BOOLEAN,  # vLLM stores nothing unless it is started so; what it stores cannot be asked for here
    "stream": f.BOOLEAN,
    "stream_options": f.OBJECT,
    "temperature": f.NUMBER,
    "text": f.OBJECT,
    "tool_choice": f.STRING_OR_OBJECT,
    "tools": f.OBJECTS,
    "top_logprobs": f.INTEGER,
    "top_p": f.NUMBER,
    "truncation": f.Type(
        '"disabled": a shortened prompt is not the one that was read', lambda value: value == "disabled"
    ),
    "user": f.STRING,
    # vLLM
    "cache_salt": f.STRING,
    "chat_template_kwargs": f.SCALARS_BY_NAME,
    "ignore_eos": f.BOOLEAN,
    "include_reasoning": f.BOOLEAN,
    "include_stop_str_in_output": f.BOOLEAN,
    "min_p": f.NUMBER,
    "repetition_penalty": f.NUMBER,
    "seed": f.INTEGER,
    "skip_special_tokens": f.BOOLEAN,
    "stop": f.STOP_OR_STOPS,
    "stop_token_ids": f.STOP_TOKENS,
    "structured_outputs": f.OBJECT,
    "top_k": f.INTEGER,
    "watermarking": f.BOOLEAN,
}
REFUSED: Final = sampling.REFUSED | {
    "chat_template": f.TEMPLATE,
    "enable_response_messages": f.PROMPT,
    "media_io_kwargs": f.OPAQUE,
    "mm_processor_kwargs": f.OPAQUE,
    "previous_input_messages": f.OPAQUE,
}

_CALL: Final = {
    "async": f.BOOLEAN,
    "call_id": f.STRING,
    "caller": f.OBJECT,
    "id": f.STRING,
    "name": f.STRING,
    "namespace": f.STRING,
    "status": f.STRING,
    "type": f.STRING,
}
_OUTPUT: Final = _CALL | {"output": f.STRING_OR_LIST}
ITEMS: Final = {
    "message": {
        "content": f.STRING_OR_LIST,
        "id": f.STRING,
        "phase": f.STRING,
        "role": f.one_of("assistant", "developer", "system", "user"),
        "status": f.STRING,
        "type": f.STRING,
    },
    "reasoning": {
        "content": f.LIST,
        "encrypted_content": f.Type("null: what it carries cannot be read by the gateway", f.never),
        "id": f.STRING,
        "status": f.STRING,
        "summary": f.LIST,
        "type": f.STRING,
    },
    "function_call": _CALL | {"arguments": f.STRING},
    "function_call_output": _OUTPUT,
    "custom_tool_call": _CALL | {"input": f.STRING},
    "custom_tool_call_output": _OUTPUT,
}
NEEDED: Final = {
    "message": ("role",),
    "function_call": ("arguments", "call_id", "name"),
    "custom_tool_call": ("call_id", "name"),
}
LISTS: Final = ("content", "output", "summary")
TEXT_PARTS: Final = {
    "input_text": "text",
    "output_text": "text",
    "reasoning_text": "text",
    "refusal": "refusal",
    "summary_text": "text",
    "text": "text",
}
PART_FIELDS: Final = {
    "input_text": {"prompt_cache_breakpoint": f.OBJECT},
    "output_text": {"annotations": f.LIST, "logprobs": f.LIST},
}
_TOOLS: Final = ("custom", "function", "namespace")


def check_tool(tool: object, at: str, kinds: tuple[str, ...] = _TOOLS) -> None:
    """Check a tool that stands at ``at``. Raises BadRequest."""
    if not isinstance(tool, dict):
        raise BadRequest(f"`{at}` must be an object.", param=at)
    kind = tool.get("type")
    if kind not in kinds:
        shown = f"`{kind[:40]}`" if isinstance(kind, str) else "a tool without a type"
        raise BadRequest(
            f"`{at}.type`: {shown} is not accepted; the server runs no tools itself ({', '.join(kinds)}).",
            param=f"{at}.type",
            code="field_not_accepted",
        )
    if not isinstance(tool.get("name"), str):
        raise BadRequest(f"`{at}.name` must be a string.", param=f"{at}.name")
    if kind == "namespace":
        inner = tool.get("tools")
        if not isinstance(inner, list):
            raise BadRequest(f"`{at}.tools` must be an array.", param=f"{at}.tools")
        for index, one in enumerate(inner):
            check_tool(one, f"{at}.tools[{index}]", ("custom", "function"))
