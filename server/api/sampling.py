"""The fields that chat and completion requests share: OpenAI's and vLLM 0.32's."""

from __future__ import annotations

from typing import Final

from server.api import fields as f

ALLOWED: Final = {
    "model": f.STRING,
    # OpenAI
    "frequency_penalty": f.NUMBER,
    "logit_bias": f.NUMBERS_BY_NAME,
    "max_tokens": f.INTEGER,
    "metadata": f.STRINGS_BY_NAME,
    "n": f.INTEGER,
    "presence_penalty": f.NUMBER,
    "prompt_cache_key": f.STRING,
    "prompt_cache_retention": f.STRING,
    "response_format": f.OBJECT,
    "safety_identifier": f.STRING,
    "seed": f.INTEGER,
    "service_tier": f.STRING,
    "stop": f.STOP_OR_STOPS,
    "store": f.BOOLEAN,
    "stream": f.BOOLEAN,
    "stream_options": f.OBJECT,
    "temperature": f.NUMBER,
    "top_p": f.NUMBER,
    "user": f.STRING,
    # vLLM
    "add_special_tokens": f.BOOLEAN,
    "bad_words": f.STRINGS,
    "cache_salt": f.STRING,
    "ignore_eos": f.BOOLEAN,
    "include_stop_str_in_output": f.BOOLEAN,
    "length_penalty": f.NUMBER,
    "min_p": f.NUMBER,
    "min_tokens": f.INTEGER,
    "repetition_detection": f.OBJECT,
    "repetition_penalty": f.NUMBER,
    "skip_special_tokens": f.BOOLEAN,
    "spaces_between_special_tokens": f.BOOLEAN,
    "stop_token_ids": f.STOP_TOKENS,
    "stream_interval": f.INTEGER,
    "structured_outputs": f.OBJECT,
    "thinking_token_budget": f.INTEGER,
    "top_k": f.INTEGER,
    "watermarking": f.BOOLEAN,
}

REFUSED: Final = {
    "allowed_token_ids": f.ENGINE,
    "ec_transfer_params": f.ENGINE,
    "echo": f.PROMPT,
    "kv_transfer_params": f.ENGINE,
    "logprob_token_ids": f.PROMPT,
    "mm_payload": f.OPAQUE,
    "priority": f.ENGINE,
    "prompt_embeds": f.OPAQUE,
    "prompt_logprobs": f.PROMPT,
    "request_id": f.ENGINE,
    "return_mm_kwargs": f.OPAQUE,
    "return_prompt_text": f.PROMPT,
    "return_token_ids": f.PROMPT,
    "return_token_offsets": f.PROMPT,
    "return_tokens_as_token_ids": "tokens that are numbers cannot be read by the gateway",
    "routed_experts_prompt_start": f.ENGINE,
    "session_id": f.ENGINE,
    "truncate_prompt_tokens": "a shortened prompt is not the one that was read",
    "truncation_side": "a shortened prompt is not the one that was read",
    "use_beam_search": f.UNWATCHED,
    "vllm_xargs": f.ENGINE,
}
