"""The random-weights twin of a subject: the same shape, tokenizer and dtype, and nothing that was learned."""

from typing import TYPE_CHECKING, Any

from neuroscribe.study.sections import ModelSpec
from resources.models.artefacts import Artefacts
from resources.models.weights import building, check_kind, computing_dtype, located

if TYPE_CHECKING:
    import torch

SEED = 0


def load_randomised(spec: ModelSpec, *, artefacts: Artefacts, device: "torch.device") -> Any:
    """Return a Hugging Face causal LM as its architecture initialises it, on `device`, for evaluation alone.

    The configuration is the model's own. No tensor of its weights is read; their headers bound what is built,
    as when they are loaded. On one machine the same weights come out every time, whatever the device, and the
    global random state is left alone. Raises SubjectError as `load_causal_lm` does.
    """
    import torch
    from transformers import AutoModelForCausalLM

    location = located(spec, artefacts=artefacts)
    dtype = computing_dtype(getattr(torch, spec.dtype), device)
    with location.explained(spec.model, "model"), building(spec, location, check_kind) as config:
        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
            torch.default_generator.manual_seed(SEED)  # torch.manual_seed would seed GPUs as well
            model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
        return model.to(device).eval().requires_grad_(False)
