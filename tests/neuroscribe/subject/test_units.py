import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neuroscribe.capture import CapturePlan, capture, check_size
from neuroscribe.capture.connections import layer_connections
from neuroscribe.capture.direct import captured_texts
from neuroscribe.errors import CaptureError, StudyError, SubjectError
from neuroscribe.kinds import KnownStudy
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import provenance, stage_identity, stages_of
from neuroscribe.subject.compiled import CompiledBackbone
from neuroscribe.subject.hooks import check_sites
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.kinds import UNIT_KINDS, chosen_units
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import Site, UnitKind
from neuroscribe.testing.planted import WIDTH, planted_corpus, planted_subject, planted_tokenizer
from neuroscribe.testing.stores import SilentProgress
from tests.neuroscribe.capture.scenario import BATCH, corpus, subject, tiny
from tests.residual_dimensions import KINDS, RESIDUAL, ResidualDimensions

DEFAULT = Path(__file__).parents[3] / "studies" / "embedded.toml"


def study(**subject: Any) -> Study:
    data = tomllib.loads(DEFAULT.read_text(encoding="utf-8"))
    return KnownStudy.model_validate({**data, "name": "s", "subject": {**data["subject"], **subject}})


class Pair(nn.Module):
    """Gives its input doubled, and how long it is."""

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, int]:
        return 2 * values, len(values)


PAIR, VALUES = Pair(), torch.tensor([1.0, -3.0])
AT_INPUT = Site(0, "pair", PAIR, 2, signed=True)
AT_OUTPUT = replace(AT_INPUT, end="output")
TURNED = replace(AT_OUTPUT, read=lambda value: value.flip(0), write=lambda value, new: value + new.flip(0))
"""Reads the two values the other way round, and adds what it writes."""


@pytest.mark.parametrize(
    ("site", "read"), [(AT_INPUT, [1.0, -3.0]), (AT_OUTPUT, [2.0, -6.0]), (TURNED, [-6.0, 2.0])]
)
def test_a_site_hands_over_what_its_module_is_given_or_gives_until_it_is_let_go(
    site: Site, read: list[float]
) -> None:
    taken: list[list[float]] = []
    handle = site.tapped(lambda activations: taken.append(activations.tolist()))
    assert PAIR(VALUES)[0].tolist() == [2.0, -6.0]
    handle.remove()
    PAIR(VALUES)
    assert taken == [read]


@pytest.mark.parametrize(
    ("site", "given"), [(AT_INPUT, [20.0, 2.0]), (AT_OUTPUT, [10.0, 1.0]), (TURNED, [2 + 1.0, -6 + 10.0])]
)
def test_what_is_put_in_the_place_of_activations_is_what_the_model_goes_on_with(
    site: Site, given: list[float]
) -> None:
    handle = site.replaced(lambda activations: torch.tensor([10.0, 1.0]))
    assert (PAIR(VALUES)[0].tolist(), PAIR(VALUES)[1]) == (given, 2)
    handle.remove()
    assert PAIR(VALUES)[0].tolist() == [2.0, -6.0]


def test_every_kind_in_the_table_fulfils_the_protocol_and_says_what_it_is() -> None:
    assert chosen_units(study().subject, UNIT_KINDS) is MLP_NEURONS
    for kind in KINDS.values():
        assert isinstance(kind, UnitKind)
    assert len({kind.sentence for kind in KINDS.values()}) == len(KINDS) == len(UNIT_KINDS) + 1


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    spec = study(units="heads").subject
    with pytest.raises(
        StudyError, match=r'subject.units = "heads" .* known kinds: mlp_neurons, residual_dimensions; correct'
    ):
        chosen_units(spec, KINDS)


def test_the_kind_enters_the_identity_of_what_rests_on_the_subject_and_the_default_does_not() -> None:
    plain, named, other = study(), study(units="mlp_neurons"), study(units=RESIDUAL)
    for stage in stages_of(plain):
        same = stage_identity(plain, stage)
        assert stage_identity(named, stage) == same
        assert (stage_identity(other, stage) == same) == (stage in ("corpus", "encoded_corpus"))
    assert "units" not in provenance(plain, "activations")
    assert provenance(other, "activations")["units"] == RESIDUAL


def test_mlp_neurons_are_read_where_the_down_projections_are_and_confirmed_by_the_mlp() -> None:
    model = tiny("llama")
    site = MLP_NEURONS.sites(model)[1]
    block = model.model.layers[1]
    assert (site.path, site.end, site.signed) == ("model.layers.1.mlp.down_proj", "input", True)
    assert (site.module, site.confirmed_by) == (block.mlp.down_proj, block.mlp)
    assert site.neurons == block.mlp.down_proj.in_features


def residual(model: Any = None) -> Subject:
    return replace(subject(model or tiny()), units=ResidualDimensions())


def test_a_subject_names_the_layers_that_its_kind_of_unit_has() -> None:
    own = residual()
    assert list(own.sites()) == list(own.sites([1, 0])) == [0, 1]
    with pytest.raises(StudyError, match="layer 7 has no block in this model; layers with one: 0 to 1"):
        own.sites([7])


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"layers": 3, "neurons_per_layer": 16}, "has 2 layers with a block; set subject.layers = 2"),
        ({"layers": 2, "neurons_per_layer": 24}, "has 16 neurons; set subject.neurons_per_layer = 16"),
    ],
)
def test_the_size_that_a_study_states_is_that_of_its_kind_of_unit(
    stated: dict[str, int], message: str
) -> None:
    wanted = study().model_copy(update={"subject": study().subject.model_copy(update=stated)})
    with pytest.raises(StudyError, match=message):
        check_size(wanted, residual())


def test_a_site_that_is_read_twice_in_a_pass_is_refused_though_nothing_confirms_it() -> None:
    model = tiny()
    sites = ResidualDimensions().sites(model)
    assert list(check_sites(model, sites, corpus()[:1])) == [0, 1]
    model.transformer.h.append(model.transformer.h[0])
    with pytest.raises(CaptureError, match=r"transformer.h.0 was called 2 times"):
        check_sites(model, sites, corpus()[:1])


def test_units_without_weights_of_their_own_get_no_connections() -> None:
    with pytest.raises(SubjectError, match="units of a block have no weights of their own"):
        layer_connections(planted_subject(), 0, units=ResidualDimensions())


def test_both_signs_of_units_that_are_symmetric_are_kept_without_a_study() -> None:
    few = {"sequence_length": 8, "top_k": 8, "random_sequences": 8}
    tables = captured_texts(
        planted_subject(), planted_tokenizer(), planted_corpus(20, seed=1), units=ResidualDimensions(), **few
    )
    assert set(tables["neuron_records"]["polarity"]) == {1, -1}
    assert tables["activations/statistics"]["neuron"].max() == WIDTH - 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_outputs_of_blocks_are_handed_over_from_inside_a_compiled_graph() -> None:
    own = residual()
    graph = CompiledBackbone(own.model, own.units)
    plain, found = (
        capture(one, corpus(), plan=CapturePlan(4, (1, -1), (0,)), layers=[0, 1], progress=SilentProgress())
        for one in (own, replace(own, compiled=graph))
    )
    assert graph.calls.tolist() == [len(corpus()) // BATCH] * 2
    for layer, state in plain.items():
        assert state.extremes.abs().max() > 0
        torch.testing.assert_close(found[layer].extremes, state.extremes, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found[layer].top_value, state.top_value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("sites", "where"), [({}, "any layer"), ({0: {"neurons": 8}, 1: {"neurons": 0}}, "layer 1")]
)
def test_a_kind_that_finds_no_neurons_is_refused_with_the_layer(sites: dict[int, Any], where: str):
    found = MLP_NEURONS.sites(tiny())

    class Empty:
        sentence, carrier = "nothing", "thing"

        def sites(self, model: Any) -> dict[int, Site]:
            return {layer: replace(found[layer], **changes) for layer, changes in sites.items()}

        def weights(self, model: Any) -> None:
            return None

    with pytest.raises(SubjectError, match=f"find no thing with neurons in {where}; correct subject.units"):
        replace(subject(tiny()), units=Empty()).sites()
