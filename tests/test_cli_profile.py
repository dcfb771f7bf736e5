"""`swapbench profile`, and the gate on a failed timing, on a device whose operators are known by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tiny_files import small_onnx, small_tflite

from swapbench import catalog, cli
from swapbench.commands import explanations, profile
from swapbench.commands.options import PROFILE_PROCESSES
from swapbench.errors import UserError
from swapbench.ports import Node
from swapbench.testing import Fake, FakeModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.ports import Finished

    Put = Callable[..., "Places"]

MS = 1_000_000
NET = "net.fp32.onnx"


def node(op: str, name: str, us: int, provider: str = "arithmetic") -> Node:
    return Node(name, op, "float 1x4", provider, (us * 1000,) * 10)


OLD = FakeModel(run_ns=2 * MS, executed=(node("Conv", "c", 750), node("Relu", "r", 250)))
SLOWER = FakeModel(
    run_ns=2_500_000, executed=(node("Conv", "c", 750), node("Relu", "r", 250), node("Sin", "s", 250))
)


class Places(Fake):
    """A fake device that knows files by folder and name, so that both sides may have the same names."""

    def push(self, path: Path) -> str:
        return f"{path.parent.name}/{path.name}"

    def modes(self) -> list[str]:
        return [argv[argv.index("--mode") + 1] for argv in self.asked]


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Makes old/net.fp32.onnx and new/net.fp32.onnx and a device that runs them as it is told."""

    def put(new: FakeModel = SLOWER, old: FakeModel = OLD, kind: type[Places] = Places) -> Places:
        for folder in ("old", "new"):
            Path(folder).mkdir(exist_ok=True)
            Path(folder, NET).write_bytes(small_onnx())
        place = kind({f"old/{NET}": old, f"new/{NET}": new})
        monkeypatch.setattr(catalog, "device", lambda *_: place)
        return place

    return put


# ------------------------------------------------------------------------------------------ the command


def test_one_file_is_profiled_in_fresh_processes(device: Put, capsys: pytest.CaptureFixture[str]) -> None:
    place = device()
    assert cli.main(["profile", f"old/{NET}", "--top", "1"]) == 0
    text = capsys.readouterr().out
    assert "Conv          1  75.0 %" in text
    assert "The heaviest 1 of 2 nodes:" in text
    assert place.modes() == ["profile"] * PROFILE_PROCESSES
    assert place.open_workers == 0


def test_two_files_take_turns_and_are_timed_in_pairs_without_a_profiler(
    device: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    place = device()
    assert cli.main(["profile", f"old/{NET}", f"new/{NET}", "--processes", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert place.modes().count("profile") == 6
    assert place.modes().count("serve") == 3 * profile.PAIRED_ROUNDS
    assert said["difference"]["total"]["median"] == pytest.approx(1.25)
    changes = {one["op"]: one["change"]["median"] for one in said["difference"]["operators"]}
    # a fifth of 2.5 ms is a quarter of 2 ms; the others take as long as before
    assert changes == {"Sin": pytest.approx(0.25), "Conv": pytest.approx(0), "Relu": pytest.approx(0)}
    assert said["counted"] == []


def test_the_graph_difference_runs_nothing(device: Put, capsys: pytest.CaptureFixture[str]) -> None:
    place = device()
    Path("a.tflite").write_bytes(small_tflite().bytes())
    assert cli.main(["profile", f"old/{NET}", f"new/{NET}", "--graph"]) == 0
    assert "Both hold the same numbers of the same operators." in capsys.readouterr().out
    assert cli.main(["profile", "a.tflite", "--graph"]) == 0
    assert "FULLY_CONNECTED" in capsys.readouterr().out
    assert place.asked == []


def test_a_runtime_without_a_profiler_gives_totals_placing_and_the_reason(
    device: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(provider: str, run_ns: int) -> FakeModel:
        return FakeModel(run_ns=run_ns, placed=(node("Conv", "c", 0, provider),))

    device(without("builtin", 3 * MS), without("xnnpack", 2 * MS))
    assert cli.main(["profile", f"old/{NET}", f"new/{NET}"]) == 0
    text = capsys.readouterr().out
    assert "B takes 150.0 % (150.0 to 150.0) of A's time" in text
    assert "1 Conv fell back from xnnpack to builtin (c)." in text
    assert "No times of operators: programmed without operators." in text


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["nowhere.onnx"], 2, "cannot read nowhere.onnx"),
        (["torn.onnx"], 2, "torn.onnx is not an ONNX file, or is damaged"),
        ([f"old/{NET}", "a.tflite"], 2, "different formats"),
        ([f"old/{NET}", "--runtime", "litert"], 2, "none of the chosen runtimes"),
        ([f"old/{NET}", "--runtime", "lite"], 2, "Did you mean litert?"),
        ([f"old/{NET}", "--top", "0"], 2, "--top"),
        ([f"old/{NET}", "--processes", "1"], 2, "--processes"),
    ],
)
def test_what_cannot_be_profiled_is_said(
    device: Put, capsys: pytest.CaptureFixture[str], argv: list[str], status: int, said: str
) -> None:
    device()
    Path("torn.onnx").write_bytes(b"torn")
    Path("a.tflite").write_bytes(small_tflite().bytes())
    assert cli.main(["profile", *argv]) == status
    assert said in capsys.readouterr().err


def test_a_worker_that_fails_is_named_and_leaves_nothing_behind(
    device: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    place = device(FakeModel(error_in=frozenset({0})))
    assert cli.main(["profile", f"old/{NET}", f"new/{NET}"]) == 4
    assert f"{NET} could not be profiled: programmed failure" in capsys.readouterr().err
    assert place.open_workers == 0


def test_a_machine_that_changes_in_the_middle_is_not_valid(
    device: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    class Unplugged(Places):
        looks = 0

        def describe(self) -> Any:
            self.looks += 1
            return super().describe().model_copy(update={"on_battery": self.looks > 2})

    device(kind=Unplugged)
    assert cli.main(["profile", f"old/{NET}", f"new/{NET}"]) == 3
    assert "power source changed from mains to battery" in capsys.readouterr().err


def test_the_defaults_on_the_command_line_are_those_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = []

    def profiled(_: object, request: profile.ProfileRequest, **__: object) -> None:
        requests.append(request)
        raise UserError("enough")

    monkeypatch.setattr(profile, "profile", profiled)
    assert cli.main(["profile", "a.onnx"]) == 2
    assert requests == [profile.ProfileRequest(Path("a.onnx"))]


# -------------------------------------------------------------------------------- the gate explains a FAIL


def gated(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    status = cli.main(["gate", "--baseline", "old", "--candidate", "new", "--json", *more])
    return status, json.loads(capsys.readouterr().out)


def test_a_failed_timing_names_the_operators_that_grew(
    device: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    place = device()
    status, said = gated(capsys)
    assert (status, said["verdict"]) == (1, "FAIL")
    (found,) = said["explanations"]
    assert (found["model"], found["reason"]) == (NET, "")
    assert [(one["op"], one["nodes"]) for one in found["grew"]] == [("Sin", [0, 1])]
    assert found["grew"][0]["change"]["median"] == pytest.approx(0.25)
    assert found["total"]["median"] == pytest.approx(1.25)
    assert place.modes().count("profile") == 2 * PROFILE_PROCESSES
    assert place.open_workers == 0


def test_a_gate_that_passes_profiles_nothing(device: Put, capsys: pytest.CaptureFixture[str]) -> None:
    place = device(OLD)
    status, said = gated(capsys)
    assert (status, said["explanations"]) == (0, [])
    assert "profile" not in place.modes()


def test_a_failure_that_only_warns_is_not_explained(device: Put, capsys: pytest.CaptureFixture[str]) -> None:
    place = device()
    Path("gate.toml").write_text(
        "".join(
            f'[[budget]]\nmetric = "latency_{name}"\nrelative = "1 %"\nhard = false\n'
            for name in ("p05", "p50", "p90")
        )
    )
    status, said = gated(capsys, "--policy", "gate.toml")
    assert (status, said["explanations"]) == (0, [])
    assert "profile" not in place.modes()


def test_a_slower_candidate_says_which_nodes_its_delegate_left(
    device: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    def model(run_ns: int, provider: str) -> FakeModel:
        executed = (node("Conv", "c", 750, provider), node("Relu", "r", 250, "xnnpack"))
        providers = tuple(dict.fromkeys(("xnnpack", provider)))
        return FakeModel(run_ns=run_ns, providers=providers, executed=executed, placed=executed)

    device(model(4 * MS, "builtin"), model(2 * MS, "xnnpack"))
    status, said = gated(capsys)
    assert (status, said["verdict"]) == (1, "FAIL")
    (found,) = said["explanations"]
    assert [(one["op"], one["after"], one["names"]) for one in found["moved"]] == [("Conv", "builtin", ["c"])]


class Failing(Places):
    """Runs everything but profiles."""

    problem: Exception = RuntimeError("the profiler\nbroke")

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        if "profile" in argv:
            raise self.problem
        return super().run(argv, timeout_s)


class Slow(Places):
    """Profiles so slowly that only one process of each file fits."""

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        if "profile" in argv:
            self.clock.sleep(explanations.BUDGET_S)
        return super().run(argv, timeout_s)


@pytest.mark.parametrize(
    ("kind", "new", "reason"),
    [
        (Failing, SLOWER, "RuntimeError: the profiler broke"),
        (Places, FakeModel(run_ns=3 * MS), "programmed without operators"),
    ],
)
def test_what_goes_wrong_while_explaining_changes_no_verdict(
    device: Put, capsys: pytest.CaptureFixture[str], kind: type[Places], new: FakeModel, reason: str
) -> None:
    place = device(new, kind=kind)
    argv = ["gate", "--baseline", "old", "--candidate", "new", "--junit", "j.xml", "--markdown", "m.md"]
    assert cli.main(argv) == 1
    assert f"which operators grew is not known: {reason}" in capsys.readouterr().out
    assert reason in Path("j.xml").read_text()
    assert reason in Path("m.md").read_text()
    assert place.open_workers == 0


def test_an_explanation_that_does_not_fit_its_time_says_so(
    device: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swapbench.commands import gate

    place = device(kind=Slow)
    request = gate.GateRequest(("old",), ("new",))
    result = gate.gate(
        catalog.Folders(Path()), request, progress=lambda *_: None, say=print, clock=place.clock.seconds
    )
    (found,) = result.explanations
    assert (result.verdict, found.reason) == ("FAIL", "3 processes of each file did not fit into 8 s")


def test_an_interrupt_while_explaining_is_an_interrupt(device: Put) -> None:
    class Interrupted(Failing):
        problem = KeyboardInterrupt()  # type: ignore[assignment]

    assert device(kind=Interrupted).open_workers == 0
    assert cli.main(["gate", "--baseline", "old", "--candidate", "new"]) == 130


# ------------------------------------------------------------------------------------------ for real


@pytest.mark.slow
def test_real_files_go_through_real_workers(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    Path("a.onnx").write_bytes(small_onnx())
    Path("a.tflite").write_bytes(small_tflite().bytes())
    for name in ("a.onnx", "a.tflite"):
        assert cli.main(["profile", name, name, "--processes", "2", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["difference"]["moved"] == []
        assert all(one["nodes"][0] == one["nodes"][1] for one in said["difference"]["operators"])
