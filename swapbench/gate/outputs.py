"""The result of a gate as text for a terminal, and as Markdown, JSON, JUnit XML and GitHub annotations.

Nothing is decided here.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from swapbench.files import disk_failure
from swapbench.gate.comparison import RUNS
from swapbench.gate.policy import METRICS
from swapbench.texts import spaced
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
    "INCONCLUSIVE": "what was measured does not decide it",
    "INVALID": "the measurement cannot be used, or there is none",
}
_LISTED: Final = 4
"""Operators and nodes that a line names, at most; JSON names all."""
_ORDER: Final = ("FAIL", "INVALID", "INCONCLUSIVE", "PASS", "ABSENT")


# ---------------------------------------------------------------------------------------------- common to all


def _sorted(checks: Iterable[Check]) -> list[Check]:
    """The worst first, hard checks before advisory ones, otherwise in the given order."""
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
    counts = [*counted, f"{passed} of {sum(check.measured for check in result.checks)} checks passed"]
    if result.unmeasured_models:
        counts.append(f"nothing was measured for {', '.join(result.unmeasured_models)}")
    return f"{_SENTENCES[result.verdict]} ({', '.join(counts)})"


def _word(check: Check) -> str:
    """The outcome, marked where it is advisory."""
    plain = check.hard or check.outcome in {"PASS", "ABSENT"}
    return check.outcome if plain else f"{check.outcome} (advisory)"


def _amount(check: Check, amount: float | None) -> str:
    kind = METRICS.get(check.metric.partition("/")[0])
    return "–" if amount is None or kind is None else kind.text(amount)


def _name(check: Check) -> str:
    return f"{check.metric} ceiling" if check.rule == "ceiling" else check.metric


def _explained(explanation: Explanation) -> str:
    """An explanation on one line."""
    if explanation.reason:
        parts = [f"which operators grew is not known: {explanation.reason}"]
    elif explanation.grew:
        grew = [_growth(change) for change in explanation.grew[:_LISTED]] + _more(len(explanation.grew))
        parts = [f"operators that grew, in shares of the baseline's time: {', '.join(grew)}"]
    else:
        parts = ["no operator grew by more than its range in the profiled processes"]
    if explanation.total is not None:
        low, high = percent(explanation.total.low), percent(explanation.total.high)
        total = percent(explanation.total.median)
        parts.append(f"the total is {total} ({low} to {high}) of the baseline's time")
    return "; ".join([*parts, *map(_move, explanation.moved)])


def _growth(change: Change) -> str:
    if not change.nodes[0]:
        return f"{change.op} {percent(change.after.median)} (new)"
    nodes = f", {change.nodes[0]} to {change.nodes[1]} nodes" if change.nodes[0] != change.nodes[1] else ""
    by = f"+{100 * change.change.low:.1f} to +{100 * change.change.high:.1f} points"
    return f"{change.op} {percent(change.before.median)} to {percent(change.after.median)} ({by}{nodes})"


def _move(moved: Moved) -> str:
    names = ", ".join([*filter(None, moved.names[:_LISTED]), *_more(len(moved.names))])
    verb = "fell back" if moved.fell_back else "moved"
    listed = f" ({names})" if names else ""
    return f"{len(moved.names)} {moved.op} {verb} from {moved.before} to {moved.after}{listed}"


def _more(count: int) -> list[str]:
    return [f"{count - _LISTED} more"] if count > _LISTED else []


def _explanation_of(check: Check, result: GateResult) -> str:
    """The explanation that belongs to a check, "" for most."""
    failed = check.outcome == "FAIL" and check.rule == "change" and check.metric.startswith("latency_")
    refused = check.outcome == "INVALID" and check.metric == RUNS
    if not check.hard or not (failed or refused):
        return ""
    explanations = [explained for explained in result.explanations if explained.model == check.model]
    return "; ".join(map(_explained, explanations))


# ---------------------------------------------------------------------------------------------- terminal


def terminal(result: GateResult) -> str:
    """Plain text, one line a check, the worst first; without what was neither measured nor asked for."""
    shown = [check for check in _sorted(result.checks) if check.outcome != "ABSENT"]
    rows = [(_word(check), *map(spaced, (check.model, _name(check), check.text))) for check in shown]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]) for row in rows]
    notes = [*_explanation_lines(result), *result.notes]
    return "\n".join([*lines, *map(spaced, notes), _head(result)]) + "\n"


def _explanation_lines(result: GateResult) -> list[str]:
    return [f"{explanation.model}: {_explained(explanation)}" for explanation in result.explanations]


# ---------------------------------------------------------------------------------------------- Markdown


def markdown(result: GateResult) -> str:
    """A heading, one table with the worst first, and the notes; any file name is escaped."""
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
        lines += ["", "Neither measured nor asked for:", ""]
        grouped: dict[tuple[str, str], list[str]] = {}
        for check in absent:
            grouped.setdefault((check.metric, check.text), []).append(check.model)
        lines += [
            f"- {_markdown(metric)} of {_markdown(', '.join(models))}: {_markdown(text)}"
            for (metric, text), models in grouped.items()
        ]
    notes = [*_explanation_lines(result), *result.notes]
    if notes:
        lines += ["", *[f"- {_markdown(note)}" for note in notes]]
    return "\n".join(lines) + "\n"


def append_summary(path: Path, result: GateResult) -> None:
    """Append the Markdown to the file that GITHUB_STEP_SUMMARY names.

    Raises:
        EnvironmentFailed: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(markdown(result) + "\n")
    except OSError as error:
        raise disk_failure(error, path) from error


def _markdown(text: str) -> str:
    """Text on one line in which nothing ends a table cell or begins markup."""
    return re.sub(r"([\\`*_|~$<>\[\]&])", r"\\\1", spaced(text))


# ---------------------------------------------------------------------------------------------- JSON


def json_text(result: GateResult) -> str:
    """Everything in the result; amounts in base units, with their unit; null for what is not finite."""
    return (
        json.dumps(
            {
                "verdict": result.verdict,
                "exit_status": result.exit_status,
                "checks": [_plain({**asdict(check), "unit": _unit(check)}) for check in result.checks],
                "unmeasured_models": list(result.unmeasured_models),
                "explanations": [_plain(asdict(explained)) for explained in result.explanations],
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
    """JUnit XML, with a suite a model and a case a check.

    A hard FAIL is a failure, a hard check that is undecided an error. Advisory checks that did not pass and
    what was not measured are skipped cases with their reason, so that no service counts them as failures. A
    gate without checks, or a model for which nothing was measured, is an error too.
    """
    root = ET.Element("testsuites", name=SUITE)
    suites = [
        _suite(model, [check for check in result.checks if check.model == model], result)
        for model in result.models
    ]
    for model in result.unmeasured_models:
        _add_unmeasured(suites[result.models.index(model)], model)
    if not suites:
        suites.append(ET.Element("testsuite", name=SUITE))
        _add_unmeasured(suites[0], SUITE)
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
            explained = _xml(_explanation_of(check, result))
            body = "\n".join(filter(None, (text, explained)))
            ET.SubElement(case, tag, type=check.outcome, message=text).text = body
    return suite


def _add_unmeasured(suite: ET.Element, name: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=_xml(name), name="measured")
    ET.SubElement(case, "error", type="INVALID", message="nothing was measured")


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold, not even escaped."""
    return re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


# ----------------------------------------------------------------------------------------- GitHub annotations


def github_annotations(result: GateResult) -> tuple[str, ...]:
    """Workflow commands that GitHub shows with the job: errors of hard checks, warnings of advisory ones."""
    lines = []
    for check in _sorted(result.checks):
        if check.outcome in {"PASS", "ABSENT"}:
            continue
        level = "error" if check.hard else "warning"
        title = f"{SUITE}: {_word(check)}: {check.model} {_name(check)}"
        text = "; ".join(filter(None, (check.text, _explanation_of(check, result))))
        lines.append(f"::{level} title={_property(title)}::{_data(text)}")
    if not result.checks or result.unmeasured_models:
        lines.append(
            f"::error title={_property(_head(result).partition(' (')[0])}::{_data(_sentence(result))}"
        )
    return tuple(lines)


def _data(text: str) -> str:
    """The message of a workflow command, escaped as in actions/toolkit, core/src/command.ts."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A property of a workflow command: escaped as a message, and the characters that end a property."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
