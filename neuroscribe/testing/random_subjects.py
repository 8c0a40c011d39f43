"""Random models of any family, small enough to build in milliseconds."""

from typing import Any

import torch

WIDTH, NEURONS, LAYERS, VOCABULARY = 16, 24, 2, 31
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim"), WIDTH),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"), NEURONS),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 32),
    **{"num_key_value_heads": 1, "head_dim": 8, "rotary_dim": 4, "vocab_size": VOCABULARY},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
"""By the names that families use; each takes those it knows."""


def random_subject(model_type: str, *, seed: int = 0, **changes: Any) -> Any:
    """Return a causal LM of a family with random weights, in float32 and evaluation mode.

    `changes` override the family's configuration. The global random state is left alone.
    """
    import transformers

    auto: Any = transformers
    known = auto.AutoConfig.for_model(model_type).to_dict()
    sizes = {name: size for name, size in SIZES.items() if name in known}
    if model_type == "gpt_neo":
        sizes["attention_types"] = [[["global"], LAYERS]]
    config = auto.AutoConfig.for_model(model_type, **(sizes | changes))
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        return auto.AutoModelForCausalLM.from_config(config).eval()
