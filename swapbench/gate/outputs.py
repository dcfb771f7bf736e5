"""The result of a gate as text: for a terminal, Markdown, JSON, JUnit XML and GitHub annotations. Nothing is decided here."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from swapbench.files import disk_failure
from swapbench.gate.comparison import RUNS
from swapbench.gate.policy import METRICS
from swapbench.units import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from swapbench.gate.comparison import Check, Explanation, GateResult
    from swapbench.operators import Change, Moved

SUITE: Final = "swapbench gate"
_SENTENCES: Final = {
    "PASS": "nothing got worse than its budget allows",
    "FAIL": "something got worse than its budget allows",
    "INCONCLUSIVE": "the rounds that were measured do not tell",
    "INVALID": "what was measured must not be used, or nothing was measured",
}
_LISTED: Final = 4
"""Operators and nodes that a line names; JSON names all."""
_ORDER: Final = ("FAIL", "INVALID", "INCONCLUSIVE", "PASS", "ABSENT")


# ---------------------------------------------------------------------------------------------- what all of them say


def _sorted(checks: Iterable[Check]) -> list[Check]:
    """The worst first, hard ones before advisory ones, otherwise in the order given."""
    return sorted(checks, key=lambda check: (_ORDER.index(check.outcome), not check.hard))


def _head(result: GateResult) -> str:
    return f"{SUITE}: {result.verdict}: {_sentence(result)}"


def _sentence(result: GateResult) -> str:
    if not result.checks:
        return "nothing was compared"
    counted = [
        f"{count} {word}"
        for outcome, word in (("FAIL", "failed"), ("INVALID", "not valid"), ("INCONCLUSIVE", "inconclusive"))
        if (count := sum(check.hard and check.outcome == outcome for check in result.checks))
    ]
    passed = sum(check.outcome == "PASS" for check in result.checks)
    told = [*counted, f"{passed} of {sum(check.measured for check in result.checks)} checks passed"]
    unmeasured = [f"nothing was measured of {', '.join(result.unmeasured_models)}"] * bool(
        result.unmeasured_models
    )
    return f"{_SENTENCES[result.verdict]} ({', '.join([*told, *unmeasured])})"


def _word(check: Check) -> str:
    """The outcome; what only warns is named so."""
    return (
        check.outcome if check.hard or check.outcome in {"PASS", "ABSENT"} else f"{check.outcome} (advisory)"
    )


def _amount(check: Check, amount: float | None) -> str:
    kind = METRICS.get(check.metric.partition("/")[0])
    return "–" if amount is None or kind is None else kind.text(amount)


def _name(check: Check) -> str:
    return f"{check.metric} ceiling" if check.rule == "ceiling" else check.metric


def _explained(one: Explanation) -> str:
    """What an explanation says, on one line."""
    if one.reason:
        told = [f"which operators grew is not known: {one.reason}"]
    elif one.grew:
        grew = [_grown(change) for change in one.grew[:_LISTED]] + _more(len(one.grew))
        told = [f"operators that grew, in shares of the baseline's time: {', '.join(grew)}"]
    else:
        told = ["no operator grew by more than its range in the profiled processes"]
    if one.total is not None:
        low, high = percent(one.total.low), percent(one.total.high)
        told.append(f"all together take {percent(one.total.median)} ({low} to {high})")
    return "; ".join([*told, *map(_moved, one.moved)])


def _grown(change: Change) -> str:
    if not change.nodes[0]:
        return f"{change.op} {percent(change.after.median)} (new)"
    nodes = f", {change.nodes[0]} to {change.nodes[1]} nodes" if change.nodes[0] != change.nodes[1] else ""
    by = f"+{100 * change.change.low:.1f} to +{100 * change.change.high:.1f} points"
    return f"{change.op} {percent(change.before.median)} to {percent(change.after.median)} ({by}{nodes})"


def _moved(one: Moved) -> str:
    names = ", ".join([*filter(None, one.names[:_LISTED]), *_more(len(one.names))])
    what = "fell back" if one.fell_back else "moved"
    return (
        f"{len(one.names)} {one.op} {what} from {one.before} to {one.after}{f' ({names})' if names else ''}"
    )


def _more(count: int) -> list[str]:
    return [f"{count - _LISTED} more"] if count > _LISTED else []


def _explanation_of(check: Check, result: GateResult) -> str:
    """The explanation that belongs to a check, "" for most."""
    failed = check.outcome == "FAIL" and check.rule == "change" and check.metric.startswith("latency_")
    refused = check.outcome == "INVALID" and check.metric == RUNS
    if not check.hard or not (failed or refused):
        return ""
    return "; ".join(_explained(one) for one in result.explanations if one.model == check.model)


# ---------------------------------------------------------------------------------------------- terminal


def terminal(result: GateResult) -> str:
    """Plain text, one line a check, the worst first; what was not measured and nobody asked for is left out."""
    shown = [check for check in _sorted(result.checks) if check.outcome != "ABSENT"]
    rows = [(_word(check), *map(_one_line, (check.model, _name(check), check.text))) for check in shown]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]) for row in rows]
    explained = [f"{one.model}: {_explained(one)}" for one in result.explanations]
    return "\n".join([*lines, *map(_one_line, (*explained, *result.notes)), _head(result)]) + "\n"


# ---------------------------------------------------------------------------------------------- Markdown


def markdown(result: GateResult) -> str:
    """A heading, one table with the worst first, and the notes; legible on a forge and safe for any file name."""
    lines = [f"## {SUITE}: {result.verdict}", "", _markdown(_sentence(result)), ""]
    shown = [check for check in _sorted(result.checks) if check.outcome != "ABSENT"]
    if shown:
        lines += [
            "| Outcome | Model | Metric | Baseline | Candidate | Why |",
            "| --- | --- | --- | --: | --: | --- |",
        ]
    for check in shown:
        word = f"**{_word(check)}**" if check.hard and check.outcome != "PASS" else _word(check)
        amounts = (_amount(check, check.baseline), _amount(check, check.candidate))
        cells = [word, *map(_markdown, (check.model, _name(check), *amounts, check.text))]
        lines.append(f"| {' | '.join(cells)} |")
    absent = [check for check in result.checks if check.outcome == "ABSENT"]
    if absent:
        lines += ["", "Not measured, and not asked for:", ""]
        grouped: dict[tuple[str, str], list[str]] = {}
        for check in absent:
            grouped.setdefault((check.metric, check.text), []).append(check.model)
        lines += [
            f"- {_markdown(metric)} of {_markdown(', '.join(models))}: {_markdown(text)}"
            for (metric, text), models in grouped.items()
        ]
    explained = [f"{one.model}: {_explained(one)}" for one in result.explanations]
    if explained or result.notes:
        lines += ["", *[f"- {_markdown(note)}" for note in (*explained, *result.notes)]]
    return "\n".join(lines) + "\n"


def append_summary(path: Path, result: GateResult) -> None:
    """Append the Markdown to the file that GITHUB_STEP_SUMMARY names. Raises EnvironmentFailed where it cannot be written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(markdown(result) + "\n")
    except OSError as error:
        raise disk_failure(error, path) from error


def _markdown(text: str) -> str:
    """`text` as it is, on one line: nothing in a model's name may end a cell or begin markup."""
    return re.sub(r"([\\`*_|~$<>\[\]&])", r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return "".join(" " if unicodedata.category(char) in {"Cc", "Zl", "Zp"} else char for char in text)


# ---------------------------------------------------------------------------------------------- JSON


def json_text(result: GateResult) -> str:
    """Everything in the result; amounts in base units, with the unit beside them; null for what is not finite."""
    return (
        json.dumps(
            {
                "verdict": result.verdict,
                "exit_status": result.exit_status,
                "checks": [_plain({**asdict(check), "unit": _unit(check)}) for check in result.checks],
                "unmeasured_models": list(result.unmeasured_models),
                "explanations": [_plain(asdict(one)) for one in result.explanations],
                "notes": list(result.notes),
            },
            indent=1,
            ensure_ascii=False,
            allow_nan=False,
        )
        + "\n"
    )


def _unit(check: Check) -> str | None:
    kind = METRICS.get(check.metric.partition("/")[0])
    return kind.unit if kind else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---------------------------------------------------------------------------------------------- JUnit XML


def junit(result: GateResult) -> str:
    """JUnit XML: a suite a model, a case a check. A hard FAIL is a failure; a hard check that cannot tell is an error.

    Advisory checks that did not pass and what was not measured are skipped cases with their reason, so that no service counts them
    as red. A gate without checks, or a model of which nothing was measured, is an error too.
    """
    root = ET.Element("testsuites", name=SUITE)
    suites = [
        _suite(model, [one for one in result.checks if one.model == model], result) for model in result.models
    ]
    for model in result.unmeasured_models:
        _measured_nothing(suites[result.models.index(model)], model)
    if not suites:
        suites.append(ET.Element("testsuite", name=SUITE))
        _measured_nothing(suites[0], SUITE)
    for suite in suites:
        cases = suite.findall("testcase")
        suite.set("tests", str(len(cases)))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
        root.append(suite)
    for attribute in ("tests", "failures", "errors", "skipped"):
        root.set(attribute, str(sum(int(suite.get(attribute, "0")) for suite in suites)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(model: str, checks: Sequence[Check], result: GateResult) -> ET.Element:
    suite = ET.Element("testsuite", name=_xml(model))
    for check in checks:
        case = ET.SubElement(suite, "testcase", classname=_xml(model), name=_xml(_name(check)))
        text = _xml(check.text)
        if check.outcome == "PASS":
            ET.SubElement(case, "system-out").text = text
        elif check.outcome == "ABSENT" or not check.hard:
            ET.SubElement(case, "skipped", message=f"{_word(check)}: {text}")
        else:
            tag = "failure" if check.outcome == "FAIL" else "error"
            more = _xml(_explanation_of(check, result))
            ET.SubElement(case, tag, type=check.outcome, message=text).text = "\n".join(
                filter(None, (text, more))
            )
    return suite


def _measured_nothing(suite: ET.Element, name: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=_xml(name), name="measured")
    ET.SubElement(case, "error", type="INVALID", message="nothing was measured")


def _xml(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold, not even escaped."""
    return re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


# ---------------------------------------------------------------------------------------------- GitHub annotations


def github_annotations(result: GateResult) -> tuple[str, ...]:
    """Workflow commands that GitHub shows beside the job: errors for what makes the gate red, warnings for advisory findings."""
    lines = [
        f"::{'error' if check.hard else 'warning'} title={_property(f'{SUITE}: {_word(check)}: {check.model} {_name(check)}')}"
        f"::{_data('; '.join(filter(None, (check.text, _explanation_of(check, result)))))}"
        for check in _sorted(result.checks)
        if check.outcome not in {"PASS", "ABSENT"}
    ]
    if not result.checks or result.unmeasured_models:
        lines.append(
            f"::error title={_property(_head(result).partition(' (')[0])}::{_data(_sentence(result))}"
        )
    return tuple(lines)


def _data(text: str) -> str:
    """The message of a workflow command, escaped as GitHub's own toolkit does (actions/toolkit, core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A property of a workflow command: its message's escapes, and the two characters that end a property."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
