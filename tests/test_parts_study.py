"""Explanations in parts, through the whole graph: phrases, token detectors and senses of planted concepts."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from dagster_project.trace import neuron_trace
from neuroscribe.fingerprint import fingerprint
from neuroscribe.kinds import read_study
from neuroscribe.study.spec import Study
from neuroscribe.testing.concepts_study import ConceptScript, write_concepts_study
from neuroscribe.testing.planted_concepts import NAMED, WHOLE_TOKENS, WORDS
from neuroscribe.testing.planted_study import MODEL
from neuroscribe.testing.servers import ScriptedServer
from resources.store.tables import Tables

pytestmark = pytest.mark.slow

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(token.strip() for token in WHOLE_TOKENS))
EXPLAINERS = """
[explainers.phrases]
words_before = 1
share = 0.9
[explainers.token_detector]
[explainers.token_list]
apart = true
by = "weight"
[explainers.senses]
beside = "mixed"
words_before = 0
excerpt_tokens = 8
[explainers.mixed]
kind = "senses"
groups = "random"
words_before = 0
excerpt_tokens = 8
"""
FREE = '["phrases", "token_detector", "token_list", "senses", "mixed"]'


class NamesOne(ConceptScript):
    """Explains marked excerpts by the word of the strongest one, the last, and simulates labels exactly."""

    def reply(self, prompt_text: str) -> str:
        """Return `the word ...`, or what fits nothing where no word is marked."""
        marked = re.findall(r"<< (\w+) >>", prompt_text[prompt_text.rfind("\n1. ") :])
        return f"the word {marked[-1]}" if marked else "nothing at all"


def save_encoder(folder: Path) -> None:
    """Write an encoder that knows the concepts' words, each by a vector of its own, and hardly a context."""
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]",
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 8, "max_position_embeddings": 64}
    model = BertModel(BertConfig(vocab_size=len(PIECES), num_hidden_layers=1, num_attention_heads=2, **size))
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_()
    model.save_pretrained(folder)


@dataclass
class Run:
    """One finished run."""

    study: Study
    environment: Environment

    @property
    def tables(self) -> Tables:
        return Tables(self.environment.store)

    def explanation(self, concept: str | int, explainer: str) -> dict[str, object]:
        """The row of a concept's neuron."""
        neuron = NAMED[concept] if isinstance(concept, str) else concept
        made = self.tables.read("concepts", "explanations").filter(neuron=neuron, explainer=explainer, draw=0)
        return made.row(0, named=True)

    def score(self, concept: str | int, explainer: str, simulator: str = "embedding") -> dict[str, float]:
        """The score over the corpus."""
        identity = self.explanation(concept, explainer)["explanation_id"]
        place = {"scorer": f"correlation_{simulator}", "regime": "corpus", "split": "test"}
        scores = self.tables.read("concepts", "scores").filter(explanation_id=identity, **place)
        return scores.row(0, named=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("parts")
    save_encoder(folder / "bert")
    with ScriptedServer(NamesOne(), model=MODEL) as server, dg.instance_for_test() as instance:
        path = write_concepts_study(folder, base_url=server.base_url, sequences=800, documents=400, labels=1)
        text = path.read_text(encoding="utf-8")
        text = text.replace("sequences_per_split = 5", "sequences_per_split = 2\nsequences = 10")
        text = text.replace('explainers = ["label_1"]', 'explainers = ["senses", "mixed"]')
        encoder = f'[simulators.embedding]\nmodel = "{(folder / "bert").as_posix()}"\nexplainers = {FREE}\n'
        literal = '[simulators.token_match]\nexplainers = ["token_detector", "token_list"]\n'
        capture = "[capture]\ntop_k = 40\nquantile_exemplars = 3\n"
        path.write_text(text + EXPLAINERS + encoder + literal + capture, encoding="utf-8")
        study = read_study(path)
        variables = {"NEUROSCRIBE_STORE": str(folder / "store"), "DAGSTER_HOME": str(folder / "dagster")}
        environment = Environment.read({**variables, "NEUROSCRIBE_HUB": "0"})
        launcher = Launcher(study, build_defs([study], environment=environment), instance, environment)
        launcher.capture()
        launcher.sample([0])
        launcher.explain(0)
        yield Run(study, environment)


def test_the_phrases_of_a_bigram_neuron_are_the_bigram_and_score_high(run: Run) -> None:
    made = run.explanation("bigram", "phrases")
    assert (made["text"], made["parts"]) == ('the end of "one of"', ['the end of "one of"'])
    own = run.score("bigram", "phrases")
    assert own["value"] > own["control"] + 0.2


def test_a_token_neuron_is_a_token_detector_and_a_position_neuron_is_none(run: Run) -> None:
    for place, word in enumerate(WORDS, start=len(NAMED)):
        made = run.explanation(place, "token_detector")
        assert made["text"] == f'the tokens "{word.strip()}" (10)'
        assert made["parts"] == [f'the end of "{word.strip()}"']
        assert run.score(place, "token_detector", "token_match")["value"] == pytest.approx(1, abs=1e-6)
        own = run.score(place, "token_detector")
        assert own["value"] > own["control"] + 0.4
    refused = run.explanation("position", "token_detector")
    assert (refused["status"], refused["text"]) == ("failed", None)
    assert str(refused["raw_response"]).startswith("tokens alone do not predict it: r ")


def test_a_token_detector_says_how_strongly_it_fires_on_each_token(run: Run) -> None:
    made = run.explanation("two_senses", "token_detector")
    assert made["text"] == 'the tokens "light" (10), "paper" (5)'
    assert run.score("two_senses", "token_detector", "token_match")["value"] > 0.999


def test_two_senses_are_told_apart_and_beat_random_groups(run: Run) -> None:
    made = run.explanation("two_senses", "senses")
    assert sorted(made["parts"]) == ["the word light", "the word paper"]  # type: ignore[call-overload]
    assert set(str(made["text"]).split("; ")) == {"the word light", "the word paper"}
    for simulator in ("all_at_once", "embedding"):
        own, other = (run.score("two_senses", name, simulator) for name in ("senses", "mixed"))
        assert own["value"] > other["value"] + 0.1, simulator


def test_a_neuron_of_one_word_has_one_sense(run: Run) -> None:
    made = run.explanation(len(NAMED), "senses")
    assert (made["status"], made["text"], made["raw_response"]) == ("failed", None, "one sense")


def test_parts_of_what_is_asked_for_are_calls_of_their_own(run: Run) -> None:
    made = run.explanation("two_senses", "senses")
    simulations = run.tables.read("concepts", "simulations").filter(
        explanation_id=made["explanation_id"], simulator="all_at_once"
    )
    tokens = run.tables.read("concepts", "corpus/sequences").select("sequence_id", "token_ids")
    words = dict(run.tables.read("concepts", "corpus/vocabulary").select("token_id", "bytes").iter_rows())
    read = simulations.join(tokens, on="sequence_id").select("token_ids", "simulated").iter_rows()
    values: dict[bytes, set[int]] = {}
    for ids, simulated in read:
        for token, value in zip(ids, simulated, strict=True):
            values.setdefault(words[token], set()).add(round(value))
    assert values.pop(b" light") == values.pop(b" paper") == {10}
    assert set().union(*values.values()) == {0}


def test_a_trace_of_senses_has_a_prompt_for_each_built_anew_with_the_encoder(run: Run) -> None:
    made = run.explanation("two_senses", "senses")
    found = neuron_trace(run.study, run.environment, 0, NAMED["two_senses"], explainer="senses").sent
    assert (found.is_stored, found.is_verified, found.is_rebuilt, found.note) == (True, True, True, "")
    assert len(found.prompts) == 2
    assert fingerprint([prompt.sha256 for prompt in found.prompts]) == made["prompt_sha256"]
    assert [prompt.reply for prompt in found.prompts] == json.loads(str(made["raw_response"]))
    one = neuron_trace(run.study, run.environment, 0, len(NAMED), explainer="senses")
    assert (one.sent.prompts, one.explanation["raw_response"]) == ((), "one sense")
