import json
from pathlib import Path
from typing import Any

import pytest

from swapbench.errors import UserError
from swapbench.workshop.prune.latency_table import Latency, LatencyTable, read_latency_table
from swapbench.workshop.prune.widths import Shape, WidthSpace

BASE = (64, 64, *(128, 128, 64) * 5, *(256, 256, 128) * 7, 512, 512, 128, *(256, 256, 128) * 2, 512, 512)
SHAPE = Shape(80, 2)


def table(*, dense_ns: float = 100.0, **changes: Any) -> dict[str, Any]:
    """Every layer: a dense one takes dense_ns a pair of channels, a depthwise one 1 a channel."""
    kinds = {(one.kind, one.kernel, one.stride, one.input_px) for one in SHAPE.layers(BASE)}
    rows = []
    for kind, kernel, stride, input_px in sorted(kinds):
        about = {"kind": kind, "kernel": kernel, "stride": stride, "input_px": input_px, "outputs": [1, 600]}
        if kind == "dense":
            about |= {"inputs": [1, 600], "ns": [[dense_ns * i * o for o in (1, 600)] for i in (1, 600)]}
        else:
            about |= {"ns": [[1, 600]]}
        rows.append(about)
    return {"format": 1, "measured": "by hand", "other_ns": 7.0, "layers": rows} | changes


def test_the_time_of_a_network_is_the_sum_of_its_layers_interpolated_between_the_widths() -> None:
    latency = Latency(LatencyTable.model_validate(table()), SHAPE)
    by_hand = 7.0
    for layer in SHAPE.layers(BASE):
        by_hand += layer.outputs if layer.kind == "depthwise" else 100.0 * layer.inputs * layer.outputs
    assert latency.ns(BASE) == pytest.approx(by_hand)


def test_latency_takes_the_place_of_macs_as_the_budget() -> None:
    latency = Latency(LatencyTable.model_validate(table()), SHAPE)
    space = WidthSpace.of(BASE)
    most_ms = latency.ns(BASE) / 2e6
    found = space.uniform(latency.budget(most_ms))
    assert 0.95 * most_ms < latency.ns(found) / 1e6 <= most_ms
    with pytest.raises(UserError, match=r"no structure fits into 1\.00 ms: the narrowest has "):
        space.within(latency.budget(1.0))


def test_a_table_of_multiples_serves_pruning_to_multiples_of_them_only(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from swapbench.workshop.prune.pruning import require_feasible
    from swapbench.workshop.recipes.recipe import TrainRecipe, read_recipe

    path = tmp_path / "table.json"
    path.write_text(json.dumps(table(channel_multiple=8)))
    mobilefacenet = read_recipe(Path(__file__).parents[1] / "models" / "recipes" / "mobilefacenet.toml")

    def pruned(**more: int) -> TrainRecipe:
        pruning = {"method": "uniform", "latency_ms": 60.0, "latency_table": str(path), **more}
        return TrainRecipe.model_validate(mobilefacenet.model_dump() | {"pruning": pruning})

    for fitting in (8, 16):
        require_feasible(pruned(channel_multiple=fitting))
    for other in ({}, {"channel_multiple": 12}):
        with pytest.raises(UserError, match=r"in multiples of 8 only.*--channel-multiple 8"):
            require_feasible(pruned(**other))


def test_what_is_not_in_the_table_is_an_error_and_no_guess() -> None:
    lacking = table()
    lacking["layers"] = [one for one in lacking["layers"] if one["kernel"] != 5]
    with pytest.raises(UserError, match=r"has no depthwise layer 5x5, stride 1, at 5 px\. Measure it too"):
        Latency(LatencyTable.model_validate(lacking), SHAPE).ns(BASE)
    narrow = json.loads(json.dumps(table()).replace("[1, 600]", "[1, 100]"))
    with pytest.raises(UserError, match=r"from 64 to 128 channels\. Measure wider"):
        Latency(LatencyTable.model_validate(narrow), SHAPE).ns(BASE)


def test_a_wrong_table_is_named_with_its_field(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    with pytest.raises(UserError, match="cannot read the latency table"):
        read_latency_table(path)
    path.write_text("no")
    with pytest.raises(UserError, match=r"table\.json is not JSON"):
        read_latency_table(path)
    path.write_text(json.dumps(table(format=2)))
    with pytest.raises(UserError, match=r"table\.json: format: Input should be 1"):
        read_latency_table(path)
    wrong = table()
    wrong["layers"][0]["ns"] = [[1.0]]
    path.write_text(json.dumps(wrong))
    with pytest.raises(UserError, match=r"layers.0: .*a row for every input width"):
        read_latency_table(path)
    falling = table()
    falling["layers"][0]["outputs"] = [600, 1]
    path.write_text(json.dumps(falling))
    with pytest.raises(UserError, match="widths must be in ascending order"):
        read_latency_table(path)
    path.write_text(json.dumps(table()))
    assert read_latency_table(path).other_ns == 7.0
