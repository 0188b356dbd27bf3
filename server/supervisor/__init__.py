"""The vLLM that ``unremember up`` starts: how it is launched, watched, restarted and stopped."""
