"""How answers end: of the reasons that servers give, only those known to be good make an answer whole.

The list is closed, and it is this project's: a word that is not on it may mean anything, and what it ends is
no answer. Servers spell the same words in their own ways (`max_tokens`, `FinishReason.MAX_TOKENS`).
"""

import re
from typing import Literal

End = Literal["whole", "cut", "withheld", "broken", "unknown"]
"""What an end means; `broken` is what goes wrong by chance, so that another attempt may bring the whole."""

_WORDS: dict[End, str] = {
    # OpenAI, vLLM, SGLang, llama.cpp; TGI, Together; Anthropic, Bedrock; Cohere; AI21, Aleph Alpha; Baidu
    "whole": "stop; eos, eos_token; end_turn, stop_sequence; complete, completed; endoftext, end_of_text;"
    " normal",
    # OpenAI; Anthropic, Gemini; Mistral; watsonx; Aleph Alpha
    "cut": "length; max_tokens, max_output_tokens, model_context_window_exceeded; model_length;"
    " token_limit, time_limit; maximum_tokens, max_length, context_length",
    # OpenAI; Anthropic; Bedrock; Gemini; Cohere; Zhipu
    "withheld": "content_filter; refusal; content_filtered, guardrail_intervened; safety, recitation,"
    " language, blocklist, prohibited_content, spii, image_safety, model_armor; error_toxic; sensitive",
    # OpenRouter, Mistral; vLLM, SGLang; DeepSeek; Zhipu; watsonx, Cohere and others
    "broken": "error, server_error, internal_error; abort, aborted; insufficient_system_resource;"
    " network_error; cancelled, canceled, user_cancel, timeout, not_finished, overloaded",
}


def _letters(word: str) -> str:
    return re.sub(r"[^a-z]", "", word.lower())


_ENDS: dict[str, End] = {
    _letters(word): end for end, words in _WORDS.items() for word in re.split("[,;]", words)
}
_BEFORE = re.compile(r"^(finish_?reason[._])?([^:]*)", re.IGNORECASE)


def end(reason: object) -> End:
    """Return what the reason that a server gives for an answer's end means; no reason is an unknown one."""
    said = _BEFORE.match(reason) if isinstance(reason, str) else None
    return _ENDS.get(_letters(said[2]), "unknown") if said else "unknown"
