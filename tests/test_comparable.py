"""Phones in reports: places are never mixed; times at a camera's rate; scores beside the desktop's."""

from __future__ import annotations

from typing import Any

import made_records
import pytest
from made_records import MACHINE, record, speed, weight

from swapbench.records import (
    NOT_ELSEWHERE,
    Absent,
    CpuCluster,
    Machine,
    Parity,
    PhoneState,
    Plan,
    Record,
    RuntimeUsed,
    Speed,
    WorkerTimes,
)
from swapbench.report.choose.fronts import groups_of
from swapbench.report.page.data import page_data
from swapbench.report.page.detail import command, detail_of
from swapbench.report.rows import comparable as places
from swapbench.report.rows.references import compared_rows
from swapbench.report.rows.summary import summary
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.sections import markdown_text
from swapbench.report.tables.skins import text_of
from swapbench.report.tables.table import table_of
from swapbench.report.tables.terminal import terminal_table
from swapbench.report.tables.view import Query, flip_sentence, view_of

TENSOR = (
    CpuCluster(cores=(0, 1, 2, 3), capacity=160),
    CpuCluster(cores=(4, 5), capacity=498),
    CpuCluster(cores=(6, 7), capacity=1024),
)


def phone(clusters: tuple[CpuCluster, ...] = TENSOR, **more: Any) -> Machine:
    about = {"name": "pixel7", "device": "Google Pixel 7", "state": PhoneState(clusters=clusters)}
    return MACHINE.model_copy(update=about | more)


def used(runtime: str = "litert", **settings: str) -> RuntimeUsed:
    return RuntimeUsed(
        runtime=runtime,
        version="2.1.0",
        package=runtime,
        providers=("XNNPACK",),
        threads=1,
        settings=settings,
    )


def on_phone(net: str = "net", precision: str = "fp32", **more: Any) -> Record:
    return record(net, precision, "tflite", **({"machine": phone(), "runtime": used(flavour="aar")} | more))


def place(runtime: RuntimeUsed) -> str:
    return summary(on_phone(runtime=runtime)).place


# ------------------------------------------------------------------------------------------ places


@pytest.mark.parametrize(
    ("affinity", "kind", "numbers"),
    [
        ("f", "little", (0, 1, 2, 3)),
        ("30", "mid", (4, 5)),
        ("c0", "big", (6, 7)),
        ("80", "big", (7,)),  # the other big core was switched off
        ("ff", "all", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("f0", "chosen", (4, 5, 6, 7)),
    ],
)
def test_a_mask_is_the_kind_of_its_cores(affinity: str, kind: str, numbers: tuple[int, ...]) -> None:
    held = used(affinity=affinity)
    assert held.core_numbers == numbers
    assert places.cores(phone(), held) == kind
    assert f"on {kind} cores {','.join(map(str, numbers))}" in place(held)


def test_where_the_system_chose_or_does_not_tell_its_clusters_no_kind_is_claimed() -> None:
    assert places.cores(phone(), used()) is None
    assert places.cores(MACHINE, used(affinity="3")) == "chosen"
    assert places.cores(phone((CpuCluster(cores=(0, 1)),)), used(affinity="3")) == "all"


def test_the_official_libraries_and_google_s_own_tool_share_a_place_and_the_portable_ones_do_not() -> None:
    official, portable = (place(used(flavour=one)) for one in ("aar", "bundle"))
    tool = place(used("benchmark_model-gpu", delegate="gpu"))
    assert official == tool
    assert portable == f"{official} · portable libraries"


def test_places_of_one_phone_are_named_by_what_differs() -> None:
    rows = [
        summary(on_phone(runtime=used(flavour="aar"))),
        summary(on_phone(runtime=used(flavour="aar", affinity="c0"))),
        summary(on_phone(runtime=used(flavour="bundle", affinity="c0"))),
        summary(record()),
    ]
    assert list(places.names_of(rows).values()) == [
        "pixel7",
        "pixel7, big cores",
        "pixel7, big cores, portable libraries",
        "bench-1",
    ]


# ------------------------------------------------------------------------------------------ never mixed


def sped_up(teacher: RuntimeUsed, student: RuntimeUsed) -> float | None:
    """A teacher of 2.00 to 2.99 ms, median 2.49, and a student of a fifth of that."""
    records = [
        on_phone("teacher", runtime=teacher, weight=weight(9, 9, 99), speed=speed(2_000_000, 10_000)),
        on_phone("student", runtime=student, weight=weight(1, 1, 1), speed=speed(400_000, 2_000)),
    ]
    rows, _ = compared_rows(map(summary, records))
    row = next(one for one in rows if one.net == "student")
    return None if row.relative is None else row.relative.speed_up


@pytest.mark.parametrize(
    "other",
    [
        used(flavour="bundle", affinity="c0", delegate="gpu"),
        used(flavour="aar", affinity="30", delegate="gpu"),
        used(flavour="aar", delegate="gpu"),
        used(flavour="aar", affinity="c0", delegate="nnapi"),
        used(flavour="aar", affinity="c0", delegate="gpu", gpu_precision_loss_allowed="true"),
    ],
)
def test_no_ratio_is_made_over_flavours_cores_or_delegates(other: RuntimeUsed) -> None:
    here = used(flavour="aar", affinity="c0", delegate="gpu")
    assert sped_up(here, here) == pytest.approx(5.0)
    assert sped_up(other, here) is None
    assert sped_up(here, other) is None


def test_how_much_a_delegate_took_is_no_setting() -> None:
    took = [used(delegate="gpu", delegated=f"{nodes} of 4 nodes") for nodes in (4, 3)]
    assert sped_up(*took) == pytest.approx(5.0)


def test_each_kind_of_cores_has_its_own_group_its_own_best_and_its_own_front() -> None:
    big = [
        on_phone(net, runtime=used(affinity="c0"), speed=speed(ns, 1000))
        for net, ns in (("a", 1_000_000), ("b", 2_000_000))
    ]
    little = [
        on_phone(net, runtime=used(affinity="f"), speed=speed(ns, 1000))
        for net, ns in (("a", 9_000_000), ("b", 5_000_000))
    ]
    table = table_of([*little, *big])
    view = view_of(table, Query(columns=("latency_p50",)))
    assert [group.title for group in view.groups] == [
        "Device: pixel7, big cores",
        "Device: pixel7, little cores",
    ]
    best = {
        group.title: [line.row.net for line in group.lines if line.cells[1].best] for group in view.groups
    }
    assert list(best.values()) == [["a"], ["b"]]
    fronts = groups_of(table.rows, [COLUMNS["latency_p50"]])
    assert [(name, len(rows)) for name, _, rows in fronts] == [
        ("pixel7, big cores", 2),
        ("pixel7, little cores", 2),
    ]
    text = markdown_text([*little, *big])
    assert "The records come from 2 kinds of cores or libraries" in text
    assert {row.label for row in table.rows} == {
        f"{net}.fp32.tflite ({kind} cores)" for net in "ab" for kind in ("big", "little")
    }


def test_energy_at_one_frame_rate_is_not_held_against_energy_at_another() -> None:
    def saved(fps: float | None) -> float | None:
        teacher = on_phone("teacher", weight=weight(9, 9, 99), power=made_records.power(20_000_000, 10))
        energy = made_records.power(15_000_000, 10)
        student = on_phone("student", weight=weight(1, 1, 1), power=energy, plan=Plan(fps=fps))
        row = next(one for one in compared_rows(map(summary, [teacher, student]))[0] if one.net == "student")
        return row.relative.energy_reduction if row.relative else None

    # 10 and 5 J above idle for ten runs
    assert saved(None) == pytest.approx(2.0, rel=1e-3)
    assert saved(15.0) is None


# ---- At a camera's rate ----


def paced(runs: int = 200, late: tuple[int | None, ...] = (20, 30, 0, 0, 0)) -> Speed:
    """10.0, 10.1, 10.2 .. ms, dealt in turn to five workers, whose runs are dealt to two slices."""
    times = [10_000_000 + 100_000 * k for k in range(runs)]
    return Speed(
        workers=tuple(
            WorkerTimes(
                round=number,
                load_ns=1,
                first_ns=1,
                warmup_runs=5,
                slices_ns=(tuple(times[number::10]), tuple(times[number + 5 :: 10])),
                cpu_ns=1,
                late_frames=late[number],
            )
            for number in range(5)
        ),
        input="sample",
        stopped="rounds",
    )


def test_the_latencies_and_lost_frames_of_two_hundred_paced_runs_are_those_counted_on_paper() -> None:
    row = summary(on_phone(paced=paced(), plan=Plan(fps=15)))
    assert row.paced is not None
    assert row.conditions.frame_rate == 15
    assert row.paced.p50_ns == 19_700_000  # the medians of the workers are 19.5 to 19.9 ms
    assert row.paced.p50_low_ns <= 19_700_000 <= row.paced.p50_high_ns  # type: ignore[operator]
    # the 38th of the 40 runs of a worker are 28.5 to 28.9 ms; of five the largest bounds the median
    assert row.paced.p95_ns == 28_900_000
    assert (row.paced.frames, row.paced.missed) == (250, 0.2)
    assert COLUMNS["paced_frames"].text(row) == "250"
    assert COLUMNS["paced_missed"].text(row) == "20.00"


def test_a_runtime_that_counts_no_lost_frames_has_none_and_too_few_runs_have_no_p95() -> None:
    row = summary(on_phone(paced=paced(95, (None, 3, 0, 0, 0)), plan=Plan(fps=15)))
    assert row.paced is not None
    assert row.paced.frames is row.paced.missed is row.paced.p95_ns is None
    assert COLUMNS["paced_p95"].absent(row) == ("at the frame rate, p95 needs 5 processes of 20 runs each")
    assert COLUMNS["paced_missed"].text(row) == COLUMNS["paced_frames"].text(row) == "–"


def test_what_was_not_paced_says_so_only_where_it_is_asked() -> None:
    row = summary(on_phone())
    assert [one for one in row.missing if one.quantity in {"paced", "device_parity"}] == []
    assert "--fps" in COLUMNS["paced_p50"].absent(row)
    failed = summary(on_phone(paced=Absent(absent="the paced runs failed: killed"), plan=Plan(fps=15)))
    assert COLUMNS["paced_p50"].absent(failed) == "the paced runs failed: killed"


def test_paced_columns_stand_in_every_table_that_has_them_and_in_no_other() -> None:
    asked, other = [on_phone(paced=paced(), plan=Plan(fps=15))], [on_phone()]
    assert "At a camera's frame rate" in markdown_text(asked)
    assert "At a camera's frame rate" not in markdown_text(other)
    for skin in ("latex", "html"):
        assert "Median at frame rate" in text_of(table_of(asked), Query(), skin)
        assert "Median at frame rate" not in text_of(table_of(other), Query(), skin)
    assert "Frame rate: 15 frames a second." in text_of(table_of(asked), Query(), "html")
    headings = [str(column.header).replace("\n", " ") for column in terminal_table(asked).table(140).columns]
    assert "Median at frame rate ms" in headings
    assert not any("frame" in str(column.header) for column in terminal_table(other).table(140).columns)


# ---- Beside the desktop ----


def beside(flips: int) -> Parity:
    return Parity(
        samples=400,
        max_abs_difference=0.125,
        mean_abs_difference=0.01,
        correlation=0.99,
        decision_flips=flips,
        threshold=0.5,
        tolerance={},
    )


SENTENCE = (
    "net.fp32.tflite decides otherwise on pixel7 than on the desktop: 3 of 400 decisions flip, "
    "scores are up to 0.12 apart."
)


def test_a_phone_whose_decisions_flip_is_named_in_every_view() -> None:
    flipped = table_of([on_phone(device_parity=beside(3))])
    assert flip_sentence(flipped.rows[0]) == SENTENCE
    for skin in ("markdown", "latex", "html"):
        assert SENTENCE in text_of(flipped, Query(), skin).replace(r"\_", "_"), skin
        # also where no such column was asked for
        assert SENTENCE in text_of(flipped, Query(columns=("params",)), skin), skin
    assert SENTENCE in terminal_table([on_phone(device_parity=beside(3))]).caption(140)
    assert COLUMNS["device_flips"].text(flipped.rows[0]) == "3"
    assert COLUMNS["device_difference"].text(flipped.rows[0]) == "0.125"


def test_a_phone_that_decides_alike_has_its_numbers_and_no_sentence() -> None:
    same = [on_phone(device_parity=beside(0))]
    text = markdown_text(same)
    assert "decides otherwise" not in text
    assert "## On the device and on the desktop" in text
    section = text[text.index("## On the device") :].splitlines()
    assert [cell.strip() for cell in section[4].split("|")[2:-1]] == ["0.125", "0", "400"]
    assert any("desktop" in str(column.header) for column in terminal_table(same).table(140).columns)


def test_a_file_that_ran_here_has_no_parity_with_itself() -> None:
    here = [record()]
    assert "desktop" not in markdown_text(here)
    assert COLUMNS["device_flips"].absent(summary(here[0])) == NOT_ELSEWHERE.absent
    assert not any("desktop" in str(column.header) for column in terminal_table(here).table(140).columns)


# ------------------------------------------------------------------------------------------ the page


def test_the_command_of_a_phone_s_record_names_cores_rate_and_delegate() -> None:
    runner = on_phone(runtime=used(flavour="aar", affinity="c0"), plan=Plan(fps=15))
    assert "--runtime litert --device pixel7 --cores big --fps 15 --threads 1" in command(runner)
    tool = on_phone(runtime=used("benchmark_model-gpu", delegate="gpu"))
    assert "--runtime litert --device pixel7 --delegate gpu --threads 1" in command(tool)


def test_the_detail_of_a_phone_s_record_says_how_it_was_held_and_what_state_it_was_in() -> None:
    before = PhoneState(thermal_status=0, surface_c=31.5, battery_percent=72, charging=False, screen_on=True)
    after = before.model_copy(update={"thermal_status": 3, "surface_c": 41.0, "clusters": TENSOR})
    machine = phone(state=after, state_before=before)
    detail = detail_of(on_phone(machine=machine, runtime=used(flavour="bundle", affinity="c0")))
    assert ("Held to", "big cores (6, 7)") in detail.machine
    assert ("Libraries", "bundle") in detail.machine
    said = dict(detail.state)
    assert (
        said["Phone, before"] == "thermal status none, surface 31.5 °C, battery 72 %, charging off, screen on"
    )
    assert said["Phone, after"].startswith("thermal status severe, surface 41 °C")


def test_the_page_shows_what_a_phone_adds_only_where_a_record_has_it() -> None:
    asked = [on_phone(paced=paced(), plan=Plan(fps=15), device_parity=beside(3))]
    shown = page_data(table_of(asked), map(detail_of, asked), [])
    assert {"paced_p50", "paced_missed", "device_difference", "device_flips"} <= set(shown["first_shown"])
    said = {one["title"]: one["texts"] for one in shown["facts"]}
    assert said["At a camera's rate"] == ["15 frames a second, 50 of 250 were missed"]
    assert said["On the device, against the desktop"] == [
        "largest score difference 0.125, 3 of 400 decisions flip"
    ]
    other = [on_phone()]
    plain = page_data(table_of(other), map(detail_of, other), [])
    assert not {"paced_p50", "device_flips"} & {*plain["first_shown"], *(c["name"] for c in plain["columns"])}
