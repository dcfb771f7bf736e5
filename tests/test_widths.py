import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.errors import UserError
from swapbench.workshop.prune.widths import (
    Budget,
    Feasible,
    Genes,
    Shape,
    WidthSpace,
    bottlenecks,
    convolutions,
)

V2 = (
    *(32, 32),
    *(103, 103, 64),
    *(13, 13, 64) * 4,
    *(231, 231, 128) * 2,
    *(52, 52, 128),
    *(26, 26, 128),
    *(77, 77, 128),
    *(26, 26, 128) * 2,
    *(308, 308, 128),
    *(26, 26, 128) * 2,
    *(512, 512),
)
BASE = (64, 64, *(128, 128, 64) * 5, *(256, 256, 128) * 7, 512, 512, 128, *(256, 256, 128) * 2, 512, 512)
SHAPE = Shape(80, 2)
SPACE = WidthSpace.of(BASE)


def test_the_published_counts_of_parameters_and_macs() -> None:
    assert (Shape(80, 3).macs(V2), Shape(80, 3).parameters(V2)) == (40_718_220, 434_560)
    assert (Shape(80, 3).parameters(BASE), Shape(80, 2).parameters(BASE)) == (991_232, 991_104)
    assert round(Shape(80, 3).macs(BASE) / 1e6, 2) == 112.77
    assert round(Shape(112, 3).macs(BASE) / 1e6, 2) == 220.97
    assert Shape(112, 3).parameters(BASE) == 1_003_520


def test_the_macs_of_a_layer_by_hand() -> None:
    layers = {layer.name: layer for layer in SHAPE.layers(BASE)}
    assert layers["conv1"].macs == 40 * 40 * 3 * 3 * 3 * 64
    assert layers["conv_23.conv_dw"].macs == 20 * 20 * 3 * 3 * 128
    assert layers["conv_45.project"].macs == 5 * 5 * 512 * 128
    assert layers["conv_6_dw"].macs == 5 * 5 * 512
    assert layers["conv_6_dw"].parameters == 5 * 5 * 512 + 2 * 512
    assert layers["prob"].parameters == 128 * 2


def test_every_entry_of_the_list_but_the_tail_belongs_to_one_gene_and_what_is_added_is_tied() -> None:
    places = [place for gene in SPACE.genes for place in gene.places]
    assert sorted(places) == list(range(47))
    assert len(SPACE.genes) == 19
    assert SPACE.genes[0].places == (0, 1)
    outputs = {gene.name: gene.places for gene in SPACE.genes if "output" in gene.name}
    assert outputs["stage 1 output"] == (4, 7, 10, 13, 16)
    assert outputs["stage 3 output"] == (40, 43, 46)
    assert len(list(bottlenecks())) == 15
    assert len(list(convolutions())) == 2 + 45 + 2


def test_the_widths_of_a_gene_are_31_scales_from_a_tenth() -> None:
    stem, wide = SPACE.genes[0].widths, SPACE.genes[13].widths
    assert stem[:4] == (6, 8, 10, 12)  # .10 .13 .16 .19 of 64
    assert stem[-1] == 64
    assert wide[0] == 51
    assert wide[15] == 281  # .55 of 512
    assert len(wide) == 31
    # of 4 channels, 31 scales are 4 widths
    assert WidthSpace.of([4] * 49).genes[0].widths == (1, 2, 3, 4)
    assert SPACE.channels(SPACE.widest) == BASE


def test_widths_in_multiples_are_rounded_down_and_the_unpruned_one_stays() -> None:
    space = WidthSpace.of(BASE, multiple=8)
    assert space.genes[0].widths == (8, 16, 24, 32, 40, 48, 56, 64)
    assert space.genes[13].widths[:3] == (48, 64, 80)  # of 51, 66 and 81, tenths and threes of 512
    assert SPACE.genes[13].widths[:3] == (51, 66, 81)
    assert space.channels(space.widest) == BASE
    # a layer narrower than the multiple keeps its width; one that is no multiple itself may keep it too
    assert WidthSpace.of([4] * 49, multiple=8).genes[0].widths == (4,)
    assert WidthSpace.of([13] * 49, multiple=8).genes[0].widths == (8, 13)


@given(st.floats(0, 1), st.integers(1, 32))
def test_uniform_widths_in_multiples_keep_to_the_budget_and_to_the_multiple(
    part: float, multiple: int
) -> None:
    space = WidthSpace.of(BASE, multiple=multiple)
    least, most = SHAPE.macs(space.channels((0,) * 19)), SHAPE.macs(BASE)
    macs = round(least + part * (most - least))
    budget = Budget.of_macs(macs, SHAPE)
    found = space.uniform(budget)
    assert SHAPE.macs(found) <= macs
    widths = [(found[gene.places[0]], gene.widths[-1]) for gene in space.genes]
    assert all(width % multiple == 0 or width == unpruned for width, unpruned in widths)
    # one step more of the narrowest kind of layer, with all others as far as they follow, is too much
    if found != BASE:
        factor = min(
            (width // multiple + 1) * multiple / unpruned for width, unpruned in widths if width < unpruned
        )
        wider = [space.narrowed(gene, int(gene.widths[-1] * factor + 1e-9)) for gene in space.genes]
        assert SHAPE.macs(space.with_widths(wider)) > macs


def test_a_list_that_ties_nothing_or_is_too_short_is_refused() -> None:
    broken = list(BASE)
    broken[7] += 1
    with pytest.raises(ValueError, match="stage 1 output has several widths: channels 4, 7, 10, 13, 16"):
        WidthSpace.of(broken)
    with pytest.raises(ValueError, match="channels must be 49 positive numbers"):
        WidthSpace.of(BASE[:-1])


@pytest.mark.parametrize("macs", [2_000_000, 5_000_000, 20_000_000, 40_000_000, 60_000_000, 80_000_000])
def test_uniform_widths_are_the_widest_within_the_budget(macs: int) -> None:
    budget = Budget.of_macs(macs, SHAPE)
    found = SPACE.uniform(budget)
    assert SHAPE.macs(found) <= macs
    factor = found[17] / BASE[17]  # of an expansion of 256
    wider = [max(int((factor + 1 / 64) * gene.widths[-1]), gene.widths[0]) for gene in SPACE.genes]
    assert SHAPE.macs(SPACE.with_widths(wider)) > macs
    assert found[-2:] == (512, 512)


def test_a_budget_that_holds_the_unpruned_network_prunes_nothing() -> None:
    assert SPACE.uniform(Budget.of_macs(112_769_792, SHAPE)) == BASE
    assert SPACE.uniform(Budget.of_macs(112_769_791, SHAPE)) != BASE


def test_an_impossible_budget_is_refused_at_once_and_names_the_smallest_possible() -> None:
    smallest = SHAPE.macs(SPACE.channels((0,) * 19))
    assert smallest == 1_904_917
    SPACE.within(Budget.of_macs(smallest, SHAPE))
    for refused in (SPACE.within, SPACE.uniform):
        with pytest.raises(
            UserError, match=r"no structure fits into 1\.90 M MACs: the narrowest has 1\.90 M MACs"
        ):
            refused(Budget.of_macs(smallest - 1, SHAPE))
    with pytest.raises(
        UserError, match=r"fits into 1\.00 M MACs: the narrowest has 1\.90 M MACs\. Raise the budget"
    ):
        SPACE.within(Budget.of_macs(1e6, SHAPE))


@st.composite
def feasible(draw: st.DrawFn) -> Feasible:
    """A space of a few weighted genes, and a budget anywhere between the narrowest and the widest."""
    sizes = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=6)))
    weights = draw(st.lists(st.integers(0, 9), min_size=len(sizes), max_size=len(sizes)))

    def cost(genes: Genes) -> float:
        return sum((gene + 1) * weight for gene, weight in zip(genes, weights, strict=True))

    least, most = cost((0,) * len(sizes)), cost(tuple(size - 1 for size in sizes))
    return Feasible(sizes, cost, draw(st.floats(least, most)))


@given(feasible(), st.integers(0, 1000))
def test_whatever_is_drawn_mutated_or_crossed_is_within_the_budget(space: Feasible, seed: int) -> None:
    random = np.random.default_rng(seed)
    one, other = space.drawn(random), space.drawn(random)
    widest = tuple(size - 1 for size in space.sizes)
    for genes in (
        one,
        space.mutated(one, 0.5, random),
        space.crossed(one, other, random),
        space.repaired(widest, random),
    ):
        assert space.cost(genes) <= space.most
        assert all(0 <= gene < size for gene, size in zip(genes, space.sizes, strict=True))


def test_a_structure_within_the_budget_is_not_repaired_and_another_loses_no_more_than_it_must() -> None:
    space = Feasible((5, 5), sum, 5)
    random = np.random.default_rng(0)
    assert space.repaired((2, 3), random) == (2, 3)
    assert sum(space.repaired((4, 4), random)) == 5


def test_a_mutated_gene_always_changes_and_the_others_never_do() -> None:
    space = Feasible((31,) * 200, lambda genes: 0, 1)
    before = (7,) * 200
    random = np.random.default_rng(1)
    assert 7 not in space.mutated(before, 1.0, random)
    changed = sum(gene != 7 for gene in space.mutated(before, 0.1, random))
    assert 8 <= changed <= 35
    mixed = space.crossed(before, (3,) * 200, random)
    assert set(mixed) == {3, 7}
    assert 70 <= mixed.count(3) <= 130


def test_a_tight_budget_is_drawn_without_end_of_patience() -> None:
    space = SPACE.within(Budget.of_macs(2_000_000, SHAPE))
    drawn = {space.drawn(np.random.default_rng(seed)) for seed in range(5)}
    assert len(drawn) > 1
    assert all(space.cost(genes) <= 2_000_000 for genes in drawn)


@pytest.mark.slow
def test_the_counts_are_those_of_the_network_that_is_built() -> None:
    import inspect

    from torch import zeros
    from torch.utils.flop_counter import FlopCounterMode

    from swapbench.workshop.nets.minifasnet import MOBILEFACENET, RESIDUALS, MiniFASNet
    from swapbench.workshop.prune import widths
    from swapbench.workshop.prune.pruning_net import shape_of

    assert MOBILEFACENET == BASE
    assert widths.RESIDUALS == RESIDUALS
    defaults = inspect.signature(MiniFASNet).parameters
    assert all(
        vars(shape_of({}))[name] == defaults[name].default for name in ("size_px", "classes", "embedding")
    )
    random = np.random.default_rng(0)
    for size_px, classes, embedding in ((80, 2, 128), (81, 3, 64), (112, 2, 16)):
        channels = SPACE.channels(tuple(int(random.integers(size)) for size in SPACE.sizes))
        shape = Shape(size_px, classes, embedding)
        network = MiniFASNet(channels, size_px=size_px, classes=classes, embedding=embedding).eval()
        assert sum(one.numel() for one in network.parameters()) == shape.parameters(channels)
        with FlopCounterMode(display=False) as counter:
            network(zeros(1, 3, size_px, size_px))
        assert counter.get_total_flops() == 2 * shape.macs(channels)
        modules = dict(network.named_modules())
        for layer in shape.layers(channels):
            module = modules[layer.name]
            conv = getattr(module, "conv", module)
            assert conv.weight.numel() == layer.weights, layer.name


@pytest.mark.slow
def test_the_macs_are_those_of_the_exported_file(tmp_path) -> None:
    from swapbench.modelfile import read_graph
    from swapbench.workshop.export.to_onnx import export_base, fp32
    from swapbench.workshop.nets.minifasnet import MiniFASNet

    channels = SPACE.uniform(Budget.of_macs(4_000_000, SHAPE))
    path = tmp_path / "net.onnx"
    path.write_bytes(fp32(export_base(MiniFASNet(channels, classes=2).eval(), 80, 80)))
    assert read_graph(path).macs == SHAPE.macs(channels)
