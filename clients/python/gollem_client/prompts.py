"""Chat messages of a request, and a safe guess at how many tokens they are."""

from collections.abc import Iterable, Mapping

from gollem_client.errors import invalid
from gollem_client.stubs import ChatMessage, Sampling

# What a chat template adds around each message, and once for the whole (some add a system prompt of their own).
_TOKENS_PER_MESSAGE = 8
_TOKENS_PER_PROMPT = 32
_ROLES = frozenset({"system", "user", "assistant"})

Message = ChatMessage | Mapping[str, str]


def chat_messages(messages: Iterable[Message]) -> list[ChatMessage]:
    """Messages as dictionaries of role and content, or as ChatMessage. Raises InvalidField."""
    made = [_message(message, at) for at, message in enumerate(messages)]
    if not 1 <= len(made) <= 1_024:
        raise invalid("messages", "must be 1 to 1,024")
    return made


def _message(message: Message, at: int) -> ChatMessage:
    if isinstance(message, ChatMessage):
        return message
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES:
        raise invalid(f"messages[{at}].role", "must be system, user or assistant")
    if not isinstance(content, str):
        raise invalid(f"messages[{at}].content", "must be text")
    if unknown := set(message) - {"role", "content"}:
        raise invalid(f"messages[{at}].{min(unknown)}", "is not known; a message has a role and a content")
    return ChatMessage(role=role, content=content)


def estimate_prompt_tokens(messages: Iterable[Message]) -> int:
    """Tokens that the prompt has at most, nearly always: one per two UTF-8 bytes, and what chat templates add.

    Text in common languages needs about half of it; only the hold is larger for it, the charge is by real tokens.
    A text of rare characters can need more: the provider then says how many, and the client asks again with those.
    """
    made = chat_messages(messages)
    size = sum(len(message.content.encode()) for message in made)
    return (size + 1) // 2 + _TOKENS_PER_MESSAGE * len(made) + _TOKENS_PER_PROMPT


def sampling(
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: Iterable[str] = (),
) -> Sampling:
    """How the model is to draw; what is None is the model server's own choice."""
    if isinstance(stop, str):
        raise invalid("stop", "must be a list of strings")
    return Sampling(temperature=temperature, top_p=top_p, seed=seed, stop=list(stop))
