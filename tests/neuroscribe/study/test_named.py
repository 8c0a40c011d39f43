"""What explainers that build on others must find in their study, and the models that they ask."""

from typing import Any

import pytest

from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES
from neuroscribe.testing.studies import tiny_study

OTHER = {"model": "other"}


def study(paraphraser: Any = OTHER, encoder: bool = True, **explainers: Any) -> Study:
    every = {"token_pairs": {}, **explainers}
    simulators = {"embedding" if encoder else "matching_words": {"explainers": ["token_pairs"]}}
    given = {"paraphraser_llm": paraphraser} if paraphraser else {}
    return tiny_study(explainers=every, simulators=simulators, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"revision": {"of": "nobody"}},
            r"explainers\.revision\.of names 'nobody', which is not among the explainers",
        ),
        ({"revision": {"of": "revision"}}, r"explainers\.revision\.of leads back to itself"),
        (
            {"a": {"kind": "revision", "of": "b"}, "b": {"kind": "revision", "of": "a"}},
            r"explainers\.a\.of leads back to itself",
        ),
        (
            {"revision": {"of": "token_pairs"}, "encoder": False},
            r"explainers\.revision needs a sentence encoder.*add \[simulators\.embedding\]",
        ),
        (
            {"paraphrase": {"of": "token_pairs"}, "paraphraser": None},
            r"explainers\.paraphrase asks \[paraphraser_llm\], which the study lacks; add it",
        ),
        (
            {"paraphrase": {"of": "token_pairs"}, "paraphraser": {"model": "m"}},
            r"paraphraser_llm\.model is 'm', as llm\.model is.*name another model",
        ),
        ({"paraphrase": {"of": "token_pairs", "candidates": 2}}, "a paraphrase has one"),
        ({"imported": {"file": "x", "sha256": "abc"}}, "sha256"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_run(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(**given)


def test_controls_of_a_revision_need_no_encoder() -> None:
    own = study(encoder=False, again={"kind": "revision", "of": "token_pairs", "evidence": "none"})
    assert not own.encoders


def test_each_explainer_asks_its_model() -> None:
    own = study(paraphrase={"of": "token_pairs"}, imported={"file": "x"})
    assert (set(own.asking("llm")), set(own.asking("paraphraser_llm"))) == ({"token_pairs"}, {"paraphrase"})
    assert own.explaining_needs == {"reply"}


def test_what_starts_from_a_token_table_is_scored_where_the_table_is_not_from() -> None:
    own = study(
        token_list={},
        revision={"of": "token_list"},
        paraphrase={"of": "revision"},
        other={"kind": "revision", "of": "token_pairs"},
    )
    assert [own.reads_table(name) for name in own.explainers] == [False, True, True, True, False]


def test_the_paraphrasing_model_is_part_of_explanations_where_it_is_asked() -> None:
    settings = STAGES["explanations"].settings
    asking, idle = study(paraphrase={"of": "token_pairs"}), study()
    assert settings(asking)["paraphraser_llm"]["model"] == "other"
    assert "paraphraser_llm" not in settings(idle)
    assert "base_url" not in settings(asking)["paraphraser_llm"]


def test_labels_without_a_hash_unpin_a_study() -> None:
    commit = {"revision": "0" * 40}
    pinned = {
        "subject": commit, "corpus": {"files": None, "artefact": "a"}, "llm": commit,
        "simulators": {"embedding": {"explainers": ["imported"], **commit}},
    }  # fmt: skip
    wanted = {None: False, "0" * 64: True}
    for sha256, is_pinned in wanted.items():
        own = tiny_study(explainers={"imported": {"file": "x", "sha256": sha256}}, **pinned)
        assert own.pins_all == is_pinned
