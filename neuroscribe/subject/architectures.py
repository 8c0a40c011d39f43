"""All facts about model architectures: where a block's MLP neurons are, and which weights surround them.

An MLP neuron is an input channel of a block's MLP down-projection. Models without a dense MLP are refused;
weights are handed out only for families whose norms and scales are known here, so that connections are
never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from neuroscribe.errors import SubjectError

STACKS = ("layers", "layer", "h", "blocks", "ffns")
"""Names of the list of blocks (XLM lists its MLPs themselves)."""

DOWN = (
    *(f"mlp.{name}" for name in ("down_proj", "c_proj", "dense_4h_to_h", "fc_out", "fc2", "Wo")),
    *(f"feed_forward.{name}" for name in ("down_proj", "w2", "value", "output", "output.dense")),
    *(f"ffn.{name}" for name in ("down_proj", "proj_down", "2", "ffn.w_out")),
    "fc2",
    "ff.layer_2",
    "lin2",
    "mixer.down_proj",
    "mlp_block.down_proj",
    "mlps.down_proj",
    "output.dense",
    "shared_mlp.output_linear",
    "shared_transf.feed_forward.down_proj",
    "shared_transformer.feed_forward.down_proj",
)
"""Paths of a dense down-projection below its block; those of attention and of experts differ."""

TOWERS = ("vision", "visual", "audio", "image", "img", "patch", "speech", "local_encoder", "local_decoder",
          "depth_decoder")  # fmt: skip
"""What the names of parts outside the text stack begin with."""

INLINE = ("fc2", "output.dense", "feed_forward.value", "feed_forward.output.dense", "ff.layer_2")
"""Down-projections after which the enclosing module still does something."""

NOT_TOKENS: Mapping[str, str] = {
    "blt": "its transformer reads patches of bytes, not one position per token",
    **dict.fromkeys(
        ("gemma4_assistant", "gemma4_unified_assistant"),
        "it drafts for another model, whose states it reads in place of tokens",
    ),
    **dict.fromkeys(
        ("musicgen", "musicgen_decoder", "musicgen_melody", "musicgen_melody_decoder"),
        "it reads parallel streams of audio codes, not text",
    ),
}
"""Model types without a position per token of text, and why; hooks would find neurons all the same."""

NOT_LAST = ("bloom", "mpt", "falcon_h1")
"""Model types whose MLP module scales what the down-projection gives, or adds the residual stream to it."""


@dataclass(frozen=True)
class DownProjection:
    """The module whose input channels are the neurons of one layer."""

    layer: int
    path: str
    module: nn.Module
    neurons: int
    """Input channels."""
    width: int
    """Output channels: the width of the residual stream."""
    gated: bool
    """Whether its input is a product with a gate, so that both signs of a neuron mean something."""


@dataclass(frozen=True)
class Surroundings:
    """Where a family keeps the weights around its neurons, as paths below the block."""

    up: str
    """Projection into the neurons; for gated MLPs the factor without an activation function."""
    mlp_norm: str | None
    """Norm whose output the MLP reads; None if it reads the residual stream as it is."""
    final_norm: str
    """Norm before the unembedding, beside the list of blocks."""
    gate: str | None = None
    """Projection under the activation function; the same as `up` if one module holds gate, then up."""
    write_norm: str | None = None
    """Norm between the MLP's output and the residual stream."""
    gain_offset: float = 0.0
    """What is added to a norm's weight to give its gain."""
    write_scale: str | None = None
    """Attribute of the block by which it multiplies what the MLP adds to the residual stream."""
    embedding_scale: str | None = None
    """Attribute, beside the list of blocks, by which the token embedding is multiplied."""


_GATED = ("mlp.up_proj", "post_attention_layernorm", "norm", "mlp.gate_proj")
_NEOX = Surroundings("mlp.dense_h_to_4h", "post_attention_layernorm", "final_layer_norm")
_GRANITE = Surroundings(*_GATED, write_scale="residual_multiplier", embedding_scale="embedding_multiplier")
_COHERE = Surroundings("mlp.up_proj", "input_layernorm", "norm", "mlp.gate_proj")
_PLAIN = Surroundings("mlp.up_proj", "post_attention_layernorm", "norm")
_FUSED = Surroundings("mlp.gate_up_proj", "post_attention_layernorm", "norm", "mlp.gate_up_proj")
_OLMO2 = Surroundings("mlp.up_proj", None, "norm", "mlp.gate_proj", "post_feedforward_layernorm")
_GEMMA2 = Surroundings(
    "mlp.up_proj", "pre_feedforward_layernorm", "norm", "mlp.gate_proj", "post_feedforward_layernorm", 1.0
)
_LLAMAS = (
    "cwm", "diffllama", "ernie4_5", "helium", "hunyuan_v1_dense", "internlm3", "iquestcoder", "llama",
    "ministral", "ministral3", "mistral", "olmo", "qwen2", "qwen3", "seed_oss", "smollm3", "stablelm",
    "youtu",
)  # fmt: skip

SURROUNDINGS: Mapping[str, Surroundings] = {
    **dict.fromkeys(("gpt2", "gpt_neo", "gpt_bigcode"), Surroundings("mlp.c_fc", "ln_2", "ln_f")),
    **dict.fromkeys(("codegen", "gptj"), Surroundings("mlp.fc_in", "ln_1", "ln_f")),
    **dict.fromkeys(("gpt_neox", "gpt_neox_japanese"), _NEOX),
    **dict.fromkeys(_LLAMAS, Surroundings(*_GATED)),
    **dict.fromkeys(("granite", "granite_swa"), _GRANITE),
    **dict.fromkeys(("cohere", "cohere2"), _COHERE),
    **dict.fromkeys(("arcee", "jais2"), _PLAIN),
    **dict.fromkeys(("glm", "phi3"), _FUSED),
    **dict.fromkeys(("exaone4", "olmo2", "olmo3"), _OLMO2),
    **dict.fromkeys(("gemma2", "gemma3", "gemma3_text"), _GEMMA2),
    "apertus": Surroundings("mlp.up_proj", "feedforward_layernorm", "norm"),
    "biogpt": Surroundings("fc1", "final_layer_norm", "layer_norm"),
    "gemma": Surroundings(*_GATED, gain_offset=1.0),
    "glm4": replace(_FUSED, write_norm="post_mlp_layernorm"),
    "lfm2": Surroundings("feed_forward.w3", "ffn_norm", "embedding_norm", "feed_forward.w1"),
    "minicpm3": Surroundings(*_GATED, write_scale="residual_scale"),
    "mpt": Surroundings("ffn.up_proj", "norm_2", "norm_f"),
    "nemotron": replace(_PLAIN, gain_offset=1.0),
    "opt": Surroundings("fc1", "final_layer_norm", "final_layer_norm"),
    "persimmon": Surroundings("mlp.dense_h_to_4h", "post_attention_layernorm", "final_layernorm"),
    "phi": Surroundings("mlp.fc1", "input_layernorm", "final_layernorm"),
    "starcoder2": Surroundings("mlp.c_fc", "post_attention_layernorm", "norm"),
    "vaultgemma": replace(_GEMMA2, write_norm=None),
}
"""By `model_type`; the tests check each entry against the model's own forward pass."""


def model_type(model: nn.Module) -> str:
    """Return the Hugging Face name of the model's architecture, or its class name without one."""
    return str(getattr(getattr(model, "config", None), "model_type", type(model).__name__))


def backbone(model: nn.Module) -> nn.Module:
    """Return the module that computes the residual stream without the LM head."""
    base = getattr(model, "base_model", model)
    return base if isinstance(base, nn.Module) else model


def down_projections(model: nn.Module) -> dict[int, DownProjection]:
    """Return the dense down-projections of the text stack by layer; layers without one are absent.

    A block with two MLPs (LongCat-Flash) counts as two layers. Raises SubjectError for a model that has none
    (mixtures of experts, state-space models, unknown layouts), that has an encoder beside its decoder, or
    that does not read tokens of text.
    """
    if reason := why_not_studied(model_type(model), getattr(model, "config", None)):
        raise SubjectError(f"model type {model_type(model)!r} cannot be studied: {reason}. Choose another")
    stacks: dict[str, dict[int, DownProjection]] = {}
    for path, module in _modules(model).items():
        place, sizes = _place(path), _sizes(module)
        if place is None or place[2] not in DOWN or sizes is None or _unused_by_text(model, path):
            continue
        stack, layer, _ = place
        gated = _gated(model.get_submodule(path.rpartition(".")[0]), module, inline=place[2] in INLINE)
        projection = DownProjection(layer, path, module, *sizes, gated=gated)
        stacks.setdefault(stack, {}).setdefault(layer, projection)
    if not stacks:
        raise SubjectError(_why_no_mlp(model))
    return dict(sorted(max(stacks.values(), key=len).items()))


def why_not_studied(model_type: str, config: object) -> str | None:
    """Say why a kind of model is refused whatever its blocks hold, or None; its configuration suffices."""
    if getattr(config, "is_encoder_decoder", False) and model_type not in NOT_TOKENS:
        return "it is an encoder-decoder, whose decoder reads what the encoder makes of another text"
    return NOT_TOKENS.get(model_type)


def mlp_module(model: nn.Module, projection: DownProjection) -> nn.Module | None:
    """Return the module whose output is the down-projection's own, or None where no module ends with it.

    Compare inside a forward hook: some blocks (Falcon's) add to that output in place afterwards.
    """
    place = _place(projection.path)
    if place is None or place[2] in INLINE or model_type(model) in NOT_LAST:
        return None
    return model.get_submodule(projection.path.rpartition(".")[0])


def surroundings(model: nn.Module) -> Surroundings:
    """Return where a model keeps the weights around its neurons; SubjectError if its family is unknown."""
    if (kind := model_type(model)) not in SURROUNDINGS:
        raise SubjectError(
            f"connections of model type {kind!r} are unknown: its norms and scales are not listed in"
            f" neuroscribe/subject/architectures.py (listed: {', '.join(sorted(SURROUNDINGS))}); leave"
            " connections out, or add the family there with its test"
        )
    return SURROUNDINGS[kind]


def is_conv1d(module: nn.Module) -> bool:
    """Tell whether a projection keeps its weight as [input, output], as GPT-2's do; Linear turns it."""
    return type(module).__name__ == "Conv1D"


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return every module once, by path."""
    return dict(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]


def _place(path: str) -> tuple[str, int, str] | None:
    """Split a module's path into its list of blocks, the layer and the path below the block."""
    parts = path.split(".")
    for at in range(len(parts) - 2, 0, -1):
        if parts[at].isdigit() and parts[at - 1] in STACKS:
            layer, below = int(parts[at]), parts[at + 1 :]
            if below[0] == "mlps" and len(below) > 1:  # two sublayers a block, each with attention and MLP
                layer, below = 2 * layer + int(below[1]), ["mlps", *below[2:]]
            return ".".join(parts[:at]), layer, ".".join(below)
    return None


def _unused_by_text(model: nn.Module, path: str) -> bool:
    """Tell whether a path leads into a tower, or into a block that is skipped where there is no image."""
    parts = path.split(".")
    if any(part.startswith(name) or f"_{name}" in part for part in parts for name in TOWERS):
        return True
    block = ".".join(parts[: 1 + max(at for at, part in enumerate(parts) if part.isdigit())])
    return hasattr(module := model.get_submodule(block), "cross_attn") and not hasattr(module, "self_attn")


def _sizes(module: nn.Module) -> tuple[int, int] | None:
    """Return a projection's input and output channels, read from the module; None if it is no projection."""
    match getattr(module, "in_features", None), getattr(module, "out_features", None):
        case int(neurons), int(width):  # quantised layers pack their weight, but state their size
            return neurons, width
        case _:
            weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        return None
    rows, columns = weight.shape
    return (rows, columns) if is_conv1d(module) else (columns, rows)


def _gated(parent: nn.Module, down: nn.Module, *, inline: bool) -> bool:
    """Tell whether the projections beside a down-projection give two values per neuron."""
    neurons, width = _sizes(down) or (0, 0)
    beside = parent.children() if inline else parent.modules()
    sizes = [_sizes(module) for module in beside if module is not down]
    into = [size[1] for size in sizes if size is not None and size[0] == width]
    return 2 * neurons in into or into.count(neurons) == 2


def _is_bank(path: str, module: nn.Module) -> bool:
    """Tell whether a module holds the MLPs of several experts (JetMoE has experts for attention, too)."""
    return "attention" not in path and (
        path.endswith(".experts") or type(module).__name__.endswith("Experts")
    )


def _why_no_mlp(model: nn.Module) -> str:
    """Say what a model has instead of a dense MLP, and what to do."""
    modules = _modules(model)
    banks = [path for path, module in modules.items() if _is_bank(path, module)]
    parts = sorted(
        {
            f"{place[2]} ({type(module).__name__})"
            for path, module in modules.items()
            if (place := _place(path)) and place[2] and "." not in place[2]
        }
    )
    layout = f"its blocks hold {', '.join(parts)}" if parts else f"it has no list named {', '.join(STACKS)}"
    if banks:
        layout = f"its MLPs are banks of experts ({banks[0]} and {len(banks) - 1} more)"
    return (
        f"model type {model_type(model)!r} has no dense MLP whose neurons could be studied: {layout}."
        " Choose a dense model, or add the path of its down-projection to"
        " neuroscribe/subject/architectures.py"
    )
