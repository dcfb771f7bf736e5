"""`swapbench latency-table` on a device whose layers' times are known, and budgets in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from swapbench import catalog, cli
from swapbench.commands import latency
from swapbench.commands import train as training
from swapbench.commands.place import Place
from swapbench.errors import BadCard, UnknownName, UserError, WorkerFailed
from swapbench.runtimes.contract import PythonWorker
from swapbench.testing import Fake, FakeModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.workshop.prune.layer_chains import Chain
    from swapbench.workshop.prune.widths import Channels, Shape

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

CALL_NS = 50_000
STEM_NS = 7_000


def kernel_ns(depthwise: bool, kernel: int, stride: int, px: int, inputs: int, outputs: int) -> int:
    """Rises with both widths and their product, so that interpolation is exact."""
    out_px = 1 if kernel == px else px // stride
    return 500 + (3 * outputs if depthwise else inputs * outputs // 2 * 2) * kernel * out_px


def prelu_ns(px: int, outputs: int) -> int:
    return 10 * px * outputs


def chain_ns(chain: Chain) -> int:
    if chain.layout == "bare":
        return CALL_NS
    kernel, px, a, b = chain.kernel, chain.input_px, chain.inputs, chain.outputs
    after = 0 if chain.linear else prelu_ns(1 if kernel == px else px // chain.stride, b)
    unit = kernel_ns(chain.depthwise, kernel, chain.stride, px, a, b) + after
    if chain.layout == "pair":
        unit += kernel_ns(False, 1, 1, px, b, a)
    return CALL_NS + STEM_NS * (a != 3) + chain.copies * unit


def network_ns(shape: Shape, channels: Channels) -> int:
    total = CALL_NS
    for one in shape.layers(channels):
        total += kernel_ns(
            one.kind == "depthwise", one.kernel, one.stride, one.input_px, one.inputs, one.outputs
        )
        total += 0 if one.linear else prelu_ns(one.output_px, one.outputs)
    return total


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """This computer is a device on which every chain and network takes the time of its layers."""
    from swapbench.workshop.artifacts import chain_files
    from swapbench.workshop.prune.layer_chains import bare, grids
    from swapbench.workshop.prune.widths import Shape, WidthSpace
    from swapbench.workshop.recipes.recipe import read_recipe

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    base = read_recipe(catalog.recipe_files(catalog.Folders(tmp_path))["mobilefacenet"]).architecture[
        "channels"
    ]
    shape, space, eights = Shape(80, 2), WidthSpace.of(base), WidthSpace.of(base, multiple=8)
    chains = {bare(80)}
    for points in (2, 3):
        for grid in (*grids(shape, space, points), *grids(shape, eights, points)):
            chains |= {one for inputs in grid.inputs for cell in grid.row(inputs) for one in cell[:2]}
    models = {f"{one.name}.fp32.onnx": FakeModel(run_ns=chain_ns(one)) for one in chains}
    for name, channels in (latency._networks(space, shape, 4) | latency._networks(eights, shape, 4)).items():
        models[f"{name}.fp32.onnx"] = FakeModel(run_ns=network_ns(shape, channels))
    fake = Fake(models)
    worker = PythonWorker("fake", ("onnx",), "fake", python="python")
    monkeypatch.setattr(latency, "open_place", lambda *_: Place(fake, (worker,), {}))

    def made(missing: Any, _format: str, _precision: str, _folder: Path, progress: Any) -> None:
        for one in missing:
            Path(one.path).parent.mkdir(parents=True, exist_ok=True)
            Path(one.path).write_bytes(b"")
        progress("made", len(missing), len(missing))

    monkeypatch.setattr(chain_files, "make_in_processes", made)
    return fake


def measured(
    progress: Callable[..., None] = lambda *_: None, say: Any = lambda _: None, **changes: Any
) -> Any:
    options = {"points": 2, "checked": 4, **changes}
    request = latency.LatencyRequest("mobilefacenet", **options)
    return latency.latency_table(catalog.Folders(Path.cwd()), request, progress=progress, say=say)


def test_the_table_of_known_layers_predicts_whole_networks(device: Fake) -> None:
    heard: list[tuple[str, float, float]] = []
    result = measured(lambda *about: heard.append(about))
    assert result.table.other_ns == CALL_NS
    assert len(result.table.checked) == 4
    # what a layer takes beside 500 ns is in the table;
    # halves of a pair differ from layers where the widths around differ
    assert result.table.error < 0.03
    assert result.table.correlation > 0.999
    assert "fake" in result.table.measured
    assert "1 thread(s), fp32; mobilefacenet at 80 px" in result.table.measured
    assert result.path == Path.cwd() / "reports/latency/mobilefacenet.onnxruntime.fp32.1t.local.json"
    from swapbench.workshop.prune.latency_table import read_latency_table

    assert read_latency_table(result.path) == result.table
    layers = [about for about in heard if about[0] == "measuring layers"]
    assert layers[0][1:] == (0, 19)
    assert layers[-1][1:] == (19, 19)
    assert not list(Path("build/latency").glob("rows-*"))
    one = next(x for x in result.table.layers if x.kind == "depthwise" and (x.stride, x.input_px) == (1, 20))
    assert one.ns == ((500 + 3 * 12 * 3 * 20 + 10 * 20 * 12, 500 + 3 * 128 * 3 * 20 + 10 * 20 * 128),)


def test_what_was_measured_before_a_kill_is_not_measured_again(device: Fake) -> None:
    def die(stage: str, done: float, _: float) -> None:
        if stage == "measuring layers" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(die)
    before = len(device.asked)
    assert before > 0
    assert device.open_workers == 0
    heard: list[str] = []
    result = measured(say=heard.append)
    assert heard == ["Resuming an unfinished table."]
    after = len(device.asked)
    fresh = measured(replace=True)
    assert len(device.asked) - after == after  # a whole table asks for as much as both parts together
    assert fresh.table.layers == result.table.layers


def test_a_table_of_multiples_says_so_and_measures_no_other_widths(device: Fake) -> None:
    result = measured(channel_multiple=8)
    assert result.path.name == "mobilefacenet.onnxruntime.fp32.1t.x8.local.json"
    assert result.table.channel_multiple == 8
    widths = {width for one in result.table.layers for width in (*one.inputs, *one.outputs)}
    assert {width for width in widths if width % 8} == {1, 2, 3}  # depthwise, classes, image
    assert all(width % 8 == 0 for one in result.table.checked for width in one.channels)
    assert result.table.error < 0.03
    assert measured().table.channel_multiple == 1


def test_a_table_that_is_there_is_not_overwritten(device: Fake) -> None:
    place = measured().path
    with pytest.raises(UserError, match=r"fp32\.1t\.local\.json exists already\. Choose another --out"):
        measured()
    content = place.read_bytes()
    other = measured(out=Path("mine.json"), points=3)
    assert other.path == Path("mine.json")
    assert place.read_bytes() == content


def test_a_file_that_cannot_be_run_leaves_no_table(device: Fake) -> None:
    broken = FakeModel(dies_in=frozenset(range(99)))
    device.models = {
        name: broken if name.startswith("pair-1x1-s1-5px") else model for name, model in device.models.items()
    }
    with pytest.raises(WorkerFailed, match="fake worker ended"):
        measured()
    assert not Path("reports").exists()


def test_wrong_requests_are_said_at_once(device: Fake) -> None:
    folders = catalog.Folders(Path.cwd())

    def ask(name: str, **options: Any) -> None:
        latency.latency_table(
            folders, latency.LatencyRequest(name, **options), progress=lambda *_: None, say=lambda _: None
        )

    with pytest.raises(UnknownName, match="no recipe named 'mobilefacnet'"):
        ask("mobilefacnet")
    with pytest.raises(UnknownName, match="no precision named 'int4'"):
        ask("mobilefacenet", precision="int4")
    with pytest.raises(BadCard, match="cannot be pruned"):
        ask("resnet18_map")
    with pytest.raises(UserError, match="--points must be at least 2"):
        ask("mobilefacenet", points=1)
    assert not device.asked


def test_the_command_prints_the_check_and_the_file(device: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.main(["latency-table", "mobilefacenet", "--points", "2", "--check", "4", "--out", "t.json"]) == 0
    )
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "t.json"
    assert out.splitlines()[0].split() == ["network", "predicted", "measured", "error"]
    assert "Median error of the sum of layers on 4 whole networks: " in err
    assert (
        cli.main(
            ["latency-table", "mobilefacenet", "--points", "2", "--check", "0", "--out", "u.json", "--json"]
        )
        == 0
    )
    out, _ = capsys.readouterr()
    assert json.loads(out) == json.loads(Path("u.json").read_text())
    assert json.loads(out)["checked"] == []


def test_a_budget_in_milliseconds_is_held_against_the_table_before_data_are_opened(device: Fake) -> None:
    path = measured().path

    def train(**options: Any) -> None:
        request = training.TrainRequest("mobilefacenet", **options)
        training.train(catalog.Folders(Path.cwd()), request, progress=lambda *_: None, say=lambda _: None)

    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"recipe": "metapruning", "latency_table": path, "latency_ms": 0.05},
            r"fits into 50\.0 µs: the narrowest has",
        ),
        ({"recipe": "uniform", "latency_table": path}, "--latency-table and --latency-ms go together"),
        ({"recipe": "uniform", "latency_ms": 2.0}, "--latency-table and --latency-ms go together"),
        (
            {"recipe": "uniform", "macs": "40M", "latency_table": path, "latency_ms": 2.0},
            "cannot be combined",
        ),
        ({"latency_table": path, "latency_ms": 2.0}, "does not prune, so --latency-ms has no effect"),
        (
            {"recipe": "uniform", "latency_table": Path("none.json"), "latency_ms": 2.0},
            "cannot read the latency table",
        ),
    ]
    for options, message in cases:
        with pytest.raises(UserError, match=message):
            train(**options)
    table = json.loads(path.read_text())
    table["layers"] = [
        one
        | (
            {"outputs": one["outputs"][:1], "ns": [row[:1] for row in one["ns"]]}
            if one["kind"] == "depthwise"
            else {}
        )
        for one in table["layers"]
    ]
    Path("short.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match=r"no depthwise layer 3x3 .*Measure wider and narrower ones"):
        train(recipe="metapruning", latency_table=Path("short.json"), latency_ms=50.0)
    assert not Path("data").exists()


def test_the_files_of_chains_are_made_by_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from swapbench.workshop.artifacts import chain_files
    from swapbench.workshop.prune.layer_chains import bare

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chain_files, "usable_cores", lambda: 1)
    folder = tmp_path / "files"
    heard: list[tuple[float, float]] = []
    good = chain_files.Wanted(path=str(tmp_path / "a.onnx"), chain=bare(16), size_px=16)
    chain_files.make_in_processes(
        [good], "onnx", "fp32", folder, lambda _, done, total: heard.append((done, total))
    )
    assert heard == [(0, 1), (1, 1)]
    from swapbench.modelfile import read_graph

    assert read_graph(tmp_path / "a.onnx").outputs[0].shape == (1, 8)
    bad = chain_files.Wanted(path=str(tmp_path / "b.onnx"), architecture={"channels": [1]}, size_px=16)
    with pytest.raises(WorkerFailed, match=r"died with status 1\. The exporters' output is in .*export\.log"):
        chain_files.make_in_processes([bad], "onnx", "fp32", folder, lambda *_: None)
    assert "must have 49 entries" in (folder / "export.log").read_text()
