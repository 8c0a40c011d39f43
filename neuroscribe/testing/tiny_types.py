"""Data: what a tiny model of every causal LM type of transformers needs beside the usual sizes.

`VERIFIED` are captured and compared, `REFUSED` refused with a reason, `NOT_BUILT` cannot be built here.
Types without a change take the sizes of `random_subjects` as they are.
"""

from collections.abc import Mapping
from typing import Any

Changes = Mapping[str, Any]

_USUAL = (
    "afmoe", "apertus", "arcee", "bart", "bert", "bert-generation", "big_bird", "bigbird_pegasus", "biogpt",
    "bitnet", "blenderbot", "blenderbot-small", "bloom", "camembert", "cohere", "cohere2", "ctrl", "cwm",
    "data2vec-text", "doge", "electra", "emu3", "ernie", "ernie4_5", "ernie4_5_moe", "exaone4", "exaone_moe",
    "falcon", "fuyu", "gemma", "gemma2", "gemma3", "gemma3_text", "gemma4", "gemma4_text", "gemma4_unified",
    "gemma4_unified_text", "git", "glm", "glm4", "glm4_moe", "glm4_moe_lite", "got_ocr2", "gpt-sw3", "gpt2",
    "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_neox_japanese", "gptj", "granite", "granite_swa", "helium",
    "hunyuan_v1_dense", "hy_v3", "hy_v4", "hyperclovax", "internlm3", "iquestcoder", "jais2", "jamba",
    "laguna", "lfm2", "lfm3", "llama", "marian", "mbart", "megatron-bert", "mimo_v2_flash", "minicpm3",
    "ministral", "ministral3", "mistral", "modernbert-decoder", "moshi", "moss_transcribe_diarize", "mpt",
    "mvp", "nanochat", "nemotron", "olmo", "olmo2", "olmo3", "olmo_hybrid", "openai-gpt", "opt", "pegasus",
    "persimmon", "phi", "phi3", "phi4_multimodal", "plbart", "qwen2", "qwen3", "recurrent_gemma", "rembert",
    "roberta", "roberta-prelayernorm", "roformer", "rwkv", "seed_oss", "smollm3", "stablelm", "starcoder2",
    "trocr", "vaultgemma", "whisper", "xglm", "xlm", "xlm-roberta", "xlm-roberta-xl", "xlnet", "xlstm",
)  # fmt: skip
_TWO_KEYS = {"num_key_value_heads": 2}
_LATENT: Changes = _TWO_KEYS | {"head_dim": 4}
_MAMBA: Changes = {"mamba_n_heads": 4, "mamba_d_state": 4, "mamba_chunk_size": 4}
_LINEAR: Changes = {
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 2},
    **{"linear_key_head_dim": 8, "linear_value_head_dim": 8},
}
_ONE_DENSE: Changes = {"first_k_dense_replace": 1}
_DENSE_SPARSE: Changes = {"mlp_layer_types": ["dense", "sparse"]}
_SHARED: Changes = _TWO_KEYS | {
    **{"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"]},
    "attention_hidden_size": 32,
}

VERIFIED: Mapping[str, Changes] = {
    **{name: {} for name in _USUAL},
    "axk1": _LATENT | _ONE_DENSE,
    "axk2": _LATENT,
    "bailing_hybrid": _TWO_KEYS
    | _ONE_DENSE
    | {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "num_local_experts": 4},
    "bamba": _MAMBA,
    "beam": _DENSE_SPARSE,
    "codegen": {"n_head": 4, "rotary_dim": 2},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}
    },
    "deepseek_v2": _LATENT | _ONE_DENSE,
    "deepseek_v3": _LATENT | _ONE_DENSE,
    "deepseek_v32": _LATENT | _ONE_DENSE,
    "diffllama": _TWO_KEYS,
    "dots1": _ONE_DENSE | {"n_shared_experts": 1},
    "dots3_note": {
        "text_config": _TWO_KEYS,
        "vision_config": {
            **{"mlp_layer_types": ["dense", "dense"], "per_layer_config": {}},
            **{"adapter_in_dim": 16, "adapter_out_dim": 16},
        },
        "audio_config": _TWO_KEYS | {"adapter_input_size": 16, "adapter_out_dim": 16},
    },
    "dots3_note_text": _TWO_KEYS,
    "falcon_h1": _MAMBA | {"mamba_d_head": 8, "mamba_d_ssm": 32},
    "flint": {"mlp_only_layers": [0]},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "glm_moe_dsa": _LATENT | _DENSE_SPARSE,
    "granitemoehybrid": _MAMBA | {"num_local_experts": 0, "shared_intermediate_size": 24},
    "kimi_linear": _LATENT
    | {"num_experts": 4, "num_experts_per_token": 2, "num_local_experts": 4}
    | {"linear_num_heads": 2, "linear_head_dim": 8},
    "lfm2_moe": {"num_dense_layers": 1, "layer_types": ["conv", "full_attention"]},
    "llama4": {"text_config": {"interleave_moe_layer_step": 2, "intermediate_size_mlp": 24}},
    "llama4_text": {"interleave_moe_layer_step": 2, "intermediate_size_mlp": 24},
    "longcat_flash": _LATENT | {"expert_ffn_hidden_size": 8, "zero_expert_num": 2, "moe_topk": 2},
    "mllama": {"text_config": {"num_hidden_layers": 3, "cross_attention_layers": [1]}},
    "nemotron_h": {"layers_block_type": ["mlp", "attention"]},
    "qwen3_5": {"text_config": _LINEAR},
    "qwen3_5_text": _LINEAR,
    "reformer": {
        **{"axial_pos_embds": False, "attn_layers": ["local", "lsh"], "attention_head_size": 8},
        **{"local_attn_chunk_length": 3, "lsh_attn_chunk_length": 3, "hash_seed": 0, "num_buckets": 2},
    },
    "roc_bert": {"pronunciation_vocab_size": 31, "shape_vocab_size": 31},
    "xmod": {"default_language": "en_XX"},
    "youtu": _LATENT,
    "zamba": _SHARED,
    "zamba2": _SHARED | {"n_mamba_heads": 4, "mamba_d_state": 4, "adapter_rank": 3},
}
"""Types whose dense MLPs are captured and compared."""

REFUSED: Mapping[str, Changes] = {
    **{
        name: {}
        for name in (
            "aria_text", "blt", "cohere2_moe", "deepseek_v4", "falcon_mamba", "flex_olmo", "gpt_oss",
            "granitemoe", "granitemoe_swa", "granitemoeshared", "hrm_text", "hunyuan_v1_moe", "inkling2_text",
            "inkling_text", "jetmoe", "kolibri1", "mamba", "mellum", "minimax", "minimax_m2",
            "minimax_m3_vl_text", "mixtral", "olmoe", "phimoe", "prophetnet", "qwen2_moe", "qwen3_5_moe",
            "qwen3_5_moe_text", "qwen3_moe", "qwen3_next", "qwen4_exp", "qwen4_exp_text", "solar_open",
        )
    },
    "cpmant": {"prompt_length": 3},
    "dbrx": {"attn_config": {"rope_theta": 1e4}},
    "mamba2": {"num_heads": 4, "head_dim": 8, "state_size": 4, "n_groups": 1},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip
"""Types whose usual configuration holds nothing that could be captured rightly."""

NOT_BUILT: Mapping[str, str] = {
    "gemma3n": "its towers need the package timm; its text model is `gemma3n_text`",
    "gemma4_assistant": "drafts for another model; refused by its type",
    "gemma4_unified_assistant": "drafts for another model; refused by its type",
    "musicgen": "`AutoModelForCausalLM` fails on its configuration; refused by its type",
    "musicgen_melody": "`AutoModelForCausalLM` fails on its configuration; refused by its type",
}
"""Types of which no tiny model was built, and why."""
