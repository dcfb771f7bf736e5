"""What a person learns of a file before anything is run, and the card that it begins."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_files import small_onnx, small_tflite

from swapbench import cli
from swapbench.cards import read_card
from swapbench.commands.card_draft import CardDraft, draft
from swapbench.errors import BadCard
from swapbench.modelfile import Graph, Tensor, read_graph


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def inspected(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> tuple[str, str]:
    assert cli.main(["inspect", *words]) == status
    said = capsys.readouterr()
    return said.out, said.err


def graph_of(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], made_by: tuple[str, ...]) -> Graph:
    """A graph of which only the ends matter."""
    return Graph(
        format="onnx",
        inputs=inputs,
        outputs=outputs,
        file_bytes=1,
        params=0,
        macs=0,
        ops={},
        uncounted_ops=(),
        precision="unknown",
        layout=None,
        made_by=made_by,
    )


IMAGE = Tensor("x", (1, 3, 60, 80), "float32", declared=(1, 3, 60, 80))
TWO = Tensor("y", (1, 2), "float32")


def drafted(
    tensor: Tensor = IMAGE, outputs: tuple[Tensor, ...] = (TWO,), made_by: tuple[str, ...] = ("Gemm",)
) -> tuple[CardDraft, dict[str, Any]]:
    found = draft(graph_of((tensor,), outputs, made_by), "net")
    return found, tomllib.loads(found.toml)


# ---- What is in a file ----


def test_a_file_is_told_in_lines_that_can_be_checked_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """Conv 3->4 with bias on 8x8, PRelu, Gemm 4->2: 4*27*64 + 8 products, 112 + 4 + 10 parameters."""
    Path("net.onnx").write_bytes(small_onnx())
    out, err = inspected(capsys, "net.onnx")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "net.onnx"
    assert lines[1].startswith("file ")
    assert lines[1].endswith("ONNX, IR 10, opset 18")
    assert "input x float32 1x3x8x8" in lines
    assert "output y float32 1x2, made by Gemm" in lines
    assert "precision fp32 (float32 100.0 % of the parameters)" in lines
    assert "parameters 126" in lines
    assert "MACs 6.92 k" in lines
    assert "operators Conv 1, PRelu 1, GlobalAveragePool 1, Flatten 1, Gemm 1" in lines
    assert "- the output y (1x2, made by Gemm) has 2 numbers, logits: the file ends without a softmax" in out
    assert not err


def test_json_holds_the_same_for_both_formats(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.onnx").write_bytes(small_onnx(inputs={"x": ["N", 3, 8, 8]}))
    Path("a.tflite").write_bytes(small_tflite(quantised=(1 / 255, -128)).bytes())
    out, _ = inspected(capsys, "a.onnx", "a.tflite", "--json")
    of_onnx, of_tflite = json.loads(out)
    for one in (of_onnx, of_tflite):
        assert (one["params"], one["macs"], one["precision"]) == (126, 4 * 27 * 64 + 8, "fp32")
        assert one["parameters_by_type"] == {"float32": 126}
        assert tomllib.loads(one["card_draft"])["preprocessing"]["width_px"] == 8
    assert of_onnx["free_dimensions"] == {"N": 1}
    assert of_onnx["inputs"][0]["declared"] == ["N", 3, 8, 8]
    assert of_onnx["versions"] == {"IR": 10, "opset": 18}
    assert of_tflite["versions"] == {"schema": 3}
    assert of_tflite["inputs"][0]["zero_point"] == -128
    assert of_tflite["outputs"][0]["made_by"] == "FULLY_CONNECTED"
    assert (of_onnx["layout"], of_tflite["layout"]) == ("nchw", "nhwc")


def test_weights_in_another_file_count_as_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    weights = numpy_helper.from_array(np.ones((192, 100), np.float32), "w")
    x, y = (helper.make_tensor_value_info(*one) for one in (("x", 1, [1, 192]), ("y", 1, [1, 100])))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    out, _ = inspected(capsys, "big.onnx", "--json")
    (found,) = json.loads(out)
    assert found["files"] == ["big.onnx", "big.data"]
    assert found["file_bytes"] == Path("big.onnx").stat().st_size + 192 * 100 * 4
    assert (found["params"], found["macs"]) == (19_200, 19_200)


def test_a_wrong_file_costs_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("good.onnx").write_bytes(small_onnx())
    Path("bad.tflite").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    out, err = inspected(capsys, "bad.tflite", "none.onnx", "good.onnx", status=2)
    assert out.startswith("good.onnx\n")
    assert "failed: bad.tflite: is a Git LFS pointer" in err
    assert "failed: none.onnx: " in err


def test_equal_failures_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{number}.onnx" for number in range(6)]
    for name in names:
        Path(name).touch()
    _, err = inspected(capsys, *names, "none.onnx", status=2)
    first, second = err.splitlines()
    empty = "is empty. Export or download it again."
    assert first == f"failed: 0.onnx, 1.onnx, 2.onnx, 3.onnx and 2 more: {empty}"
    assert second.startswith("failed: none.onnx: ")


def test_a_file_without_outputs_is_said_to_be_useless(capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load_model_from_string(small_onnx())
    del model.graph.output[:]
    Path("mute.onnx").write_bytes(model.SerializeToString())
    out, _ = inspected(capsys, "mute.onnx")
    assert "mute.onnx has no outputs. Export it with what it computes as an output." in out
    assert "can be neither timed nor scored" in out


def test_what_is_missing_in_a_damaged_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load_model_from_string(small_onnx())
    del model.opset_import[:]
    Path("old.onnx").write_bytes(model.SerializeToString())
    Path("cut.tflite").write_bytes(small_tflite().bytes()[:200])
    _, err = inspected(capsys, "old.onnx", "cut.tflite", status=2)
    assert "failed: old.onnx: is not an ONNX file, or is damaged: it names no opset." in err
    assert "failed: cut.tflite: is damaged or cut short. Export or download it again." in err


def test_what_a_run_needs_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("free.onnx").write_bytes(small_onnx(inputs={"x": ["N", 3, "H", "W"]}))
    out, _ = inspected(capsys, "free.onnx")
    assert "Say the shape, such as: --shape x=1,3,224,224" in out
    assert "x float32 1x3x?x? (in the file: N, 3, H, W)" in out
    out, _ = inspected(capsys, "free.onnx", "--shape", "x=1,3,8,16")
    assert "1x3x8x16 (in the file: N, 3, H, W)" in out
    assert "--shape" not in out
    _, err = inspected(capsys, "free.onnx", "--shape", "x=1,4,8,16", status=2)
    assert err.startswith("failed: free.onnx: its input 'x' is [N, 3, H, W] and cannot be 1x4x8x16.")


def test_the_card_that_a_file_carries_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    about = {
        "network": "net",
        "preprocessing": {"width_px": 8, "height_px": 8, "crop_scale": 2.7},
        "output": {"kind": "logits", "bona_fide_index": 1},
    }
    Path("net.onnx").write_bytes(small_onnx(metadata={"swapbench": json.dumps(about)}))
    out, _ = inspected(capsys, "net.onnx")
    card = tomllib.loads(out.partition("# The card in net.onnx\n")[2])
    assert (card["name"], card["preprocessing"]["crop_scale"], card["output"]["bona_fide_index"]) == (
        "net",
        2.7,
        1,
    )
    about["preprocessing"] = {"width_px": 0}
    Path("net.onnx").write_bytes(small_onnx(metadata={"swapbench": json.dumps(about)}))
    out, _ = inspected(capsys, "net.onnx")
    assert "the swapbench metadata in net.onnx cannot be used" in out


def test_no_runtime_is_imported() -> None:
    Path("a.onnx").write_bytes(small_onnx())
    Path("a.tflite").write_bytes(small_tflite().bytes())
    code = (
        "import sys\nfrom swapbench import cli\n"
        "assert cli.main(['inspect', 'a.onnx', 'a.tflite', '--json']) == 0\n"
        "runtimes = {'onnxruntime', 'ai_edge_litert', 'tflite_runtime', 'torch', 'pandas', 'matplotlib'}\n"
        "print(sorted(runtimes & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


# ---- The card that a file begins ----


def test_what_the_file_does_not_tell_is_asked_and_such_a_card_is_refused() -> None:
    found, card = drafted()
    assert (card["preprocessing"]["width_px"], card["preprocessing"]["height_px"]) == (80, 60)
    asked = {
        key for section in ("preprocessing", "output") for key, value in card[section].items() if value == "?"
    }
    assert asked == {"crop_scale", "channel_order", "scale", "bona_fide_index"}
    Path("net.toml").write_text(found.toml)
    with pytest.raises(BadCard, match=r"preprocessing\.crop_scale: "):
        read_card(Path("net.toml"))
    answers = {"crop_scale": "2.7", "channel_order": '"bgr"', "scale": "1.0", "bona_fide_index": "1"}
    text = found.toml
    for field, answer in answers.items():
        text = text.replace(f'{field} = "?"', f"{field} = {answer}")
    Path("net.toml").write_text(text)
    filled = read_card(Path("net.toml"))
    assert (filled.name, filled.preprocessing.channel_order, filled.output.bona_fide_index) == (
        "net",
        "bgr",
        1,
    )


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "lines"),
    [
        ("int8", 1 / 255, -128, {"scale": 1 / 255}),
        ("uint8", 1 / 255, 0, {"scale": 1 / 255}),
        ("uint8", 1.0, 0, {"scale": 1.0}),
        ("int8", 0.995, -128, {"scale": 1.0}),  # calibrated on images whose brightest pixel was 254
        ("int8", 2 / 255, -1, {"scale": 1 / 255, "mean": 0.5, "std": 0.5}),
        ("int8", 0.0186, -14, {"scale": "?"}),  # -2.12 to 2.62: ImageNet's means and deviations
        ("uint8", None, None, {"scale": 1.0}),
        ("float32", None, None, {"scale": "?"}),
        ("bfloat16", None, None, {"scale": "?"}),
        ("unknown", 0.5, 0, {"scale": "?"}),
    ],
)
def test_a_quantised_input_tells_the_range_that_pixels_become(
    dtype: str, scale: float | None, zero_point: int | None, lines: dict[str, Any]
) -> None:
    tensor = Tensor("x", (1, 80, 80, 3), dtype, scale, zero_point, (1, 80, 80, 3))
    found, card = drafted(tensor)
    told = {key: value for key, value in card["preprocessing"].items() if key in {"scale", "mean", "std"}}
    assert told == lines
    if scale is not None and dtype != "unknown":
        assert f"zero point {zero_point}" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("shape", "maker", "expected"),
    [
        ((1, 2), "Softmax", {"kind": "probabilities", "bona_fide_index": "?"}),
        ((1, 3, 1, 1), "SOFTMAX", {"kind": "probabilities", "bona_fide_index": "?"}),
        ((1, 2), "LOGISTIC", {"kind": "probabilities", "bona_fide_index": "?"}),
        ((1, 2), "LogSoftmax", {"kind": "logits", "bona_fide_index": "?"}),
        ((1, 2), "Div", {"kind": "?", "bona_fide_index": "?"}),
        ((1, 1), "Sigmoid", {"kind": "score", "higher_is": "?"}),
        ((1,), "Gemm", {"kind": "?", "higher_is": "?"}),
        ((1, 1, 32, 32), "Sigmoid", {"kind": "map", "reduce": "?", "higher_is": "?"}),
        ((1, 0), "Gemm", {"kind": "?"}),
    ],
)
def test_the_output_is_told_by_its_numbers_and_by_what_makes_them(
    shape: tuple[int, ...], maker: str, expected: dict[str, str]
) -> None:
    _, card = drafted(outputs=(Tensor("y", shape, "float32"),), made_by=(maker,))
    assert card["output"] == expected


def test_one_channel_is_gray_and_two_outputs_are_a_choice() -> None:
    gray = Tensor("x", (1, 1, 224, 224), "float32", declared=(1, 1, 224, 224))
    outputs = (Tensor("logits", (1, 2), "float32"), Tensor('a "map"', (1, 1, 32, 32), "float32"))
    found, card = drafted(gray, outputs, ("Gemm", "Conv"))
    assert card["preprocessing"]["channel_order"] == "gray"
    assert card["output"]["name"] == "?"
    assert "2 outputs" in found.notes[-1]
    assert 'a "map" (1x1x32x32, made by Conv)' in found.notes[-1]


@pytest.mark.parametrize(
    ("inputs", "note"),
    [
        ((IMAGE, IMAGE), "the file has 2 inputs (x 1x3x60x80, x 1x3x60x80), and a card describes one image"),
        ((Tensor("x", (1, 5, 3, 60, 80), "float32"),), "takes no image of 1 or 3 channels"),
        ((Tensor("x", (1, 6, 60, 80), "float32"),), "takes no image of 1 or 3 channels"),
    ],
)
def test_a_file_that_no_card_can_describe_gets_none(inputs: tuple[Tensor, ...], note: str) -> None:
    found = draft(graph_of(inputs, (TWO,), ("Gemm",)), "net")
    assert found.toml == ""
    assert note in found.notes[0]


def test_a_softmax_behind_a_change_of_shape_or_type_is_seen() -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["g"]),
        helper.make_node("Softmax", ["g"], ["s"], axis=1),
        helper.make_node("Flatten", ["s"], ["f"]),
        helper.make_node("Cast", ["f"], ["y"], to=TensorProto.FLOAT16),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, 3])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)]
    )
    Path("a.onnx").write_bytes(model.SerializeToString())
    assert read_graph(Path("a.onnx")).made_by == ("Softmax",)


@pytest.mark.parametrize(("first", "said"), [("Div", True), ("Conv", False)])
def test_a_file_that_begins_by_scaling_is_suspected_of_taking_pixels(first: str, said: bool) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node(first, ["t", "w"], ["y"]),
    ]
    constant = np.full((1, 3, 1, 1), 255, np.float32)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 8, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(constant, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    Path("a.onnx").write_bytes(model.SerializeToString())
    notes = draft(read_graph(Path("a.onnx")), "net").notes
    assert any(f"it begins with {first}, so it may take pixels" in note for note in notes) == said


def test_names_in_a_file_cannot_command_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [helper.make_node("Flatten", ["x\x1b[2J\n[output]"], ["y"])]
    Path("a.onnx").write_bytes(small_named(nodes))
    out, _ = inspected(capsys, "a.onnx")
    assert "\x1b" not in out
    assert "\n[output]\nkind" in out  # the section of the draft, and no other
    assert out.count("\n[output]") == 1


def small_named(nodes: list[onnx.NodeProto]) -> bytes:
    x = helper.make_tensor_value_info(nodes[0].input[0], TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 192])
    graph = helper.make_graph(nodes, "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
