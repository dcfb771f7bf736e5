"""Networks of ncnn: text and weights read, counted, held against ncnn itself, and refused where damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import PRETRAINED
from hypothesis import given
from hypothesis import strategies as st
from tiny_files import small_ncnn, small_onnx

from swapbench import cli
from swapbench.commands.baseline_folder import load_baseline
from swapbench.errors import BadModelFile, BadRecord
from swapbench.files import file_sha256
from swapbench.modelfile import read_graph
from swapbench.modelfile.input_shapes import image_shapes, refuse_unmeasurable
from swapbench.modelfile.ncnn_param import parse
from swapbench.modelfile.parts import files_of, model_sha256
from swapbench.store import load_run

pytestmark = pytest.mark.usefixtures("few_rounds")

MINIVISION = PRETRAINED.parent / "minivision_ncnn"


def written(folder: Path, text: str, weights: bytes = b"", name: str = "net.param") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".bin").write_bytes(weights)
    return path


def network(*layers: str) -> str:
    blobs = sum(int(layer.split()[3]) for layer in layers)
    return "\n".join(["7767517", f"{len(layers)} {blobs}", *layers, ""])


def raw(*numbers: float, tagged: bool = False) -> bytes:
    return bytes(4 * tagged) + np.array(numbers, np.float32).tobytes()


def small(folder: Path) -> Path:
    path = folder / "net.param"
    small_ncnn(path)
    return path


def test_a_small_network_is_counted_by_hand(tmp_path: Path) -> None:
    """Convolution 3->4, 3x3 padded, on 8x8: 108 weights x 64 places; PReLU 4; pool; linear 4->2."""
    graph = read_graph(small(tmp_path))
    assert graph.format == "ncnn"
    assert [(one.name, one.shape, one.dtype) for one in graph.inputs] == [("x", (1, 3, 8, 8), "float32")]
    assert [(one.name, one.shape) for one in graph.outputs] == [("y", (1, 2))]
    assert graph.macs == 108 * 64 + 8
    assert graph.params == 108 + 4 + 4 + 8 + 2
    assert graph.ops == {"Convolution": 1, "PReLU": 1, "Pooling": 1, "InnerProduct": 1}
    assert (graph.made_by, graph.taken_by) == (("InnerProduct",), ("Convolution",))
    assert (graph.precision, graph.layout, graph.uncounted_ops) == ("fp32", "nchw", ())


def test_it_has_the_counts_of_the_same_network_in_onnx(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(small_onnx())
    onnx, ncnn = read_graph(tmp_path / "net.onnx"), read_graph(small(tmp_path))
    assert (ncnn.params, ncnn.macs) == (onnx.params, onnx.macs)


def test_biases_that_are_all_zero_are_no_parameters(tmp_path: Path) -> None:
    text = network("Input x 0 1 x 0=1 1=1 2=2", "InnerProduct f 1 1 x y 0=2 1=1 2=4")
    path = written(tmp_path, text, raw(1, 2, 3, 4, tagged=True) + raw(0, 0))
    assert read_graph(path).params == 4
    path = written(tmp_path, text, raw(1, 2, 3, 4, tagged=True) + raw(0, 1))
    assert read_graph(path).params == 6


@pytest.mark.parametrize(
    ("tag", "stored", "precision", "dtype"),
    [
        (0x01306B47, bytes(6) + bytes(2), "fp16", "float16"),  # three halves, filled up to words
        (0x000D4B38, bytes(3) + bytes(1), "int8", "int8"),
        (0x0002C056, bytes(12), "fp32", "float32"),
        (1, bytes(1024) + bytes(4), "int8", "uint8"),  # indices into a table
    ],
)
def test_a_tag_says_how_weights_are_stored(
    tmp_path: Path, tag: int, stored: bytes, precision: str, dtype: str
) -> None:
    text = network("Input x 0 1 x 0=1 1=1 2=3", "InnerProduct f 1 1 x y 0=1 2=3")
    graph = read_graph(written(tmp_path, text, struct.pack("<I", tag) + stored))
    assert (graph.precision, dict(graph.weights)) == (precision, {dtype: 3})


def test_both_files_are_the_model(tmp_path: Path) -> None:
    path = small(tmp_path)
    weights = path.with_suffix(".bin")
    assert files_of(path) == read_graph(path).files == (path, weights)
    assert read_graph(path).file_bytes == path.stat().st_size + weights.stat().st_size
    before = model_sha256(path)
    assert before != file_sha256(path)
    weights.write_bytes(weights.read_bytes()[:-4] + struct.pack("<f", 9))
    assert model_sha256(path) != before


def test_a_baseline_keeps_both_files_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small(tmp_path)
    assert cli.main(["baseline", "save", "net.param", "--out", "base"]) == 0
    assert {path.name for path in (tmp_path / "base").glob("net.*")} == {"net.param", "net.bin"}
    kept = load_baseline(tmp_path / "base").files[0]
    assert (kept.name, kept.format, kept.macs) == ("net.param", "ncnn", 108 * 64 + 8)
    assert kept.sha256 == model_sha256(tmp_path / "net.param")
    weights = tmp_path / "base" / "net.bin"
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    with pytest.raises(BadRecord, match="is not the file that was saved"):
        load_baseline(tmp_path / "base")
    weights.unlink()
    with pytest.raises(BadRecord, match="is incomplete"):
        load_baseline(tmp_path / "base")


def test_a_run_measures_and_records_the_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ncnn")
    monkeypatch.chdir(tmp_path)
    path = small(tmp_path)
    assert cli.main(["run", "net.param", "--no-accuracy", "--budget", "1", "--name", "a"]) in {0, 3}
    (record,) = load_run(tmp_path / "reports" / "a")
    assert (record.variant.format, record.runtime.runtime) == ("ncnn", "ncnn")
    assert record.artifact_sha256 == model_sha256(path)
    assert record.weight.file_bytes == sum(part.stat().st_size for part in files_of(path))
    assert record.runtime.settings["winograd"] == "on"


# ----------------------------------------------------------------------------------------- sizes of the input


def test_the_size_in_the_file_is_a_hint_that_a_card_overrides(tmp_path: Path) -> None:
    path = small(tmp_path)
    graph = read_graph(path)
    assert image_shapes(graph, 6, 4, 3) == {"x": (1, 3, 4, 6)}
    other = read_graph(path, {"x": (1, 3, 4, 6)})
    assert other.macs == 108 * 24 + 8
    assert other.inputs[0].declared == (1, 3, "?", "?")
    assert other.worker_options == {"shapes": "1x3x4x6"}
    assert graph.worker_options == {"shapes": "1x3x8x8"}
    assert not graph.set_shapes


def test_the_channels_are_those_of_the_weights(tmp_path: Path) -> None:
    with pytest.raises(BadModelFile, match=r"is \[1, 3, 8, 8\] and cannot be 1x1x8x8"):
        read_graph(small(tmp_path), {"": (1, 1, 8, 8)})


def test_a_network_that_does_not_say_its_size_needs_a_card_or_a_shape(tmp_path: Path) -> None:
    text = network("Input x 0 1 x", "ReLU r 1 1 x y")
    graph = read_graph(written(tmp_path, text))
    with pytest.raises(BadModelFile, match=r"length 2, length 3 and length 4 .* free") as raised:
        refuse_unmeasurable(graph, "net.param")
    assert "--shape x=1,3,224,224" in raised.value.remedy
    assert "card" in raised.value.remedy
    assert image_shapes(graph, 80, 80, 3) == {"x": (1, 3, 80, 80)}


def test_a_hint_at_which_the_network_cannot_run_is_none(tmp_path: Path) -> None:
    """As in Silent-Face-Anti-Spoofing-APK, whose files say 60x60 and are fed 80x80."""
    layers = ("Input x 0 1 x 0=3 1=3 2=3", "Convolution c 1 1 x y 0=1 1=5 6=75")
    path = written(tmp_path, network(*layers), raw(*range(75), tagged=True))
    assert read_graph(path).inputs[0].shape == (1, 3, 0, 0)
    assert read_graph(path, {"": (1, 3, 5, 6)}).outputs[0].shape == (1, 1, 1, 2)
    with pytest.raises(BadModelFile, match="cannot run at 1x3x4x4: nothing is left of the input behind its"):
        read_graph(path, {"": (1, 3, 4, 4)})


# ---------------------------------------------------------------------------------------- against ncnn itself

LAYERS = (
    ("Convolution l 1 1 x y 0=4 1=3 11=1 2=2 12=1 3=2 13=1 4=1 15=0 14=0 16=0 6=36", "planes"),
    ("Convolution l 1 1 x y 0=4 1=3 3=2 4=-233 6=108", "planes"),
    ("Convolution l 1 1 x y 0=4 1=1 5=1 6=40", "flat"),
    ("ConvolutionDepthWise l 1 1 x y 0=3 1=3 4=1 6=27 7=3", "planes"),
    ("Deconvolution l 1 1 x y 0=2 1=3 3=2 4=1 18=1 19=1 6=54", "planes"),
    ("Convolution1D l 1 1 x y 0=2 1=3 3=2 4=1 6=18", "rows"),
    ("InnerProduct l 1 1 x y 0=2 1=1 2=420", "planes"),
    ("InnerProduct l 1 1 x y 0=2 2=20", "rows"),
    ("Pooling l 1 1 x y 0=0 1=3 2=2 5=0", "planes"),
    ("Pooling l 1 1 x y 0=0 1=3 2=2 5=1", "planes"),
    ("Pooling l 1 1 x y 0=1 1=3 2=2 5=2", "planes"),
    ("Pooling l 1 1 x y 0=1 1=2 2=2 3=1 5=1", "planes"),
    ("Pooling l 1 1 x y 0=1 4=1", "planes"),
    ("Pooling l 1 1 x y 0=1 7=1 8=2 18=3", "planes"),
    ("Pooling l 1 1 x y 0=1 7=1 8=-233 18=3", "planes"),
    ("Flatten l 1 1 x y", "planes"),
    ("Reshape l 1 1 x y 0=-1 1=15", "planes"),
    ("Reshape l 1 1 x y 0=7 1=-1 2=2", "planes"),
    ("Reshape l 1 1 x y 0=0 1=-1", "planes"),
    *((f"Permute l 1 1 x y 0={order}", "planes") for order in range(6)),
    ("Permute l 1 1 x y 0=1", "rows"),
    ("ExpandDims l 1 1 x y -23303=1,0", "rows"),
    ("ExpandDims l 1 1 x y -23303=2,0,-1", "flat"),
    ("Padding l 1 1 x y 0=1 1=2 2=3 3=4", "planes"),
    ("Interp l 1 1 x y 0=2 1=2.0 2=1.5", "planes"),
    ("Interp l 1 1 x y 0=1 3=9 4=8", "planes"),
    ("Reduction l 1 1 x y 0=3 1=0 -23303=2,1,2 4=0 5=1", "planes"),
    ("Reduction l 1 1 x y 0=3 1=0 -23303=1,-1 4=1 5=1", "planes"),
    ("Crop l 1 1 x y 0=1 1=2 2=0 3=4 4=5 5=2", "planes"),
    ("Crop l 1 1 x y -23309=1,1 -23310=1,4 -23311=1,1", "planes"),
    ("Crop l 1 1 x y -23309=1,2 -23310=1,-233 -23311=1,2", "planes"),
    ("PixelShuffle l 1 1 x y 0=2", "eight"),
    ("Reorg l 1 1 x y 0=2", "eight"),
    ("BatchNorm l 1 1 x y 0=3", "planes"),
    ("HardSwish l 1 1 x y 0=0.2 1=0.5", "planes"),
    ("Softmax l 1 1 x y 0=0 1=1", "flat"),
    ("BinaryOp l 1 1 x y 0=2 1=1 2=2.5", "planes"),
    ("Squeeze l 1 1 x y -23303=1,0", "one"),
    ("GroupNorm l 1 1 x y 0=3 1=3 2=1e-5 3=1", "planes"),
    ("LayerNorm l 1 1 x y 0=7 1=1e-5 2=1", "planes"),
)
SHAPES: dict[str, tuple[int, ...]] = {
    "planes": (3, 10, 7),
    "rows": (3, 10),
    "flat": (10,),
    "eight": (8, 4, 6),
    "one": (1, 10, 7),
}
TWO = (
    ("BinaryOp l 2 1 a b y 0=0", ((3, 4, 5), (3, 1, 1))),
    ("Eltwise l 2 1 a b y 0=1", ((3, 4, 5), (3, 4, 5))),
    ("Concat l 2 1 a b y 0=0", ((3, 4, 5), (2, 4, 5))),
    ("Concat l 2 1 a b y 0=-1", ((3, 4, 5), (3, 4, 2))),
    ("MatMul l 2 1 a b y", ((4, 5), (5, 6))),
    ("MatMul l 2 1 a b y 0=1", ((3, 4, 5), (3, 6, 5))),
    ("Gemm l 2 1 a b y 3=1", ((4, 5), (6, 5))),
)


def computed(path: Path, inputs: dict[str, tuple[int, ...]], output: str = "y") -> tuple[int, ...]:
    """The shape that ncnn itself computes."""
    ncnn = pytest.importorskip("ncnn")
    net = ncnn.Net()
    assert net.load_param(str(path)) == 0
    assert net.load_model(str(path.with_suffix(".bin"))) == 0
    extractor = net.create_extractor()
    fed = {name: np.full(shape, 0.5, np.float32) for name, shape in inputs.items()}
    for name, array in fed.items():
        assert extractor.input(name, ncnn.Mat(array).clone()) == 0
    status, made = extractor.extract(output)
    assert status == 0
    return tuple(np.array(made).shape)


def weights_for(text: str) -> bytes:
    from swapbench.modelfile.ncnn_bin import parts

    stored = b""
    for layer in parse(text.encode()).layers:
        for part in parts(layer) or ():
            stored += raw(*([0.25] * part.elements), tagged=part.tagged)
    return stored


@pytest.mark.parametrize(("layer", "kind"), LAYERS)
def test_shapes_and_weights_of_a_layer_are_those_of_ncnn(tmp_path: Path, layer: str, kind: str) -> None:
    from swapbench.modelfile.ncnn_shapes import shapes_between

    text = network("Input x 0 1 x", layer)
    path = written(tmp_path, text, weights_for(text))
    found = shapes_between(parse(text.encode()).layers, {"x": SHAPES[kind]})["y"]
    assert found == computed(path, {"x": SHAPES[kind]})
    read_graph(path)  # all weights are accounted for


@pytest.mark.parametrize(("layer", "shapes"), TWO)
def test_shapes_of_a_layer_of_two_blobs_are_those_of_ncnn(
    tmp_path: Path, layer: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    from swapbench.modelfile.ncnn_shapes import shapes_between

    text = network("Input a 0 1 a", "Input b 0 1 b", layer)
    inputs = dict(zip("ab", shapes, strict=True))
    found = shapes_between(parse(text.encode()).layers, inputs)["y"]
    assert found == computed(written(tmp_path, text), inputs)


def test_products_of_two_blobs_count_rows_by_columns_by_what_is_summed(tmp_path: Path) -> None:
    from swapbench.modelfile.ncnn_shapes import macs, shapes_between

    for layer, shapes, count in ((TWO[4][0], TWO[4][1], 4 * 5 * 6), (TWO[5][0], TWO[5][1], 3 * 4 * 5 * 6)):
        layers = parse(network("Input a 0 1 a", "Input b 0 1 b", layer).encode()).layers
        assert macs(layers[2], shapes_between(layers, dict(zip("ab", shapes, strict=True)))) == count


def test_what_is_behind_an_unknown_layer_is_not_counted_and_said(tmp_path: Path) -> None:
    text = network("Input x 0 1 x 0=8 1=8 2=3", "MyOwn l 1 1 x h", "InnerProduct f 1 1 h y 0=2 2=6")
    graph = read_graph(written(tmp_path, text, bytes(1)))
    assert graph.macs == 0
    assert graph.uncounted_ops == ("InnerProduct", "MyOwn")


# ---------------------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("7767517\n", "does not begin with 7767517 and the numbers"),
        ("1\n1 1\nInput x 0 1 x\n", "does not begin with 7767517"),
        ("7767517\n3 2\nInput x 0 1 x\n", "names 3 layers and has 1"),
        ("7767517\n-1 2\nInput x 0 1 x\n", "names -1 layers and has 0"),
        ("7767517\n1 99999999999999999999\nInput x 0 1 x\n", "is no whole number of 32 bits"),
        ("7767517\n1 0\nInput x 0 1 x\n", "announces 0 blobs and has 1"),
        ("7767517\n1 1\nInput x\n", "a line is no layer"),
        ("7767517\n1 1\nInput x 0 9 x\n", "names fewer blobs than it says"),
        ("7767517\n1 1\nInput x -1 1 x\n", "names fewer blobs than it says"),
        (network("Input x 0 1 x 0=1e99 1=8 2=3"), "is no whole number"),
        (network("Input x 0 1 x 0=99999999999 1=8 2=3"), "is no whole number of 32 bits"),
        (network("Input x 0 1 x 0=-8 1=8 2=3"), "is negative"),
        (network("Input x 0 1 x 99=8"), "which ncnn does not know"),
        (network("Input x 0 1 x -23303=4,1,2"), "does not have the length that it says"),
        (network("Input x 0 1 x eight"), "where a parameter belongs"),
        (network("Input x 0 1 x", "ReLU r 1 1 z y"), "takes 'z', which no layer before it makes"),
        (network("Input x 0 1 x", "ReLU r 1 1 x x"), "two layers make 'x'"),
        (network("Input x 0 1 x", "ReLU r 1 1 y y"), "takes 'y', which no layer before it makes"),
    ],
)
def test_a_damaged_text_is_refused_in_a_sentence(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(BadModelFile) as raised:
        read_graph(written(tmp_path, text))
    assert part in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_of_another_length_are_refused(tmp_path: Path) -> None:
    path = small(tmp_path)
    weights = path.with_suffix(".bin")
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    with pytest.raises(
        BadModelFile, match=r"it ends after .* bytes, inside the weights of the layer 'linear'"
    ):
        read_graph(path)
    weights.write_bytes(content + bytes(4))
    with pytest.raises(BadModelFile, match=r"net\.bin does not fit net\.param: it has 4 bytes more than the"):
        read_graph(path)
    weights.unlink()
    with pytest.raises(
        BadModelFile, match=r"keeps its weights in net\.bin, and there is no such file"
    ) as raised:
        read_graph(path)
    assert "both files are one model" in raised.value.remedy


def test_a_text_with_commas_is_one_parameter() -> None:
    """As pnnx writes the size of a Reshape that follows from another."""
    (_, layer) = parse(network("Input x 0 1 x", 'Reshape r 1 1 x y 6="1,//(8,0n),0n" 7=1').encode()).layers
    assert layer.params == {6: "1,//(8,0n),0n", 7: 1}


def test_more_weights_than_memory_are_not_asked_for(tmp_path: Path) -> None:
    text = network("Input x 0 1 x 0=8 1=8 2=3", "InnerProduct f 1 1 x y 0=1 2=2147483647")
    with pytest.raises(BadModelFile, match=r"inside the weights of the layer 'f'|takes 2147483647 numbers"):
        read_graph(written(tmp_path, text, bytes(64)))


def test_the_weights_alone_are_no_network(tmp_path: Path) -> None:
    path = small(tmp_path)
    with pytest.raises(BadModelFile, match=r"net\.bin is no .*\.param or \.pte file") as raised:
        read_graph(path.with_suffix(".bin"))
    assert raised.value.remedy == "It belongs to net.param: name that."


def test_metadata_stand_behind_the_last_layer(tmp_path: Path) -> None:
    path = small(tmp_path)
    path.write_text(path.read_text() + '#swapbench {"network": "a"}\n', encoding="utf-8")
    assert read_graph(path).metadata == {"network": "a"}
    assert computed(path, {"x": (3, 8, 8)}) == (2,)
    path.write_text(path.read_text().replace('{"network": "a"}', "{"), encoding="utf-8")
    with pytest.raises(BadModelFile, match="metadata is not JSON"):
        read_graph(path)


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_whatever_a_file_holds_reading_it_ends_in_a_graph_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, place: int, byte: int
) -> None:
    folder = tmp_path_factory.mktemp("junk")
    path = small(folder)
    text = bytearray(path.read_bytes())
    text[place % len(text)] = byte
    for content in (bytes(text), b"7767517\n" + junk):
        path.write_bytes(content)
        try:
            said = ", ".join(read_graph(path).ops)
        except BadModelFile as error:
            said = str(error)
        assert "\n" not in said


# ------------------------------------------------------------------------------------------- minivision's own


@pytest.mark.skipif(not MINIVISION.is_dir(), reason="needs the networks of Silent-Face-Anti-Spoofing-APK")
@pytest.mark.parametrize(("name", "mmacs"), [("model_1", 40.72), ("model_2", 40.88)])
def test_the_networks_of_an_app_have_the_published_multiplications(name: str, mmacs: float) -> None:
    graph = read_graph(MINIVISION / f"{name}.param", {"": (1, 3, 80, 80)})
    assert graph.macs / 1e6 == pytest.approx(mmacs, rel=3e-4)
    assert graph.outputs[0].shape == (1, 3)
    assert graph.made_by == ("Softmax",)
