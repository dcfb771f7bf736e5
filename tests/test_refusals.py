"""What runtimes said when they refused a file, word for word, and what is said in its place."""

from __future__ import annotations

import json

import pytest

from swapbench.errors import EnvironmentFailed, RefusedFile, WorkerFailed
from swapbench.runtimes import contract
from swapbench.runtimes.refusals import refused

LOADING = (
    "Fail: [ONNXRuntimeError] : 1 : FAIL : Load model from /a b/net.onnx failed:/onnxruntime_src/onnxruntime/"
    "core/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&, "
    "const onnxruntime::IOnnxRuntimeOpSchemaRegistryList*, const onnxruntime::logging::Logger&, "
    "const onnxruntime::ModelOptions&) "
)


@pytest.mark.parametrize(
    ("message", "sentence", "remedy"),
    [
        (
            f"{LOADING}Unsupported model IR version: 14, max supported IR version: 13",
            "it has IR version 14, and this onnxruntime reads up to 13",
            "model.ir_version = 13",
        ),
        (
            (
                f"{LOADING}ONNX Runtime only *guarantees* support for models stamped with official released "
                "onnx opset versions. Opset 99 is under development and support for this is limited. The "
                "operator schemas may change. Current official support for domain ai.onnx is till opset 26."
            ),
            "it has opset 99 of ai.onnx, and this onnxruntime knows up to 26",
            "opset_version=26",
        ),
        (
            (
                "Fail: [ONNXRuntimeError] : 1 : FAIL : Load model from n.onnx failed:Fatal error: "
                "my.domain:MyOp(-1) is not a registered function/op"
            ),
            "onnxruntime does not have its operator my.domain:MyOp",
            "operators of the standard",
        ),
        (
            (
                "NotImplemented: [ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation "
                "for Conv(11) node with name 'c1'"
            ),
            "onnxruntime has no kernel for its operator Conv of opset 11 with these types",
            "another precision",
        ),
        (
            (
                "RuntimeError: Select TensorFlow op(s), included in the given model, is(are) not supported "
                "by this interpreter. See instructions: https://www.tensorflow.org/lite/guide/ops_selectNode "
                "number 7 (FlexErf) failed to prepare."
            ),
            "its operator FlexErf is TensorFlow's own, and LiteRT does not have it",
            "without SELECT_TF_OPS",
        ),
        (
            "RuntimeError: Encountered unresolved custom op: MyOp.\nSee instructions: https://a.b",
            "LiteRT does not have its custom operator MyOp",
            "operators of the standard",
        ),
        (
            "ValueError: Model provided is schema version 2 not equal to supported version 3.",
            "it has schema version 2, and this LiteRT reads version 3 alone",
            "current converter",
        ),
        (
            (
                "ValueError: Didn't find op for builtin opcode 'FULLY_CONNECTED' version '13'. An older "
                "version of this builtin might be supported."
            ),
            "it has version 13 of the operator FULLY_CONNECTED, which this LiteRT does not know",
            "Upgrade ai-edge-litert",
        ),
        (
            f"{LOADING}something new (and strange)",
            "the runtime cannot load or run it: something new (and strange)",
            "another version",
        ),
        (
            (
                "InvalidArgument: [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned "
                "while running Reshape node. Status Message: /src/reshape_helper.h:91 onnxruntime::"
                "ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, bool) "
                "The input tensor cannot be reshaped"
            ),
            (
                "the runtime cannot load or run it: Non-zero status code returned while running Reshape "
                "node. Status Message: The input tensor cannot be reshaped"
            ),
            "another version",
        ),
        ("", "the runtime cannot load or run it: ", "another version"),
    ],
)
def test_a_refusal_is_one_sentence_with_the_version_that_is_needed(
    message: str, sentence: str, remedy: str
) -> None:
    error = refused(message)
    assert error.args[0] == " ".join(sentence.split())
    assert remedy in error.remedy
    assert error.exit_status == 2


@pytest.mark.parametrize("stage", ["model", "run"])
def test_what_the_runtime_refuses_is_the_file_s_fault_and_fails_that_worker_alone(stage: str) -> None:
    line = json.dumps({"event": "error", "message": "onnxruntime: no", "stage": stage})
    with pytest.raises(RefusedFile, match="cannot load or run it: no") as caught:
        contract.parse_loaded(line)
    assert isinstance(caught.value, EnvironmentFailed)  # so the other files go on


@pytest.mark.parametrize("stage", [None, "library", "usage", "samples"])
def test_other_errors_stay_those_of_the_environment(stage: str | None) -> None:
    event = {"event": "error", "message": "no"} | ({"stage": stage} if stage else {})
    with pytest.raises(WorkerFailed) as caught:
        contract.parse_slice(json.dumps(event))
    assert (type(caught.value), caught.value.exit_status) == (WorkerFailed, 4)
