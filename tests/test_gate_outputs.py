"""A gate's result as text for a terminal, Markdown, JSON, JUnit XML and GitHub: exactly the golden texts."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from swapbench.errors import EnvironmentFailed
from swapbench.gate import outputs
from swapbench.gate.comparison import (
    RUNS,
    Check,
    Explanation,
    GateResult,
    did_not_run,
    must_not_compare,
    timing_check,
)
from swapbench.gate.policy import Policy
from swapbench.gate.verdict import decide, invalid
from swapbench.operators import Change, Moved, Spread

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden"
# The single way to change the golden texts: SWAPBENCH_UPDATE_GOLDEN=1 pytest tests/test_gate_outputs.py
UPDATE = os.environ.get("SWAPBENCH_UPDATE_GOLDEN") == "1"
SKINS: dict[str, Callable[[GateResult], str]] = {
    "gate.txt": outputs.terminal,
    "gate.md": outputs.markdown,
    "gate.json": outputs.json_text,
    "gate.xml": outputs.junit,
    "gate.annotations": lambda result: "\n".join(outputs.github_annotations(result)) + "\n",
}
STILL = [-0.002, 0.001, 0.000, 0.002, -0.001, 0.001, -0.001, 0.002]


def timing(metric: str, model: str, by: float) -> Check:
    found = decide([value + by for value in STILL], STILL[::-1], 0.01)
    return timing_check(
        metric, model, found, Policy(), baseline_ns=1_350_000, candidate_ns=1_350_000 * (1 + found.change)
    )


def grown(op: str, before: float, after: float, nodes: tuple[int, int] = (3, 3)) -> Change:
    by = Spread(after - before, after - before - 0.01, after - before + 0.01)
    sides = (Spread(before, before, before), Spread(after, after, after))
    return Change(op, "", "", nodes, ("xnnpack", "xnnpack"), *sides, by)


def explained(model: str, *grew: Change, moved: tuple[Moved, ...] = ()) -> Explanation:
    return Explanation(model, Spread(1.07, 1.06, 1.08), grew, moved)


def result(*checks: Check, explanations: tuple[Explanation, ...] = ()) -> GateResult:
    return GateResult(
        checks,
        explanations=explanations,
        notes=("not checked here: latency_p90 at most 30.00 ms on pixel7 (this is local)",),
    )


def made() -> GateResult:
    small, odd = "minifasnet_v2.int8.tflite", "a|b_<i>.onnx"
    return result(
        timing("latency_p05", small, 0.07),
        timing("latency_p50", small, 0.0),
        timing_check(
            "load", small, invalid("charging began: 90 % full"), Policy(), baseline_ns=1, candidate_ns=1
        ),
        Check(
            "file_bytes",
            small,
            "PASS",
            hard=True,
            text="1.000 MB to 1.000 MB (+0.0 %, +1.0 % allowed)",
            baseline=1e6,
            candidate=1e6,
            change=0.0,
            budget=0.01,
        ),
        Check("energy", small, "ABSENT", hard=False, text="this machine has no energy counter"),
        Check(
            "apcer/replay",
            odd,
            "FAIL",
            hard=False,
            text="2.00 % to 4.00 % (+2.00 %, +1.00 % allowed)",
            baseline=0.02,
            candidate=0.04,
            change=0.02,
            budget=0.01,
            absolute=True,
        ),
        Check(
            "latency_p90",
            odd,
            "PASS",
            hard=True,
            text="1.900 ms, at most 2.000 ms allowed on local",
            rule="ceiling",
            candidate=1.9e6,
            budget=2e6,
            absolute=True,
        ),
        timing("latency_p05", odd, 0.01),
        did_not_run("broken.onnx", "no operator: Foo,\nBar 100%"),
        explanations=(
            explained(
                small,
                grown("Conv (NHWC, F32)", 0.61, 0.68, (3, 4)),
                grown("SIN", 0.0, 0.03, (0, 1)),
                moved=(Moved("ADD", "xnnpack", "builtin", ("a", "b|c")),),
            ),
            Explanation(odd, reason="the profiler is not there"),
        ),
    )


@pytest.mark.parametrize("name", SKINS)
def test_the_text_is_exactly_the_golden_one(name: str) -> None:
    text = SKINS[name](made())
    path = GOLDEN / name
    if UPDATE:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


# ---- JUnit ----


def test_junit_counts_hard_findings_as_red_and_advisory_ones_as_skipped() -> None:
    root = ET.fromstring(outputs.junit(made()))
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "9",
        "failures": "2",
        "errors": "1",
        "skipped": "3",
    }
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["minifasnet_v2.int8.tflite", "a|b_<i>.onnx", "broken.onnx"]
    failed = suites["minifasnet_v2.int8.tflite"].find("testcase[@name='latency_p05']/failure")
    assert failed is not None
    assert "is above the budget of 1.0 %" in failed.get("message", "")
    for suite in root:
        assert suite.get("tests") == str(len(suite))


def test_junit_of_a_gate_that_compared_nothing_is_an_error() -> None:
    root = ET.fromstring(outputs.junit(GateResult(())))
    assert (root.get("tests"), root.get("errors")) == ("1", "1")


def test_junit_of_a_model_of_which_nothing_was_measured_is_an_error() -> None:
    absent = Check("energy", "a.onnx", "ABSENT", hard=False, text="no counter")
    root = ET.fromstring(outputs.junit(GateResult((absent,))))
    assert (root.get("tests"), root.get("skipped"), root.get("errors")) == ("2", "1", "1")


@given(st.text(), st.text())
def test_any_text_gives_well_formed_xml_one_line_of_markdown_and_one_line_of_annotation(
    model: str, why: str
) -> None:
    one = GateResult((Check("macs", model, "FAIL", hard=True, text=why),))
    root = ET.fromstring(outputs.junit(one))
    assert root.get("failures") == "1"
    row = outputs.markdown(one).splitlines()[6]
    assert row.startswith("| **FAIL** | ")
    assert row.endswith(" |")
    assert len(outputs.markdown(one).split("\n")) == 8
    (line,) = outputs.github_annotations(one)
    assert "\n" not in line
    assert "\r" not in line
    assert line.count("::") >= 2


# ---- JSON ----


def test_json_says_the_verdict_the_units_and_null_for_what_is_not_finite() -> None:
    found = json.loads(outputs.json_text(made()))
    assert (found["verdict"], found["exit_status"]) == ("FAIL", 1)
    by_metric = {(one["model"], one["metric"]): one for one in found["checks"]}
    assert by_metric["minifasnet_v2.int8.tflite", "latency_p05"]["unit"] == "ns"
    assert by_metric["minifasnet_v2.int8.tflite", "load"]["verdict"]["change"] is None
    assert by_metric["broken.onnx", "runs"]["unit"] is None


# ---- which operators grew ----

TOLD = (
    "operators that grew, in shares of the baseline's time: "
    "Conv (NHWC, F32) 61.0 % to 68.0 % (+6.0 to +8.0 points, 3 to 4 nodes), SIN 3.0 % (new); "
    "the total is 107.0 % (106.0 % to 108.0 %) of the baseline's time; "
    "2 ADD fell back from xnnpack to builtin (a, b|c)"
)


def test_what_grew_stands_in_every_output() -> None:
    small = "minifasnet_v2.int8.tflite"
    assert f"{small}: {TOLD}" in outputs.terminal(made()).splitlines()
    assert "a|b_<i>.onnx: which operators grew is not known: the profiler is not there" in outputs.terminal(
        made()
    )
    assert TOLD.replace("|", "\\|") in outputs.markdown(made()).replace("\\_", "_")
    (failed,) = ET.fromstring(outputs.junit(made())).findall(f".//testcase[@classname='{small}']/failure")
    assert (failed.text or "").splitlines()[1:] == [TOLD]
    assert TOLD not in failed.get("message", "")
    first = outputs.github_annotations(made())[0]
    assert first.endswith(f"; {TOLD}".replace("%", "%25"))
    assert sum("grew" in line for line in outputs.github_annotations(made())) == 1
    said = json.loads(outputs.json_text(made()))["explanations"]
    assert [one["op"] for one in said[0]["grew"]] == ["Conv (NHWC, F32)", "SIN"]
    assert said[0]["grew"][0]["change"]["median"] == pytest.approx(0.07)
    assert said[0]["moved"][0]["after"] == "builtin"
    assert said[1] == {
        "model": "a|b_<i>.onnx",
        "total": None,
        "grew": [],
        "moved": [],
        "reason": "the profiler is not there",
    }


def test_where_nothing_grew_by_more_than_its_range_that_is_said() -> None:
    one = result(timing("latency_p05", "a.onnx", 0.07), explanations=(explained("a.onnx"),))
    assert (
        "no operator grew by more than its range in the profiled processes; the total is 107.0 %"
        in outputs.terminal(one)
    )


def test_a_long_list_is_cut_in_a_line_and_whole_in_json() -> None:
    many = explained("a.onnx", *(grown(f"Op{number}", 0.01, 0.09) for number in range(6)))
    one = result(timing("latency_p05", "a.onnx", 0.07), explanations=(many,))
    assert "Op3 1.0 % to 9.0 % (+7.0 to +9.0 points), 2 more; the total" in outputs.terminal(one)
    assert len(json.loads(outputs.json_text(one))["explanations"][0]["grew"]) == 6


def test_a_pair_that_must_not_be_compared_is_explained_at_that_check() -> None:
    moved = (Moved("Conv", "xnnpack", "builtin", ("a",)),)
    refused = must_not_compare("a.onnx", ("runtime.providers: xnnpack and xnnpack, builtin",))
    one = result(refused, explanations=(explained("a.onnx", moved=moved),))
    assert refused.metric == RUNS
    (line,) = outputs.github_annotations(one)[:1]
    assert "1 Conv fell back from xnnpack to builtin (a)" in line


def test_an_explanation_changes_no_verdict() -> None:
    checks = (timing("latency_p05", "a.onnx", 0.0),)
    with_it = result(*checks, explanations=(explained("a.onnx", grown("Conv", 0.1, 0.9)),))
    assert (with_it.verdict, with_it.exit_status) == ("PASS", 0)


# ---- Markdown ----


def test_the_worst_stands_first_and_a_name_cannot_break_the_table() -> None:
    rows = [line for line in outputs.markdown(made()).splitlines() if line.startswith("| ")][2:]
    words = [row.split(" | ")[0].lstrip("| ") for row in rows]
    assert words == [
        "**FAIL**",
        "**FAIL**",
        "FAIL (advisory)",
        "INVALID (advisory)",
        "**INCONCLUSIVE**",
        "PASS",
        "PASS",
        "PASS",
    ]
    assert r"a\|b\_\<i\>.onnx" in rows[2]


def test_the_summary_is_appended_to_what_other_steps_wrote(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    outputs.append_summary(path, made())
    assert path.read_text(encoding="utf-8") == "before\n" + outputs.markdown(made()) + "\n"


def test_a_summary_that_cannot_be_written_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="could not be written"):
        outputs.append_summary(tmp_path, made())


# ---- GitHub ----


def test_annotations_escape_what_would_end_the_command() -> None:
    lines = outputs.github_annotations(made())
    assert lines[1] == (
        "::error title=swapbench gate%3A FAIL%3A broken.onnx runs"
        "::the candidate does not run: no operator: Foo,%0ABar 100%25"
    )
    assert [line.split(" ")[0] for line in lines] == [
        "::error",
        "::error",
        "::warning",
        "::warning",
        "::error",
    ]


def test_a_green_gate_annotates_nothing_and_an_empty_one_an_error() -> None:
    assert outputs.github_annotations(result(timing("latency_p05", "a.onnx", 0.0))) == ()
    (line,) = outputs.github_annotations(GateResult(()))
    assert line.endswith("::nothing was compared")


# ---- terminal ----


def test_the_last_line_on_a_terminal_is_the_verdict() -> None:
    last = outputs.terminal(made()).splitlines()[-1]
    assert last == (
        "swapbench gate: FAIL: something got worse than its budget allows "
        "(2 failed, 1 inconclusive, 3 of 7 checks passed)"
    )
    assert outputs.terminal(GateResult(())) == "swapbench gate: INVALID: nothing was compared\n"


# ---- the ready-made jobs ----


def workflow(name: str) -> dict[Any, Any]:
    loaded = yaml.safe_load((REPOSITORY / "docs" / "ci" / name).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def test_the_github_workflow_gates_a_pull_request_and_keeps_its_results() -> None:
    loaded = workflow("github-actions.yml")
    assert "pull_request" in loaded[True]  # YAML 1.1 reads the key `on` as true
    assert loaded["permissions"] == {"contents": "read"}
    (job,) = loaded["jobs"].values()
    assert job["timeout-minutes"] <= 30
    commands = [step.get("run", "") for step in job["steps"]]
    assert sum("swapbench gate" in command for command in commands) == 1
    assert not any(step.get("continue-on-error") for step in job["steps"])
    kept = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert kept
    assert all(step["if"] == "always()" for step in kept)
    assert all("${{" not in command for command in commands)  # a title or branch name must not become shell


def test_the_gitlab_job_gates_a_merge_request_and_reports_junit() -> None:
    loaded = workflow("gitlab-ci.yml")
    job = loaded["regression-gate"]
    assert sum("swapbench gate" in line for line in job["script"]) == 1
    assert not job.get("allow_failure")
    junit = job["artifacts"]["reports"]["junit"]
    assert any(junit in line for line in job["script"])
    assert job["artifacts"]["when"] == "always"
