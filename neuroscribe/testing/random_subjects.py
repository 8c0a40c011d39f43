"""Random models of any family, small enough to build in milliseconds, and models as subjects."""

from collections.abc import Mapping
from typing import Any, cast

import torch

from neuroscribe.subject.subject import Subject
from neuroscribe.text.token_bytes import TokenizerFacts

WIDTH, NEURONS, LAYERS, VOCABULARY = 16, 24, 2, 31
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "emb_dim", "word_embed_proj_dim"), WIDTH),
    **dict.fromkeys(("embedding_size", "input_embedding_size", "attention_hidden_size"), WIDTH),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_inner"), NEURONS),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "dim_ff", "dff", "feed_forward_size"), NEURONS),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), LAYERS),
    **dict.fromkeys(("decoder_layers", "encoder_layers", "num_decoder_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 2),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 2),
    **dict.fromkeys(("num_decoder_attention_heads", "num_encoder_attention_heads"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 32),
    **{"num_key_value_heads": 1, "head_dim": 8, "rotary_dim": 4, "vocab_size": VOCABULARY},
    **{"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 4},
    **{"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8},
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts"), 4),
    **{"num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 8},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "is_decoder": True},
}
"""By the names that families use; each takes those it knows."""


def random_subject(model_type: str, *, seed: int = 0, **changes: Any) -> Any:
    """Return a causal LM of a family with random weights, in float32 and evaluation mode.

    `changes` override the tiny sizes of the family's configuration and of its parts. The global random state
    is left alone.
    """
    import transformers

    auto: Any = transformers
    sizes = tiny_sizes(auto.AutoConfig.for_model(model_type).to_dict())
    if model_type == "gpt_neo":
        sizes["attention_types"] = [[["global"], LAYERS]]
    parts = {name: sizes.get(name, {}) | part for name, part in changes.items() if isinstance(part, dict)}
    config = auto.AutoConfig.for_model(model_type, **(sizes | changes | parts))
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        model = auto.AutoModelForCausalLM.from_config(config).eval()
        for matrix in _zero_matrices(model):
            torch.nn.init.normal_(matrix, std=0.02)
    return model


def as_subject(model: Any, **settings: Any) -> Subject:
    """Return a model on the CPU as a subject whose tokenizer has no tokens, with other settings as given."""
    facts = TokenizerFacts(lambda _: [], (), frozenset(), "none")
    device = torch.device("cpu")
    return Subject(model, facts, model.config.model_type, "random", model.dtype, device, **settings)


def tiny_sizes(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes that a configuration knows, those of its parts (text, vision, ...) included."""
    parts = {
        name: tiny_sizes(cast(Mapping[str, Any], part))
        for name, part in known.items()
        if isinstance(part, Mapping) and "model_type" in part
    }
    return {name: size for name, size in SIZES.items() if name in known} | parts


def _zero_matrices(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the matrices that a family starts at zero (xLSTM's gates): they would silence its neurons."""
    return [p for p in model.parameters() if p.ndim == 2 and not p.is_meta and not p.any()]
