"""The model server's own metrics, of vLLM, SGLang and llama.cpp: a few known figures, under one name of ours. Pure.

Whatever else a model server tells is its own affair: names and labels there are not bounded.
"""

import math
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

MAX_TEXT_BYTES = 2 << 20
# Ours -> theirs. Series of one name are added up, ratios taken at their largest.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "running_requests": ("vllm:num_requests_running", "sglang:num_running_reqs", "llamacpp:requests_processing"),
    "waiting_requests": ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred"),
    "cache_usage_ratio": (
        "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage", "llamacpp:kv_cache_usage_ratio",
    ),
    "prompt_tokens": ("vllm:prompt_tokens_total", "sglang:prompt_tokens_total", "llamacpp:prompt_tokens_total"),
    "generated_tokens": (
        "vllm:generation_tokens_total", "sglang:generation_tokens_total", "llamacpp:tokens_predicted_total",
    ),
    "preemptions": ("vllm:num_preemptions_total",),
    "cache_hit_ratio": ("sglang:cache_hit_rate",),
}  # fmt: skip
_OURS = {theirs: ours for ours, names in KNOWN.items() for theirs in names}


def figures(text: str) -> dict[tuple[str, str], float]:
    """(engine, figure) -> value. Raises ValueError for what is not Prometheus's text format."""
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            ours = _OURS.get(sample.name)
            if ours is None or not math.isfinite(sample.value):
                continue
            key = sample.name.partition(":")[0], ours
            old = found.get(key)
            merged = max if ours.endswith("_ratio") else sum
            found[key] = sample.value if old is None else merged((old, sample.value))
    return found
