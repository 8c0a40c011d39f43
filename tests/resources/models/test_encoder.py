from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from neuroscribe.errors import ArtefactError
from neuroscribe.simulate.embedding import Embedding
from resources.models.encoder import MiniLM, TextEncoders

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "violin", "play", "##ing", "the")
LIMIT = 8


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=LIMIT,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def tiny_bert() -> BertModel:
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            max_position_embeddings=LIMIT,
        )
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert")
    tiny_bert().save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def encoder(folder: Path) -> MiniLM:
    spec = Embedding(model=str(folder), explainers=("token_list",))
    return TextEncoders(cache_dir=str(folder / "cache"), hub=False).open(spec)


def test_a_sentence_is_the_unit_mean_of_its_last_hidden_states(encoder: MiniLM) -> None:
    with torch.inference_mode():
        states = tiny_bert().eval()(torch.tensor([[2, 4, 3]])).last_hidden_state[0].numpy()
    mean = states.mean(axis=0)

    np.testing.assert_allclose(encoder.sentence("Violin"), mean / np.linalg.norm(mean), atol=1e-5)


def test_pieces_carry_their_place_in_the_text_and_no_specials(encoder: MiniLM) -> None:
    spans, vectors = encoder.pieces("Playing  violin")

    assert spans == [(0, 4), (4, 7), (9, 15)]
    assert vectors.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_piece_has_another_vector_in_another_context(encoder: MiniLM) -> None:
    _, alone = encoder.pieces("violin")
    _, among = encoder.pieces("violin playing")

    assert not np.allclose(alone[0], among[0], rtol=0, atol=1e-5)


def test_a_long_text_keeps_all_its_pieces_window_by_window(encoder: MiniLM) -> None:
    text = " ".join(["violin"] * 15)

    spans, vectors = encoder.pieces(text)

    assert spans == [(7 * n, 7 * n + 6) for n in range(15)]
    _, window = encoder.pieces(" ".join(["violin"] * (LIMIT - 2)))
    np.testing.assert_allclose(vectors[: LIMIT - 2], window, atol=1e-5)


def test_the_last_window_is_not_changed_by_its_padding(encoder: MiniLM) -> None:
    _, vectors = encoder.pieces(" ".join(["violin"] * (LIMIT - 1)))
    _, alone = encoder.pieces("violin")

    np.testing.assert_allclose(vectors[-1], alone[0], atol=1e-5)


def test_a_tokenizer_without_padding_gives_the_same_vectors(encoder: MiniLM) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    unpadded = MiniLM(tiny_bert().eval(), tokenizer, identity="unpadded")
    text = " ".join(["violin"] * (LIMIT - 1))

    spans, vectors = unpadded.pieces(text)

    assert spans == encoder.pieces(text)[0]
    np.testing.assert_allclose(vectors, encoder.pieces(text)[1], atol=1e-5)


def test_an_empty_text_has_no_pieces(encoder: MiniLM) -> None:
    spans, vectors = encoder.pieces("")

    assert spans == []
    assert vectors.shape == (0, 8)


def test_encoding_leaves_the_number_of_threads_as_it_was(encoder: MiniLM) -> None:
    before = torch.get_num_threads()
    encoder.sentence("violin")

    assert torch.get_num_threads() == before


def test_the_identity_names_the_bytes(encoder: MiniLM, folder: Path) -> None:
    assert encoder.identity.startswith(f"{folder}@sha256:")


def test_an_encoder_that_is_not_there_is_an_artefact_error(tmp_path: Path) -> None:
    encoders = TextEncoders(cache_dir=str(tmp_path), hub=False)

    with pytest.raises(ArtefactError, match=r"nobody/none: .*all-minilm-l6-v2 is pinned"):
        encoders.open(Embedding(model="nobody/none", explainers=("token_list",)))


def test_a_token_that_the_encoder_lacks_is_named(encoder: MiniLM) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["tuba"])
    larger = MiniLM(tiny_bert().eval(), tokenizer, identity="larger")

    assert len(larger.sentence("violin")) == 8
    with pytest.raises(ArtefactError, match=r"larger: .* token 8, .* rows 0 to 7"):
        larger.pieces("the tuba")
