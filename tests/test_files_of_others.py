"""Files that leave lengths free, take several inputs, or lie in several files: read, counted and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from conftest import PRETRAINED
from onnx import TensorProto, helper, numpy_helper
from tiny_files import ones, onnx_bytes, small_onnx, small_tflite

from swapbench.errors import BadModelFile, UserError
from swapbench.files import file_sha256
from swapbench.modelfile import read_graph
from swapbench.modelfile.input_shapes import image_shapes, refuse_unmeasurable
from swapbench.modelfile.parts import files_of, model_sha256

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.modelfile import Graph

    Write = Callable[[str, bytes], Path]

pytestmark = pytest.mark.usefixtures("few_rounds")

SMALL_MACS = 4 * 27 * 64 + 8
REAL = PRETRAINED.parent
CASES = REAL.parent / "cases"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return put


def refusal(graph: Graph) -> BadModelFile:
    with pytest.raises(BadModelFile) as caught:
        refuse_unmeasurable(graph, "net.onnx")
    return caught.value


# ------------------------------------------------------------------------------------------ free lengths


@pytest.mark.parametrize(
    ("batch", "declared", "dimensions"),
    [("N", "N", {"N": 1}), (None, "?", {}), (-1, "?", {}), ("a,b=c", "a,b=c", {"a,b=c": 1})],
)
def test_a_free_batch_of_an_onnx_file_is_1_whether_it_has_a_name_or_not(
    write: Write, batch: Any, declared: str, dimensions: dict[str, int]
) -> None:
    path = write("a.onnx", small_onnx(inputs={"x": [batch, 3, 8, 8]}))
    before = path.read_bytes()
    graph = read_graph(path)
    refuse_unmeasurable(graph, "a.onnx")
    assert (graph.macs, graph.inputs[0].shape) == (SMALL_MACS, (1, 3, 8, 8))
    assert graph.inputs[0].declared == (declared, 3, 8, 8)
    assert graph.set_shapes == {"x": (1, 3, 8, 8)}
    assert graph.outputs[0].shape == (1, 2)
    assert graph.dimensions == dimensions
    assert graph.worker_options == {
        "shapes": "1x3x8x8",
        **({"dimensions": "N=1"} if batch == "N" else {}),  # a comma in a name would end it in the list
    }
    assert path.read_bytes() == before


def test_a_file_that_fixes_everything_tells_its_workers_nothing(write: Write) -> None:
    graph = read_graph(write("a.onnx", small_onnx()))
    assert (graph.set_shapes, graph.worker_options, graph.dimensions) == ({}, {}, {})


def test_a_free_batch_of_a_tflite_file_is_1_and_nothing_else_changes(write: Write) -> None:
    graph = read_graph(write("a.tflite", small_tflite(signature=[-1, 8, 8, 3]).bytes()))
    refuse_unmeasurable(graph, "a.tflite")
    assert (graph.macs, graph.inputs[0].shape) == (SMALL_MACS, (1, 8, 8, 3))
    assert graph.set_shapes == {"x": (1, 8, 8, 3)}
    assert graph.worker_options == {"shapes": "1x8x8x3"}


def test_lengths_that_a_tflite_file_suggests_are_taken(write: Write) -> None:
    graph = read_graph(write("a.tflite", small_tflite(signature=[-1, -1, -1, 3]).bytes()))
    assert graph.inputs[0].shape == (1, 8, 8, 3)


@pytest.mark.parametrize("name", ["x", ""])
def test_macs_are_those_of_the_shape_that_was_asked_for(write: Write, name: str) -> None:
    free_onnx = write("a.onnx", small_onnx(inputs={"x": ["N", 3, "H", "W"]}))
    free_tflite = write("a.tflite", small_tflite(signature=[-1, -1, -1, 3]).bytes())
    counted = (
        read_graph(free_onnx, {name: (1, 3, 12, 10)}),
        read_graph(free_tflite, {name: (1, 12, 10, 3)}),
    )
    for graph in counted:
        refuse_unmeasurable(graph, "a")
        assert (graph.macs, graph.uncounted_ops) == (4 * 27 * 120 + 8, ())
    assert counted[0].dimensions == {"N": 1, "H": 12, "W": 10}


@pytest.mark.parametrize(
    ("shape", "named", "option"),
    [
        (["N", 3, "H", "W"], "H and W of its input 'x' [N, 3, H, W]", "--shape x=1,3,224,224"),
        ([1, 3, None, 96], "length 3 of its input 'x' [1, 3, ?, 96]", "--shape x=1,3,96,96"),
        (["N", "H", "W", "C"], "H, W and C of its input 'x'", "--shape x=1,3,224,224"),
        (["N", "T"], "T of its input 'x' [N, T]", "--shape x=1,16"),
        (None, "the shape of its input 'x'", "--shape x=1,3,224,224"),
    ],
)
def test_what_is_still_free_is_named_with_the_very_option_to_type(
    write: Write, shape: list[Any] | None, named: str, option: str
) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = read_graph(write("a.onnx", onnx_bytes([node], {}, inputs={"x": shape})))
    error = refusal(graph)
    assert f"net.onnx leaves {named}" in str(error)
    card = "; a card says it too: FILE=CARD.toml" if shape is not None and len(shape) == 4 else ""
    assert error.remedy == f"Say the shape, such as: {option}{card}"
    assert read_graph(write("a.onnx", onnx_bytes([node], {}, inputs={"x": shape}))).inputs[0].is_free


def test_a_name_with_a_space_is_quoted_for_the_shell(write: Write) -> None:
    node = helper.make_node("Relu", ["my input"], ["y"])
    graph = read_graph(write("a.onnx", onnx_bytes([node], {}, inputs={"my input": ["N", "T"]})))
    assert "--shape 'my input'=1,16" in refusal(graph).remedy


def test_a_name_of_a_length_means_the_same_in_every_input(write: Write) -> None:
    nodes = [helper.make_node("Add", ["x", "z"], ["y"])]
    path = write(
        "a.onnx", onnx_bytes(nodes, {}, inputs={"x": ["N", 3, "H", 8], "z": ["M", 3, "H", 8], "w": ["H"]})
    )
    graph = read_graph(path, {"z": (1, 3, 5, 8)})
    assert [tensor.shape for tensor in graph.inputs] == [(1, 3, 5, 8), (1, 3, 5, 8), (5,)]
    assert graph.worker_options["shapes"] == "1x3x5x8,1x3x5x8,5"


def test_a_batch_that_a_reshape_reads_from_the_shape_of_its_input_is_followed(write: Write) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    constants = {
        "zero": np.array([0], np.int64),
        "rest": np.array([192], np.int64),
        "w": ones(192, 5),
    }
    graph = read_graph(write("a.onnx", onnx_bytes(nodes, constants, inputs={"x": ["N", 3, 8, 8]})))
    assert (graph.macs, graph.params) == (192 * 5, 192 * 5)


@pytest.mark.parametrize("asked", [(1, 3, 9, 9), (1, 3, 8), (1, 3, 8, 8, 1)])
def test_what_a_file_fixes_cannot_be_asked_to_be_otherwise(write: Write, asked: tuple[int, ...]) -> None:
    for name, content, shape in (
        ("a.onnx", small_onnx(inputs={"x": ["N", 3, 8, 8]}), asked),
        ("a.tflite", small_tflite(signature=[-1, 8, 8, 3]).bytes(), (*asked[:1], *asked[2:], 3)),
    ):
        with pytest.raises(BadModelFile, match=r"its input 'x' is \[.*\] and cannot be 1x"):
            read_graph(write(name, content), {"x": shape})


def test_a_shape_of_too_many_numbers_is_refused(write: Write) -> None:
    path = write("a.onnx", small_onnx(inputs={"x": ["N", 3, "H", "W"]}))
    with pytest.raises(BadModelFile, match="an input of 1x3x99999x99999 is too large"):
        read_graph(path, {"x": (1, 3, 99999, 99999)})


@pytest.mark.parametrize(("shape", "fixed"), [([4, 3, 8, 8], "fixed"), (["N", 3, 8, 8], "asked for")])
def test_a_batch_above_1_is_refused_because_a_run_is_one_image(
    write: Write, shape: list[Any], fixed: str
) -> None:
    path = write("a.onnx", small_onnx(inputs={"x": shape}))
    error = refusal(read_graph(path, {"x": (4, 3, 8, 8)}))
    assert f"takes 4 images a run: the batch of its input 'x' is {fixed} as 4x3x8x8" in str(error)


@pytest.mark.parametrize("shape", [[4, 10], [7], []])
def test_a_first_length_that_need_not_be_a_batch_is_no_reason_to_refuse(write: Write, shape: list) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    refuse_unmeasurable(read_graph(write("a.onnx", onnx_bytes([node], {}, inputs={"x": shape}))), "a")


@pytest.mark.parametrize(("element", "name"), [(TensorProto.STRING, "string"), (TensorProto.BFLOAT16, "bf")])
def test_an_input_that_is_no_number_of_numpy_s_is_refused(write: Write, element: int, name: str) -> None:
    value = helper.make_tensor_value_info("x", element, [1, 3])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    graph.output[0].name = "y"
    content = helper.make_model(graph).SerializeToString()
    assert f"takes {name}" in str(refusal(read_graph(write("a.onnx", content))))


def test_a_card_s_image_fills_what_an_image_input_leaves_free(write: Write) -> None:
    def filled(shape: list[Any]) -> dict[str, tuple[int, ...]]:
        return image_shapes(read_graph(write("a.onnx", small_onnx(inputs={"x": shape}))), 80, 60, 3)

    assert filled(["N", 3, "H", "W"]) == {"x": (1, 3, 60, 80)}
    assert filled(["N", "H", "W", 3]) == {"x": (1, 60, 80, 3)}
    assert filled(["N", "C", "H", "W"]) == {"x": (1, 3, 60, 80)}
    assert filled(["N", 3, "H", 96]) == {
        "x": (1, 3, 60, 96)
    }  # what is fixed stays, and will not fit the card
    assert filled(["N", 3, 8, 8]) == {}
    free = small_tflite(signature=[-1, -1, -1, -1])
    free.graph.tensors[0].shape = [1, 1, 1, 1]
    assert image_shapes(read_graph(write("a.tflite", free.bytes())), 80, 60, 3) == {"x": (1, 60, 80, 3)}


@pytest.mark.parametrize(
    ("texts", "shapes"),
    [
        (["x=1,3,80,80"], {"x": (1, 3, 80, 80)}),
        (["1x3x80x80"], {"": (1, 3, 80, 80)}),
        (["a=b=1,2", "c=5"], {"a=b": (1, 2), "c": (5,)}),
    ],
)
def test_shapes_are_read_as_they_are_typed(texts: list[str], shapes: dict[str, tuple[int, ...]]) -> None:
    from swapbench.commands.options import input_shapes

    assert input_shapes(texts) == shapes


@pytest.mark.parametrize("texts", [["x="], ["x=a"], ["x=1,-1"], ["x=0,3"], ["x=1,,3"], ["1.5"], ["x=²"]])
def test_what_is_no_shape_is_refused_with_an_example(texts: list[str]) -> None:
    from swapbench.commands.options import input_shapes

    with pytest.raises(UserError, match="is not a shape") as caught:
        input_shapes(texts)
    assert "--shape input=1,3,80,80" in caught.value.remedy


def test_two_shapes_of_one_input_are_refused() -> None:
    from swapbench.commands.options import input_shapes

    with pytest.raises(UserError, match="gives x two shapes"):
        input_shapes(["x=1,3", "x=1,4"])


# ------------------------------------------------------------------------------------------ several files


def split(folder: Path, location: str = "net.onnx.data", **about: str) -> Path:
    """The small network with all weights in another file of 504 bytes: 126 floats."""
    model = onnx.load_model_from_string(small_onnx())
    weights = b""
    for tensor in model.graph.initializer:
        described = {"location": location, "offset": str(len(weights)), "length": str(len(tensor.raw_data))}
        weights += tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {**described, **about}.items():
            tensor.external_data.add(key=key, value=value)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    if "/" not in location:
        (folder / location).write_bytes(weights)
    return folder / "net.onnx"


def test_weights_in_another_file_count_as_weight_and_for_the_digest(tmp_path: Path) -> None:
    path = split(tmp_path)
    graph = read_graph(path)
    assert (graph.macs, graph.params) == (SMALL_MACS, 126)
    assert graph.files == (path, tmp_path / "net.onnx.data") == files_of(path)
    assert graph.file_bytes == path.stat().st_size + 504
    whole = model_sha256(path)
    assert whole != file_sha256(path)
    weights = bytearray((tmp_path / "net.onnx.data").read_bytes())
    weights[3] ^= 1
    (tmp_path / "net.onnx.data").write_bytes(weights)
    assert model_sha256(path) != whole


def test_the_digest_of_several_files_can_be_made_by_sha256sum(tmp_path: Path) -> None:
    import hashlib

    path = split(tmp_path)
    lines = "".join(f"{file_sha256(one)}  {one.name}\n" for one in (path, tmp_path / "net.onnx.data"))
    assert model_sha256(path) == hashlib.sha256(lines.encode()).hexdigest()


def test_a_zero_bias_in_another_file_is_no_parameter(tmp_path: Path) -> None:
    path = split(tmp_path)
    weights = bytearray((tmp_path / "net.onnx.data").read_bytes())
    weights[108 * 4 : 112 * 4] = bytes(16)  # the bias of four channels, after 108 weights
    (tmp_path / "net.onnx.data").write_bytes(weights)
    assert read_graph(path).params == 122


@pytest.mark.parametrize(
    "location", ["../net.data", "/etc/passwd", "sub/net.data", "..", "", "a\\b", "/dev/zero"]
)
def test_weights_that_are_not_beside_the_model_are_never_opened(tmp_path: Path, location: str) -> None:
    (tmp_path / "sub").mkdir()
    model = onnx.load_model_from_string(split(tmp_path).read_bytes())
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = location
    path = tmp_path / "sub" / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadModelFile, match="which is not the name of a file beside it"):
        read_graph(path)


def test_a_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    path = split(tmp_path)
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(BadModelFile, match=r"keeps its weights in net\.onnx\.data, and there is no such"):
        read_graph(path)


@pytest.mark.parametrize(
    "about", [{"length": "999999999"}, {"offset": "505"}, {"offset": "-4"}, {"length": "-4"}, {"length": "x"}]
)
def test_weights_beyond_the_end_of_their_file_are_refused(tmp_path: Path, about: dict[str, str]) -> None:
    with pytest.raises(BadModelFile, match="is damaged"):
        read_graph(split(tmp_path, **about))


def test_a_pipe_in_place_of_weights_or_of_a_model_is_never_read(tmp_path: Path) -> None:
    import os

    path = split(tmp_path)
    (tmp_path / "net.onnx.data").unlink()
    os.mkfifo(tmp_path / "net.onnx.data")
    with pytest.raises(BadModelFile, match="there is no such file"):
        read_graph(path)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(BadModelFile, match="not a regular file"):
        read_graph(tmp_path / "pipe.onnx")


# ------------------------------------------------------------------------------------------ broken rules


def changed(change: Callable[[Any], object], **options: Any) -> bytes:
    model = onnx.load_model_from_string(small_onnx(**options))
    change(model)
    return model.SerializeToString()


def turned_round(model: Any) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


RULES: dict[str, Callable[[Any], object]] = {
    "unsorted": turned_round,
    "nameless graph": lambda model: model.graph.ClearField("name"),
    "output without a type": lambda model: model.graph.output[0].ClearField("type"),
    "newer than the checker": lambda model: setattr(model, "ir_version", 99),
    "older than its initialisers": lambda model: setattr(model, "ir_version", 3),
    "unknown attribute": lambda model: model.graph.node[0].attribute.append(helper.make_attribute("a", 1)),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_file_that_only_breaks_the_checker_s_rules_is_counted_and_the_rule_is_said(
    write: Write, rule: str
) -> None:
    graph = read_graph(write("a.onnx", changed(RULES[rule])))
    assert (graph.macs, graph.params) == (SMALL_MACS, 126)
    assert graph.against_rules
    assert "\n" not in graph.against_rules


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: model.graph.node[4].input.__setitem__(0, "nothing"), "'nothing' is needed"),
        (lambda model: model.graph.node[0].output.__setitem__(0, "p"), "two nodes make 'p'"),
        (lambda model: model.graph.node[0].input.__setitem__(0, "p"), "need each other in a circle"),
        (lambda model: setattr(model.graph.output[0], "name", "z"), "'z' is needed"),
        (lambda model: model.graph.initializer[0].dims.append(2), "damaged"),
    ],
)
def test_what_no_runtime_could_run_is_damage(
    write: Write, change: Callable[[Any], object], reason: str
) -> None:
    with pytest.raises(BadModelFile, match=f"is damaged: .*{reason}|{reason}"):
        read_graph(write("a.onnx", changed(change)))


def test_what_a_branch_takes_from_outside_comes_before_it(write: Write) -> None:
    value = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Relu", ["late"], ["b"])], "branch", [], [value])
    nodes = [
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("Neg", ["x"], ["late"]),
    ]
    model = onnx.load_model_from_string(onnx_bytes(nodes[::-1], {"yes": np.array(True)}))
    turned_round(model)
    graph = read_graph(write("a.onnx", model.SerializeToString()))
    assert graph.against_rules
    assert graph.ops == {"If": 1, "Neg": 1}


def test_a_sparse_weight_counts_as_what_it_stands_for(write: Write) -> None:
    def thin(model: Any) -> None:
        dense = next(one for one in model.graph.initializer if one.name == "fw")
        values = numpy_helper.from_array(np.array([1, 2], np.float32), "fw")
        places = numpy_helper.from_array(np.array([0, 5], np.int64), "places")
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, list(dense.dims)))
        model.graph.initializer.remove(dense)

    graph = read_graph(write("a.onnx", changed(thin)))
    assert (graph.macs, graph.params) == (SMALL_MACS, 126)
    assert [tensor.name for tensor in graph.inputs] == ["x"]


# ------------------------------------------------------------------------------------------ no models at all


@pytest.mark.parametrize(
    ("name", "content", "said", "remedy"),
    [
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer", "git lfs pull"),
        ("a.tflite", b"\n <!DOCTYPE html><html>", "a web page", "Download"),
        ("a.tflite", b'{"error": "gone"}\n', "a text in JSON", "Download"),
        ("a.onnx", b"404: Not Found\n", "a text, '404: Not Found'", "Download"),
        ("a.onnx", b"PK\x03\x04...archive/data.pkl", "a PyTorch archive", "torch.onnx.export"),
        ("a.onnx", b"PK\x03\x04.a/constants.pkl a/data.pkl", "a TorchScript archive", "torch.onnx.export"),
        ("a.tflite", b"PK\x03\x04...model.weights.h5", "a Keras archive", "TFLiteConverter"),
        ("a.onnx", b"PK\x03\x04...net.onnx", "a zip archive", "Unpack"),
        ("a.tflite", b"\x89HDF\r\n\x1a\n....", "an HDF5 file", "TFLiteConverter"),
        ("a.onnx", b"\x80\x02}q\x00.", "a pickle", "torch.onnx.export"),
        ("a.onnx", small_tflite().bytes(), "a TFLite file named .onnx", "Rename it to .tflite"),
        ("a.tflite", small_onnx(), "an ONNX file named .tflite", "Rename it to .onnx"),
        ("a.onnx", b"\x18\0\0\0ORTM\0\0", "onnxruntime's own format", "Give the .onnx file"),
    ],
)
def test_what_is_named_like_a_model_and_is_none_is_told_by_its_content(
    write: Write, name: str, content: bytes, said: str, remedy: str
) -> None:
    with pytest.raises(BadModelFile) as caught:
        read_graph(write(name, content))
    assert f"{name} is {said}" in str(caught.value) or f"{name} is in {said}" in str(caught.value)
    assert remedy in caught.value.remedy


def test_a_suffix_in_capitals_is_the_same_suffix(write: Write) -> None:
    assert read_graph(write("a.ONNX", small_onnx())).macs == SMALL_MACS


# ------------------------------------------------------------------------------------------ whole commands


def test_a_card_that_cannot_be_fed_costs_the_accuracy_and_never_the_speed(
    write: Write, tmp_path: Path
) -> None:
    from swapbench.catalog import Folders
    from swapbench.commands import models_under_test
    from swapbench.commands.named_files import CardFinder, NamedFile
    from swapbench.records import ModelCard, OutputMeaning, Preprocessing
    from swapbench.runtimes.ort import OnnxRuntime

    def reason(inputs: dict[str, list[Any]], element: int, **preprocessing: Any) -> str:
        values = [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()]
        cast = helper.make_node("Cast", [next(iter(inputs))], ["c"], to=TensorProto.FLOAT)
        mean = helper.make_node("GlobalAveragePool", ["c"], ["y"])
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        model = helper.make_model(
            helper.make_graph([cast, mean], "g", values, [output]),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=9,
        )
        path = write("a.onnx", model.SerializeToString())
        image = {"width_px": 8, "height_px": 8, "crop_scale": 1.0, **preprocessing}
        meaning = OutputMeaning(kind="logits", bona_fide_index=1)
        card = ModelCard(name="n", preprocessing=Preprocessing(**image), output=meaning)
        cards = CardFinder(Folders(tmp_path), card)
        (model_,) = models_under_test.of_file(NamedFile(path, path.name), [OnnxRuntime()], cards)
        return model_.unscored.absent if model_.unscored else ""

    image, u8, plain = {"x": [1, 3, 8, 8]}, TensorProto.UINT8, {"scale": 1.0}
    assert reason(image, u8, **plain) == ""
    assert "takes whole numbers from 0 to 255" in reason(image, u8)  # the default scale is 1 / 255
    assert reason({"x": ["N", 3, "H", "W"]}, u8, **plain) == ""
    assert "takes 9x9 px" in reason({"x": [1, 3, 9, 9]}, u8, **plain)
    assert "has 2 inputs (x, z)" in reason({**image, "z": [1, 2]}, u8, **plain)
    assert "takes no image" in reason({"x": [1, 7, 8, 8]}, u8, **plain)


def test_an_output_whose_shape_cannot_be_inferred_is_not_held_against_a_card(write: Write) -> None:
    from swapbench.pad.output_fit import check_output
    from swapbench.records import OutputMeaning

    nodes = [helper.make_node("Mystery", ["x"], ["y"], domain="somebody")]
    model = onnx.load_model_from_string(onnx_bytes(nodes, {}, domains=("", "somebody")))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    graph = read_graph(write("a.onnx", model.SerializeToString()))
    assert graph.outputs[0].declared == ("...",)
    check_output(OutputMeaning(kind="logits", bona_fide_index=1), graph.outputs)


@pytest.mark.parametrize("name", ["net.onnx", "net.tflite"])
def test_a_run_measures_what_it_said_and_the_record_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    from swapbench import cli

    monkeypatch.chdir(tmp_path)
    shape = ["N", 3, "H", "W"] if name == "net.onnx" else [-1, -1, -1, 3]
    content = small_onnx(inputs={"x": shape}) if name == "net.onnx" else small_tflite(signature=shape).bytes()
    Path(name).write_bytes(content)
    asked = "1,3,12,10" if name == "net.onnx" else "1,12,10,3"
    argv = ["run", name, "--shape", asked, "--no-accuracy", "--budget", "1", "--window", "1", "--name", "r"]
    assert cli.main(argv) in {0, 3}
    shown = asked.replace(",", "x")
    assert f"{name}: the file leaves lengths of its input free; it was measured at x {shown}." in (
        capsys.readouterr().err
    )
    (record,) = (json.loads(path.read_text()) for path in Path("reports/r/records").glob("*.json"))
    assert record["shapes"] == {"x": [int(length) for length in asked.split(",")]}
    assert record["weight"]["macs"] == 4 * 27 * 120 + 8


def test_a_file_that_the_runtime_refuses_costs_that_file_alone_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swapbench import cli

    monkeypatch.chdir(tmp_path)
    Path("new.onnx").write_bytes(changed(lambda model: setattr(model, "ir_version", 99)))
    Path("good.onnx").write_bytes(small_onnx())
    argv = ["run", "new.onnx", "good.onnx", "--no-accuracy", "--budget", "1", "--window", "1", "--name", "r"]
    assert cli.main(argv) == 2
    assert "failed: new.onnx: it has IR version 99, and this onnxruntime reads up to " in (
        capsys.readouterr().err
    )
    assert len(list(Path("reports/r/records").glob("good.onnx*.json"))) == 1


def test_an_input_that_no_file_has_is_named_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swapbench import cli

    monkeypatch.chdir(tmp_path)
    Path("net.onnx").write_bytes(small_onnx())
    assert cli.main(["run", "net.onnx", "--shape", "y=1,3,8,8", "--no-accuracy"]) == 2
    assert "there is no input in these files named 'y'" in capsys.readouterr().err


def test_a_baseline_keeps_all_files_of_a_model_and_finds_one_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swapbench import cli
    from swapbench.commands.baseline_folder import load_baseline
    from swapbench.errors import BadRecord

    monkeypatch.chdir(tmp_path)
    split(tmp_path)
    assert cli.main(["baseline", "save", "net.onnx", "--out", "base"]) == 0
    (kept,) = load_baseline(Path("base")).files
    assert (kept.name, kept.sha256) == ("net.onnx", model_sha256(Path("net.onnx")))
    assert kept.file_bytes == Path("net.onnx").stat().st_size + 504
    weights = Path("base/net.onnx.data")
    weights.write_bytes(bytes(504))
    with pytest.raises(BadRecord, match="sha256 differs"):
        load_baseline(Path("base"))
    weights.unlink()
    with pytest.raises(BadRecord, match=r"incomplete: .*net\.onnx\.data"):
        load_baseline(Path("base"))
    # two models whose weights have one name cannot lie beside each other
    (tmp_path / "other").mkdir()
    path = split(tmp_path / "other")
    path.with_name("net.onnx.data").write_bytes(bytes(504))
    path.rename(tmp_path / "other" / "second.onnx")
    capsys.readouterr()
    assert cli.main(["baseline", "save", "net.onnx", "other/second.onnx", "--out", "both"]) == 2
    assert "in different files named net.onnx.data" in capsys.readouterr().err


def test_a_file_with_its_weights_is_pushed_to_a_folder_of_its_own(tmp_path: Path) -> None:
    from swapbench.devices.local import Local
    from swapbench.errors import DeviceFailed

    path = split(tmp_path)
    link = tmp_path / "links" / "net.onnx"
    link.parent.mkdir()
    link.symlink_to(path)
    (link.parent / "net.onnx.data").symlink_to(tmp_path / "net.onnx.data")
    # a link is not followed: its weights lie beside the link
    assert Local().push(link, link.parent / "net.onnx.data") == str(link)
    with pytest.raises(DeviceFailed, match="there is no file"):
        Local().push(link, tmp_path / "gone")
    shutil.rmtree(link.parent)


def test_a_tool_that_times_by_itself_is_told_the_shapes_in_its_own_flags(write: Write) -> None:
    from swapbench.bench.model_under_test import ModelUnderTest
    from swapbench.records import Absent, Plan, Variant
    from swapbench.runtimes.benchmark_model import BenchmarkModel
    from swapbench.runtimes.litert import LiteRT
    from swapbench.testing import Fake

    path = write("a.tflite", small_tflite(signature=[-1, -1, -1, 3]).bytes())
    model = ModelUnderTest(
        variant=Variant(net="a", precision="fp32", format="tflite"),
        path=path,
        sha256="0" * 64,
        graph=read_graph(path, {"x": (1, 12, 10, 3)}),
        runtime=LiteRT(),
        card=None,
        parity=Absent(absent="unknown"),
    )
    command = model.pushed_for_tool(Fake({}), BenchmarkModel("./bm")).command(Plan())
    assert {"--input_layer=x", "--input_layer_shape=1,12,10,3"} <= set(command)


# ------------------------------------------------------------------------------------------ the real ones


@pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases beside the repository is needed")
@pytest.mark.parametrize(
    ("case", "macs"),
    [
        ("dyn_batch_onnx/sym_N.onnx", 806432),
        ("dyn_batch_tflite/batchm1.tflite", 806432),
        ("external_data/torch_default.onnx", 806432),
        ("checker_not_runtime/unsorted.onnx", 806432),
        ("uint8_input/uint8_nhwc.onnx", 806432),
    ],
)
def test_files_that_people_reported_are_read(case: str, macs: int) -> None:
    graph = read_graph(CASES / case)
    refuse_unmeasurable(graph, case)
    assert graph.macs == macs


@pytest.mark.skipif(not REAL.is_dir(), reason="shared/pretrained beside the repository is needed")
def test_networks_of_others_can_all_be_measured() -> None:
    paths = sorted(path for path in REAL.rglob("*") if path.suffix in {".onnx", ".tflite"})
    assert len(paths) > 5
    for path in paths:
        graph = read_graph(path)
        refuse_unmeasurable(graph, path.name)
        assert graph.inputs[0].shape[0] == 1
