"""Counts the tokens of a prompt before it is generated from: by the model server itself where it can."""

import logging
from typing import Any

from gollem_client import estimate_prompt_tokens
from provider_agent.pb.inference_pb2 import GenerateRequest
from provider_agent.upstream import Upstream

_log = logging.getLogger(__name__)


class PromptCounter:
    """Finds out at the first prompt how this model server counts, and stays with it.

    Asked in this order: llama.cpp (/apply-template, then /tokenize), vLLM (/tokenize with messages). A server that
    has neither is not asked again; then the client library's own estimate is used, which is nearly always too high:
    nobody gets tokens that are not paid for, and a consumer who used that estimate is never refused.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._way: str | None = None

    async def count(self, request: GenerateRequest) -> int:
        """Tokens of the prompt, the chat template included. Raises UpstreamFailed when the server does not answer."""
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        ways = {"llama.cpp": self._by_llama_cpp, "vllm": self._by_vllm}
        for way, count in ways.items():
            if self._way in (None, way) and (tokens := await count(messages)) is not None:
                self._found(way)
                return tokens
        self._found("estimate")
        return estimate_prompt_tokens(messages)

    def _found(self, way: str) -> None:
        if self._way is None:
            _log.info("prompts are counted by: %s", way)
            self._way = way

    async def _by_llama_cpp(self, messages: list[dict[str, str]]) -> int | None:
        templated = await self._upstream.post("/apply-template", {"messages": messages})
        prompt = templated.get("prompt") if isinstance(templated, dict) else None
        if not isinstance(prompt, str):
            return None
        body = {"content": prompt, "add_special": True, "parse_special": True}
        tokenized = await self._upstream.post("/tokenize", body)
        tokens = tokenized.get("tokens") if isinstance(tokenized, dict) else None
        return len(tokens) if isinstance(tokens, list) else None

    async def _by_vllm(self, messages: list[dict[str, str]]) -> int | None:
        body: dict[str, Any] = {"model": self._upstream.model, "messages": messages}
        tokenized = await self._upstream.post("/tokenize", body)
        count = tokenized.get("count") if isinstance(tokenized, dict) else None
        return count if type(count) is int else None
