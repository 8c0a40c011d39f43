import torch

from neuroscribe.subject.compiled import fuse_gelu
from neuroscribe.testing.random_subjects import random_subject


def test_both_forms_of_gelu_agree_to_the_last_bits() -> None:
    model = random_subject("gpt2")
    slow = model.transformer.h[0].mlp.act
    fuse_gelu(model)
    values = torch.cat([torch.linspace(-12, 12, 200_001), torch.tensor([0.0, -0.0, 1e-30, 1e4, -1e4])])
    difference = (slow(values) - model.transformer.h[0].mlp.act(values)).abs()
    assert (difference <= 2.0**-21 * values.abs().clamp(min=1)).all()


def test_every_layer_is_replaced_and_outputs_stay_the_same_to_rounding() -> None:
    plain, fused = random_subject("gpt2", seed=3), random_subject("gpt2", seed=3)
    assert fuse_gelu(fused) == len(fused.transformer.h)
    tokens = torch.arange(3, 15).reshape(1, 12)
    with torch.inference_mode():
        torch.testing.assert_close(fused(tokens).logits, plain(tokens).logits, rtol=1e-5, atol=1e-5)


def test_a_model_with_another_activation_function_is_left_alone() -> None:
    assert fuse_gelu(random_subject("llama")) == 0
