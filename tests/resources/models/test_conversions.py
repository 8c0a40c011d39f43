import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from tokenizers import pre_tokenizers

from neuroscribe.errors import ArtefactError
from neuroscribe.study.sections import ModelSpec
from neuroscribe.text.token_bytes import tokenizer_facts
from resources.models.artefacts import Artefacts, sha256_of
from resources.models.conversions import converted
from resources.models.weights import load_causal_lm, load_tokenizer

WIDTH, MLP = 32, 64
TOKENS = ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "\u0120\u0120", "\u01201"]
CPU = torch.device("cpu")


def weights() -> dict[str, np.ndarray]:
    """Return a one-block Llama under GGUF's names; norms are ones, the rest is random."""
    draw = np.random.default_rng(0).standard_normal
    block = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (WIDTH, WIDTH))
    block |= {"ffn_gate": (MLP, WIDTH), "ffn_up": (MLP, WIDTH), "ffn_down": (WIDTH, MLP)}
    tensors = {f"blk.0.{name}.weight": draw(shape) for name, shape in block.items()}
    tensors |= {f"blk.0.{name}.weight": np.ones(WIDTH) for name in ("attn_norm", "ffn_norm")}
    tensors |= {"output_norm.weight": np.ones(WIDTH), "token_embd.weight": draw((len(TOKENS), WIDTH))}
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def write_gguf(path: Path, *, splits_by: str = "smollm") -> None:
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // 2)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splits_by)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] + [1] * (len(TOKENS) - 1))
    writer.add_token_merges(["\u0120 \u0120", "\u0120 1"])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(0)
    for name, tensor in weights().items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    """A cache with one pinned GGUF file in it, and the rest of a conversion that was killed."""
    cache = tmp_path_factory.mktemp("cache")
    gguf = cache / "artefacts" / "tiny" / "tiny.gguf"
    gguf.parent.mkdir(parents=True)
    write_gguf(gguf)
    pins = cache / "pins.toml"
    pins.write_text(
        f"""[tiny]
about = "a random Llama"
licence = "CC0-1.0"
package = {{ name = "tiny", version = "1.0" }}
files = [{{ name = "tiny.gguf", member = "tiny.gguf", bytes = {gguf.stat().st_size},
          sha256 = "{sha256_of(gguf)}" }}]
""".replace(",\n          sha256", ", sha256"),
        encoding="utf-8",
    )
    (cache / "converted" / "tiny.unfinished").mkdir(parents=True)
    (cache / "converted" / "tiny.unfinished" / "model.safetensors").write_bytes(b"torn")
    return Artefacts(cache, hub=False, pins_file=pins)


SPEC = ModelSpec(model="somebody/tiny", artefact="tiny", dtype="bfloat16")


def test_a_gguf_artefact_loads_with_its_own_weights(store: Artefacts) -> None:
    model = load_causal_lm(SPEC, artefacts=store, device=CPU)

    expected = torch.from_numpy(weights()["blk.0.ffn_down.weight"]).to(torch.bfloat16)
    assert torch.equal(model.model.layers[0].mlp.down_proj.weight, expected)
    assert [path.name for path in (store.cache / "converted").iterdir()] == ["tiny"]


def test_digits_are_split_off_as_the_file_demands(store: Artefacts) -> None:
    facts = tokenizer_facts(load_tokenizer(SPEC, artefacts=store))

    assert [facts.token_bytes[index] for index in facts.encode("a  10")] == [b"a", b"  ", b"1", b"0"]


def test_a_file_whose_way_of_splitting_is_unknown_is_refused(tmp_path: Path, store: Artefacts) -> None:
    write_gguf(tmp_path / "other.gguf", splits_by="superbpe")
    spoilt = Artefacts(tmp_path, hub=False, pins_file=store.cache / "pins.toml")

    with pytest.raises(ArtefactError, match=r"text is split by 'superbpe', .* with its tokenizer\.json"):
        converted("tiny", tmp_path / "other.gguf", artefacts=spoilt)


def test_a_cache_that_cannot_take_a_conversion_is_named_with_the_remedy(
    store: Artefacts, tmp_path: Path
) -> None:
    gguf = store.fetch("tiny")
    (tmp_path / "converted").write_bytes(b"a file")
    spoilt = Artefacts(tmp_path, hub=False, pins_file=store.cache / "pins.toml")

    with pytest.raises(ArtefactError, match=r"cache folder .* cannot be used.*NEUROSCRIBE_CACHE"):
        converted("tiny", gguf, artefacts=spoilt)


@pytest.mark.slow
def test_a_conversion_is_done_once_until_the_pin_changes(store: Artefacts) -> None:
    load_tokenizer(SPEC, artefacts=store)
    folder = store.cache / "converted" / "tiny"
    before = (folder / "model.safetensors").stat().st_mtime_ns

    load_tokenizer(SPEC, artefacts=store)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before

    (folder / "conversion.json").write_text(json.dumps({"source_sha256": "other"}), encoding="utf-8")
    load_tokenizer(SPEC, artefacts=store)
    assert (folder / "model.safetensors").stat().st_mtime_ns > before
