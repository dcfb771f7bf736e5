"""gate.toml as a person writes it, what records are held against, and which must not be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import made_records
import pytest
from made_records import accuracy, power, record, speed, weight

from swapbench.errors import UserError
from swapbench.gate.amounts import amounts
from swapbench.gate.comparison import (
    Check,
    GateResult,
    ceiling_checks,
    did_not_run,
    differences,
    elsewhere,
    record_checks,
    timing_check,
)
from swapbench.gate.policy import DEFAULTS, METRICS, Policy, read_policy
from swapbench.gate.verdict import decide, invalid
from swapbench.records import Absent, Parity, Plan, RuntimeUsed

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.records import Record


def policy_of(folder: Path, text: str) -> Policy:
    path = folder / "gate.toml"
    path.write_text(text, encoding="utf-8")
    return read_policy(path)


def budget(metric: str, rest: str) -> str:
    return f'[[budget]]\nmetric = "{metric}"\n{rest}\n'


# ---- reading ----


def test_without_a_file_every_metric_has_a_budget() -> None:
    assert set(DEFAULTS) == set(METRICS)
    assert read_policy(None).budget("latency_p05", "any.onnx").relative == 0.01
    assert not read_policy(None).asks_for("energy", "any.onnx")
    assert all(DEFAULTS[name].relative for name, metric in METRICS.items() if metric.paired)


@pytest.mark.parametrize(
    ("metric", "written", "field", "amount"),
    [
        ("latency_p05", 'relative = "2 %"', "relative", 0.02),
        ("latency_p05", "relative = 0.02", "relative", 0.02),
        ("file_bytes", 'absolute = "10 kB"', "absolute", 10_000),
        ("peak_memory", 'absolute = "1.5MiB"', "absolute", 1_572_864),
        ("params", "absolute = 1000", "absolute", 1000),
        ("macs", 'absolute = "2 M"', "absolute", 2_000_000),
        ("energy", 'absolute = "2 mJ"', "absolute", 2000),
        ("acer", 'absolute = ".5 %"', "absolute", 0.005),
        ("acer", "absolute = '0.5'", "absolute", 0.5),
        ("macs", 'relative = "200 %"', "relative", 2.0),
        ("params", "absolute = '2'", "absolute", 2),
        ("parity_flips", "absolute = 0", "absolute", 0),
    ],
)
def test_amounts_are_kept_in_base_units(
    tmp_path: Path, metric: str, written: str, field: str, amount: float
) -> None:
    found = policy_of(tmp_path, budget(metric, written)).budget(metric, "net.onnx")
    assert getattr(found, field) == pytest.approx(amount)


def test_the_last_entry_that_matches_counts_and_others_keep_the_default(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path,
        budget("macs", 'relative = "5 %"')
        + budget("macs", 'models = "small*"\nrelative = "9 %"\nhard = false')
        + budget("params", 'models = "small*"\nrelative = "9 %"'),
    )
    assert policy.budget("macs", "large.onnx").relative == pytest.approx(0.05)
    assert policy.budget("macs", "small.onnx").relative == pytest.approx(0.09)
    assert not policy.budget("macs", "small.onnx").hard
    assert policy.budget("params", "large.onnx") == DEFAULTS["params"]
    assert policy.asks_for("params", "small.onnx")
    assert not policy.asks_for("params", "large.onnx")


def test_a_ceiling_holds_for_its_models_and_devices(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path,
        '[[ceiling]]\nmetric = "latency_p90"\nat_most = "30 ms"\ndevice = "pixel*"\nmodels = "*.tflite"\n',
    )
    assert [one.at_most for one in policy.ceilings_of("a.tflite", "pixel7")] == [30_000_000]
    assert policy.ceilings_of("a.onnx", "pixel7") == ()
    assert policy.ceilings_of("a.tflite", "local") == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("metric = \n", r"gate\.toml is not TOML: .*line 1"),
        ("[[budgets]]\n", r"gate\.toml: there is no key 'budgets'\. Did you mean budget\?"),
        (
            "[budget]\nmetric = 'macs'\n",
            r"budget is not a list of tables\. Begin every entry with \[\[budget\]\]",
        ),
        ("\n\n[[budget]]\nrelative = '1 %'\n", r"line 3: \[\[budget\]\] 1 has no metric"),
        (budget("latency_p5", "relative = 0.1"), "no metric 'latency_p5'. Did you mean latency_p50"),
        (budget("macs", "relativ = 0.1"), "no key 'relativ'. Did you mean relative"),
        (budget("macs", "at_most = 5"), "no key 'at_most'"),
        (budget("macs", "hard = true"), "needs either relative or absolute"),
        (budget("macs", "relative = 0.1\nabsolute = 3"), "needs either relative or absolute"),
        (budget("macs", "relative = 5"), r'relative = 5 is 500%\. Write "5 %", or "500 %" if that is meant'),
        (budget("macs", 'relative = "2"'), r"relative = '2' is 200%\. Write \"2 %\""),
        (budget("latency_p05", 'relative = " 2.0 "'), r"relative = ' 2.0 ' is 200%"),
        (budget("macs", "relative = 1"), "relative = 1 is 100%"),
        (budget("acer", "absolute = 1"), r'absolute = 1 is 100%\. Write "1 %"'),
        (budget("parity_flips", "absolute = '2'"), "absolute = '2' is 200%"),
        ("[[ceiling]]\nmetric = 'apcer'\nat_most = '5'\n", "at_most = '5' is 500%"),
        (budget("macs", "relative = -0.1"), "is not an amount of 0 or more"),
        (budget("macs", "relative = true"), "relative = True is not an amount"),
        (budget("macs", "relative = nan"), "is not an amount of 0 or more"),
        (budget("macs", "relative = 0.1\nhard = 'no'"), "hard = 'no' is not true or false"),
        (budget("macs", "relative = 0.1\nmodels = ['a']"), "is not text in quotes"),
        (budget("file_bytes", 'absolute = "10 kb"'), "no unit 'kb'. Did you mean kB"),
        (budget("file_bytes", "absolute = 10"), "absolute = 10 has no unit. One of: B, kB"),
        (budget("latency_p50", 'absolute = "1 ms"'), "must be relative, not absolute"),
        (budget("latency_p50", "relative = 0"), "leaves no room for the noise of latency_p50"),
        ("[[ceiling]]\nmetric = 'load'\n", r"line 1: \[\[ceiling\]\] 1 has no at_most"),
        ("[[ceiling]]\nmetric = 'load'\nat_most = '5 kB'\n", "no unit 'kB'"),
        ("[[ceiling]]\nmetric = 'delegate_coverage'\nat_most = 1\n", "has no ceiling"),
    ],
)
def test_a_policy_that_is_wrong_says_where_and_how(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        policy_of(tmp_path, text)
    assert str(tmp_path / "gate.toml") in str(caught.value)


def test_the_line_of_the_second_entry_is_that_of_the_second_entry(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 5: \[\[budget\]\] 2"):
        policy_of(tmp_path, budget("macs", "relative = 0.1") + "\n" + budget("mac", "relative = 0.1"))


def test_a_policy_that_is_missing_or_no_text_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the policy"):
        read_policy(tmp_path / "none.toml")
    (tmp_path / "gate.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not TOML"):
        read_policy(tmp_path / "gate.toml")


@pytest.mark.parametrize(
    "entry",
    [
        budget("macs", "relative = 0.1\nmodels = 'mini*'"),
        "[[ceiling]]\nmetric = 'load'\nat_most = '1 s'\nmodels = 'mini*'\n",
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path, entry: str) -> None:
    policy = policy_of(tmp_path, entry)
    policy.require_matches(["mininet.onnx", "other.onnx"])
    with pytest.raises(UserError, match=r"'mini\*' of a .* matches none of other.onnx"):
        policy.require_matches(["other.onnx"])


def test_no_model_at_all_is_an_error() -> None:
    with pytest.raises(UserError, match="no model to compare"):
        Policy().require_matches([])


# ---- records that must not be compared ----


def with_runtime(**more: Any) -> Record:
    fields = {
        "runtime": "onnxruntime",
        "version": "1.31.0",
        "package": "onnxruntime",
        "providers": ("CPUExecutionProvider",),
        "threads": 1,
    }
    return record(runtime=RuntimeUsed(**(fields | more)))


def test_a_record_may_be_compared_with_itself() -> None:
    assert differences(record(), record()) == ()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (
            record(machine=made_records.MACHINE.model_copy(update={"name": "bench-2"})),
            "machine.name: bench-1 and bench-2",
        ),
        (
            record(machine=made_records.MACHINE.model_copy(update={"governor": None})),
            "machine.governor: performance and None",
        ),
        (with_runtime(package="onnxruntime-gpu"), "runtime.package: onnxruntime and onnxruntime-gpu"),
        (with_runtime(threads=4), "runtime.threads: 1 and 4"),
        (with_runtime(settings={"spinning": "off"}), "runtime.settings: none and spinning=off"),
        (with_runtime(settings={"flavour": "bundle"}), "runtime.settings: none and flavour=bundle"),
        (with_runtime(settings={"affinity": "c0"}), "runtime.settings: none and affinity=c0"),
        (with_runtime(settings={"delegate": "gpu"}), "runtime.settings: none and delegate=gpu"),
        (with_runtime(providers=("A", "B")), "runtime.providers: CPUExecutionProvider and A"),
        (record(plan=Plan(slice_ns=1)), "plan.slice_ns: 20000000 and 1"),
        (record(plan=Plan(fps=15)), "plan.fps: None and 15.0"),
    ],
)
def test_what_differs_is_named(other: Record, says: str) -> None:
    assert differences(record(), other) == (says,)
    (only,) = record_checks(record(), other, Policy())
    assert (only.outcome, only.hard) == ("INVALID", True)
    assert says in only.text


def test_a_delegate_that_took_another_part_of_the_graph_may_be_compared() -> None:
    took = [
        with_runtime(settings={"delegate": "gpu", "delegated": f"{nodes} of 4 nodes"}) for nodes in (4, 3)
    ]
    assert differences(*took) == ()


def test_a_new_runtime_version_and_a_longer_run_may_be_compared() -> None:
    assert differences(record(), with_runtime(version="2.0")) == ()
    assert differences(record(), record(plan=Plan(max_rounds=99, seed=5))) == ()
    assert (
        differences(record(), record(machine=made_records.MACHINE.model_copy(update={"load_1min": 9.0})))
        == ()
    )


def test_a_delegate_that_takes_less_than_before_is_judged_by_its_coverage() -> None:
    whole = with_runtime(providers=("xnnpack",), delegated_nodes=20, nodes=20)
    part = with_runtime(providers=("xnnpack", "builtin"), delegated_nodes=15, nodes=20)
    assert differences(whole, part) == ()
    found = {check.metric: check for check in record_checks(whole, part, Policy())}["delegate_coverage"]
    assert (found.outcome, found.baseline, found.candidate) == ("FAIL", 1.0, 0.75)


# ---- budgets ----


def checked(baseline: Record, candidate: Record, policy: Policy | None = None) -> dict[str, Check]:
    return {check.metric: check for check in record_checks(baseline, candidate, policy or Policy())}


def test_a_record_against_itself_passes_everything_that_was_measured() -> None:
    found = checked(record(), record())
    outcomes = {name: check.outcome for name, check in found.items()}
    assert outcomes.pop("energy") == "ABSENT"
    assert outcomes.pop("delegate_coverage") == "ABSENT"
    assert set(outcomes) == {
        "file_bytes",
        "params",
        "macs",
        "peak_memory",
        "acer",
        "bpcer",
        "apcer/print",
        "apcer/replay",
        "parity_flips",
    }
    assert set(outcomes.values()) == {"PASS"}


def test_exactly_on_the_budget_passes_and_one_byte_more_fails() -> None:
    base = record(weight=weight(2_000_000, 500_000, 40_000_000))
    on, above = (record(weight=weight(size, 500_000, 40_000_000)) for size in (2_020_000, 2_020_001))
    assert checked(base, on)["file_bytes"].outcome == "PASS"
    found = checked(base, above)["file_bytes"]
    assert (found.outcome, found.hard, found.baseline, found.candidate) == (
        "FAIL",
        True,
        2_000_000,
        2_020_001,
    )
    assert found.change == pytest.approx(0.0100005)
    assert found.budget == 0.01
    assert checked(base, on)["file_bytes"].text == "2.000 MB to 2.020 MB (+1.0 %, +1.0 % allowed)"


def test_the_apcer_of_one_species_fails_although_the_acer_holds() -> None:
    base = record(accuracy=accuracy({"print": (2, 100), "replay": (40, 100)}, 1, 50))
    worse = record(accuracy=accuracy({"print": (12, 100), "replay": (40, 100)}, 1, 50))
    found = checked(base, worse)
    assert [found[name].outcome for name in ("acer", "apcer/print", "apcer/replay")] == [
        "PASS",
        "FAIL",
        "PASS",
    ]
    assert found["apcer/print"].text.startswith("2 of 100 to 12 of 100 (+10.00 points, +1.00 allowed), p = ")
    assert found["apcer/print"].change == pytest.approx(0.1)
    assert found["apcer/print"].absolute


def test_a_rise_that_two_records_cannot_tell_from_chance_is_inconclusive() -> None:
    base = record(accuracy=accuracy({"print": (2, 100), "replay": (4, 100)}, 1, 50))
    worse = record(accuracy=accuracy({"print": (4, 100), "replay": (4, 100)}, 1, 50))
    found = checked(base, worse)["apcer/print"]
    assert (found.outcome, found.baseline, found.candidate) == ("INCONCLUSIVE", 0.02, 0.04)
    # 2 of a deviation of sqrt(2) / 1.96 points are 2.772 deviations
    assert found.text.startswith(
        "2 of 100 to 4 of 100 (+2.00 points, +1.00 allowed), p = 0.0056; 100 attacks"
    )


def test_errors_on_other_data_or_with_other_species_are_not_compared() -> None:
    other_data = record(
        accuracy=accuracy({"print": (2, 100), "replay": (4, 100)}, 1, 50, dataset_digest="ff")
    )
    found = checked(record(), other_data)
    assert found["acer"].outcome == found["apcer"].outcome == "INVALID"
    assert "accuracy.dataset_digest: 0123456789abcdef and ff" in found["acer"].text
    fewer = record(accuracy=accuracy({"print": (2, 100)}, 1, 50))
    assert checked(record(), fewer)["apcer/replay"].text == "the candidate has no replay"


def test_more_flips_fail_as_a_share_of_the_samples() -> None:
    def flips(count: int) -> Record:
        parity = record().parity
        assert isinstance(parity, Parity)
        return record(parity=parity.model_copy(update={"decision_flips": count}))

    assert checked(flips(0), flips(2))["parity_flips"].outcome == "PASS"  # 2 of 200 are the 1 % allowed
    assert checked(flips(0), flips(3))["parity_flips"].outcome == "FAIL"


def test_a_node_that_fell_back_from_the_delegate_fails() -> None:
    full, less = (with_runtime(delegated_nodes=taken, nodes=40) for taken in (40, 39))
    assert checked(full, less)["delegate_coverage"].outcome == "FAIL"
    assert checked(less, full)["delegate_coverage"].outcome == "PASS"
    assert checked(full, less)["delegate_coverage"].text == "100.00 % to 97.50 % (-2.50 %, none allowed)"


def test_from_nothing_to_something_is_a_change_without_a_ratio() -> None:
    base = record(weight=weight(1, 0, 1))
    found = checked(base, record(weight=weight(1, 5, 1)))["params"]
    assert (found.outcome, found.change) == ("FAIL", None)
    assert found.text == "0 to 5 (new, +1.0 % allowed)"


def test_what_one_side_lacks_is_invalid_and_what_the_policy_asks_for_too(tmp_path: Path) -> None:
    without = record(weight=weight(2_000_000, 500_000, 40_000_000, peak_bytes=None))
    assert checked(record(), without)["peak_memory"].outcome == "INVALID"
    assert checked(record(), without)["peak_memory"].text == "candidate: the memory pass failed. Run it again"
    assert checked(without, record())["peak_memory"].text == "baseline: the memory pass failed. Run it again"
    assert checked(without, without)["peak_memory"].outcome == "ABSENT"
    asked = policy_of(tmp_path, budget("peak_memory", 'relative = "5 %"'))
    assert checked(without, without, asked)["peak_memory"].outcome == "INVALID"


def test_energy_is_judged_with_its_uncertainty() -> None:
    # 10 s of 1 W idle and 20 J busy over 1000 runs: 10 mJ above idle; 30 J: 20 mJ; uncertainty about 5 uJ
    base, same, more = (record(power=power(busy, 1000)) for busy in (20_000_000, 20_000_000, 30_000_000))
    assert checked(base, same)["energy/rapl"].outcome == "PASS"
    found = checked(base, more)["energy/rapl"]
    assert (found.outcome, found.hard) == ("FAIL", False)
    assert found.change == pytest.approx(1.0)
    edge = record(power=power(21_000_000, 1000))  # 11 mJ: the budget of 10 % lies inside the uncertainty
    assert checked(base, edge)["energy/rapl"].outcome == "INCONCLUSIVE"


def test_energy_that_cannot_be_told_from_idle_is_absent() -> None:
    idle = record(power=power(10_000_000, 1000))
    assert checked(idle, idle)["energy"].outcome == "ABSENT"
    assert "smaller than its uncertainty" in checked(idle, idle)["energy"].text


# ---- ceilings ----


CEILINGS = """
[[ceiling]]
metric = "latency_p90"
at_most = "2 ms"
device = "bench-1"
[[ceiling]]
metric = "apcer"
at_most = "3 %"
[[ceiling]]
metric = "latency_p05"
at_most = "1.04 ms"
hard = false
[[ceiling]]
metric = "latency_p50"
at_most = "1 ms"
device = "pixel7"
"""


def test_ceilings_hold_whatever_the_baseline_was(tmp_path: Path) -> None:
    # ten processes of ten runs, 1.00 to 1.99 ms: p05 is 1.04 ms, the bound of p90 1.88 ms
    found = {check.metric: check for check in ceiling_checks(record(), policy_of(tmp_path, CEILINGS))}
    assert {name: check.outcome for name, check in found.items()} == {
        "latency_p90": "PASS",
        "apcer/print": "PASS",
        "apcer/replay": "FAIL",
        "latency_p05": "PASS",
    }
    assert found["apcer/replay"].text == "4.00 %, at most 3.00 % allowed on bench-1"
    assert not found["latency_p05"].hard


def test_a_ceiling_on_a_percentile_that_the_runs_do_not_support_is_invalid(tmp_path: Path) -> None:
    few = record(speed=speed(1_000_000, 10_000, runs=60))
    found = next(iter(ceiling_checks(few, policy_of(tmp_path, CEILINGS))))
    assert (found.outcome, found.text) == (
        "INVALID",
        "p90 needs 5 processes of 10 runs each",
    )


def test_a_ceiling_for_another_device_is_noted_and_not_checked(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, CEILINGS)
    assert elsewhere(policy, "bench-1", ["net.onnx"]) == (
        "not checked here: latency_p50 at most 1.000 ms on pixel7 (this is bench-1)",
    )


def test_every_metric_can_be_read_from_a_record() -> None:
    for metric in METRICS:
        found = amounts(record(), metric)
        assert isinstance(found, Absent) or found
    with pytest.raises(ValueError, match="no metric 'speed'"):
        amounts(record(), "speed")


# ---- the result ----


def check(outcome: str, model: str = "a.onnx", *, hard: bool = True) -> Check:
    return Check("macs", model, outcome, hard, "as made")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("checks", "verdict", "status"),
    [
        ([check("PASS")], "PASS", 0),
        ([check("PASS"), check("FAIL")], "FAIL", 1),
        ([check("FAIL"), check("INVALID"), check("INCONCLUSIVE")], "FAIL", 1),
        ([check("PASS"), check("INVALID"), check("INCONCLUSIVE")], "INVALID", 3),
        ([check("PASS"), check("INCONCLUSIVE")], "INCONCLUSIVE", 3),
        ([check("PASS"), check("FAIL", hard=False), check("INVALID", hard=False)], "PASS", 0),
        ([], "INVALID", 3),
        ([check("ABSENT")], "INVALID", 3),
        ([check("PASS"), check("ABSENT", "b.onnx")], "INVALID", 3),
        ([did_not_run("a.onnx", "no such operator")], "FAIL", 1),
    ],
)
def test_the_exit_status_follows_from_the_checks(checks: list[Check], verdict: str, status: int) -> None:
    found = GateResult(tuple(checks))
    assert (found.verdict, found.exit_status) == (verdict, status)


def test_a_timing_check_carries_its_verdict_and_budget() -> None:
    slower = decide([0.05 + step / 1000 for step in range(8)], [step / 10000 for step in range(8)], 0.01)
    found = timing_check("latency_p05", "a.onnx", slower, Policy(), baseline_ns=1e6, candidate_ns=1.054e6)
    assert (found.outcome, found.hard, found.budget, found.verdict) == ("FAIL", True, 0.01, slower)
    assert found.change == slower.change


def test_an_invalid_timing_has_no_numbers() -> None:
    found = timing_check("load", "a.onnx", invalid("throttled"), Policy(), baseline_ns=1, candidate_ns=2)
    assert (found.outcome, found.hard, found.candidate, found.change) == ("INVALID", False, None, None)
