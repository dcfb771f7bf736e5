"""Export to ncnn: what pnnx writes under our names, in float16, with our metadata, and where it fails."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import skip_without

torch = pytest.importorskip("torch")
skip_without("pnnx")
skip_without("ncnn")

from torch import nn  # noqa: E402 - torch must be there first

from swapbench.errors import MissingPackage, WorkerFailed  # noqa: E402
from swapbench.modelfile import read_graph  # noqa: E402
from swapbench.modelfile.parts import content_of_model, packed, unpacked, write_model  # noqa: E402
from swapbench.runtimes import ncnn as worker  # noqa: E402
from swapbench.runtimes.feed import Shapes  # noqa: E402
from swapbench.workshop.export import to_ncnn  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


class Small(nn.Module):
    """Convolution and norm, PReLU, a linear layer; all weights fill whole words in float16."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.PReLU(4)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Any) -> Any:
        x = self.act(self.norm(self.conv(images)))
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


def small() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def base() -> bytes:
    return to_ncnn.export_base(small(), 8, 6)


def test_input_output_and_size_have_the_names_of_the_other_formats(base: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.ncnn.param"
    assert write_model(path, base) == (path, tmp_path / "a.ncnn.bin")
    graph = read_graph(path)
    assert [(one.name, one.shape) for one in graph.inputs] == [("input", (1, 3, 8, 6))]
    assert [(one.name, one.shape) for one in graph.outputs] == [("logits", (1, 3))]
    assert graph.params == 4 * 27 + 4 + 4 + 12 + 3
    assert content_of_model(path) == base


def test_the_same_network_gives_the_same_bytes(base: bytes) -> None:
    assert to_ncnn.export_base(small(), 8, 6) == base


def test_float16_weights_are_those_of_pnnx_itself(base: bytes, tmp_path: Path) -> None:
    import pnnx

    from swapbench.workshop.export.rewrite import batch_norms_folded

    example = torch.zeros(1, 3, 8, 6)
    torch.jit.trace(batch_norms_folded(small()), example).save(str(tmp_path / "network.pt"))
    argv = [pnnx.EXEC_PATH, "network.pt", "inputshape=[1,3,8,6]", "fp16=1"]
    subprocess.run(argv, cwd=tmp_path, capture_output=True, check=True)
    _, weights = unpacked(to_ncnn.fp16(base))
    assert weights == (tmp_path / "network.ncnn.bin").read_bytes()


def test_odd_numbers_of_halves_are_filled_up_to_words(tmp_path: Path) -> None:
    path, weights = tmp_path / "a.param", bytes(4) + np.array([1, 2, 0.1], np.float32).tobytes()
    text = b"7767517\n2 2\nInput x 0 1 x 0=3 1=1 2=1\nInnerProduct f 1 1 x y 0=1 2=3\n"
    write_model(path, to_ncnn.fp16(packed(text, weights)))
    stored = path.with_suffix(".bin").read_bytes()
    assert stored[4:] == np.array([1, 2, 0.1, 0], np.float16).tobytes()
    assert read_graph(path).precision == "fp16"


def test_the_metadata_are_read_and_ncnn_does_not_mind_them(base: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.param"
    write_model(path, to_ncnn.described(to_ncnn.described(base, '{"network": "b"}'), '{"network": "a"}'))
    assert read_graph(path).metadata == {"network": "a"}
    engine = worker.open_backend().load(str(path), 1, worker.SINGLE, Shapes(((1, 3, 8, 6),)))
    images = np.random.default_rng(0).random((1, 3, 8, 6), np.float32)
    with torch.no_grad():
        wanted = small()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(engine.timed_call(images)(), wanted, atol=1e-5)


def test_a_network_that_ncnn_has_no_layer_for_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    class Odd(nn.Module):
        def forward(self, images: Any) -> Any:
            return torch.linalg.matrix_exp(images[:, :, :6, :6]).mean((2, 3))

    with pytest.raises(WorkerFailed, match="to ncnn, which has no layer for aten::linalg_matrix_exp"):
        to_ncnn.export_base(Odd().eval(), 8, 6)
    assert capfd.readouterr().out == ""


def test_without_pnnx_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pnnx", None)
    with pytest.raises(MissingPackage, match="exporting to ncnn needs the package pnnx") as raised:
        to_ncnn.export_base(small(), 8, 6)
    assert "swapbench[export]" in raised.value.remedy


def test_text_and_weights_are_one_content() -> None:
    assert unpacked(packed(b"text\n", b"\0\1\0")) == (b"text\n", b"\0\1\0")
