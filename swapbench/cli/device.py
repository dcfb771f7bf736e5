"""The commands about a phone: device prepare, device end, device replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import Json, Serial
from swapbench.commands.options import DeviceOptions

DeviceArgument = Annotated[
    str, typer.Argument(metavar="DEVICE", help="Device profile; swapbench devices lists them.")
]


def prepare(
    name: DeviceArgument,
    onnxruntime_aar: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Official Android archive of ONNX Runtime (.aar), in Maven repositories "
            "com.microsoft.onnxruntime:onnxruntime-android.",
        ),
    ] = None,
    litert_aar: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Official Android archive of LiteRT (.aar), in Google's Maven repository "
            "com.google.ai.edge.litert:litert.",
        ),
    ] = None,
    ncnn_zip: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Official Android release of ncnn with shared libraries, ncnn-DATE-android-shared.zip.",
        ),
    ] = None,
    benchmark_model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Google's benchmark_model for Android, for delegates; LiteRT's documentation links builds.",
        ),
    ] = None,
    litert_library: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Further library that LiteRT loads by itself, for --delegate gpu or npu: an accelerator, or "
            "an NPU's libLiteRtDispatch_NAME.so and what that needs. Repeatable.",
        ),
    ] = None,
    serial: Serial = None,
    json_out: Json = False,
) -> None:
    """Put the runner and the runtimes on a phone and try them there.

    Without archives, portable libraries are used.
    """
    from swapbench.commands import device

    given = {"onnxruntime": onnxruntime_aar, "litert": litert_aar, "ncnn": ncnn_zip}
    archives = {runtime: archive for runtime, archive in given.items() if archive is not None}
    options = DeviceOptions.of(name, serial)
    with terminal.progress() as progress:
        rows = device.prepare(
            terminal.folders(),
            options,
            archives,
            benchmark_model,
            litert_library or (),
            progress=progress,
            say=terminal.say,
        )
    columns = ("runtime", "version", "flavour", "package", "providers", "library")
    terminal.print_result(rows, columns, "", json_out=json_out)


def end(name: DeviceArgument, serial: Serial = None) -> None:
    """End what a phone does by itself for run --detached, and discard its results."""
    from swapbench.commands import device

    ended = device.end_detached(terminal.folders(), DeviceOptions.of(name, serial))
    terminal.say("Ended; its results are discarded." if ended else "Nothing was left on the phone.")


def replay(
    report: Annotated[
        Path, typer.Argument(metavar="FILE", help="What swapbench doctor --bundle has written.")
    ],
    json_out: Json = False,
) -> None:
    """Show what swapbench makes of a phone that somebody sent a report of, and what it found then."""
    from swapbench.cli.listing import print_findings
    from swapbench.commands import phone_report

    replayed = phone_report.replay(report)
    if json_out:
        terminal.show(json.dumps([vars(one) for one in replayed.findings], indent=1, ensure_ascii=False))
        return
    told = replayed.report
    terminal.show(
        f"{told.profile.summary or told.profile.name}, asked {told.time} by swapbench {told.swapbench}"
    )
    print_findings(replayed.findings)
    for name, old, new in replayed.changed:
        then, now = (f"{one.state} ({one.detail})" if one else "not looked at" for one in (old, new))
        terminal.say(f"{name}: then {then}, now {now}")
    for words in replayed.unanswered:
        terminal.say(f"The report has no answer to: {words}")
