"""What a phone answered, as a file that its owner can read and send: a zip of texts.

`report.json` says what was asked and what the doctor found; `programs/` holds what programs printed, `files/`
what stood in files of the system. A report is data of others: nothing in it is run, and none of its names
leads out of the folder that it is unpacked into.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, ValidationError

from swapbench.cards import first_problem
from swapbench.devices.android_profile import Profile  # noqa: TC001 - pydantic reads it
from swapbench.errors import UserError
from swapbench.files import opened, whole_file
from swapbench.records import Finding, Frozen

if TYPE_CHECKING:
    from pathlib import Path

INDEX: Final = "report.json"
LARGEST_TEXT: Final = 2_000_000
MOST_TEXTS: Final = 5_000
MOST_BYTES: Final = 50_000_000
TRACE: Final = "perfetto --txt -c - -o"
"""Answered by the trace of a phone's power rails in base64, without whatever else stood in it."""
READ_ME: Final = """A report of `swapbench doctor --bundle`: what an Android phone answered.

report.json   what was asked, with exit statuses, and what the doctor found
programs/     what programs of the phone printed
files/        what stood in files of its system

All of it is text. Serial numbers, accounts, names of networks and of the phone, and addresses were taken out;
<serial> and the like stand in their places. Properties of the system that do not tell model or version were
left out. To see what swapbench makes of it:

    swapbench device replay {name}
"""


class Answer(Frozen):
    """What a program of the phone printed.

    Attributes:
        words: The command line.
        status: Its exit status.
        text: Standard output.
        errors: Standard error.
        begins: Every command line that begins with these words gets this answer.
    """

    words: str
    status: int
    text: str = Field(max_length=LARGEST_TEXT)
    errors: str = Field(default="", max_length=LARGEST_TEXT)
    begins: bool = False

    @property
    def program(self) -> str:
        """The first word."""
        return self.words.split(" ", 1)[0]


class PhoneReport(Frozen):
    """What a phone answered.

    Attributes:
        swapbench: The version that asked.
        time: When, as ISO 8601 in UTC.
        profile: Of the phone.
        features: Of its adb daemon.
        findings: The doctor's.
        properties: Of Android, as far as they tell model and system.
        answers: Of programs.
        files: Path -> text of the files that could be read.
        unreadable: Paths of files that are there and were refused.
        removed: What was taken out -> how often.
    """

    schema_version: Literal[1] = 1
    swapbench: str
    time: str
    profile: Profile
    features: tuple[str, ...]
    findings: tuple[Finding, ...]
    properties: dict[str, str]
    answers: tuple[Answer, ...]
    files: dict[str, str]
    unreadable: tuple[str, ...] = ()
    removed: dict[str, int] = Field(default_factory=dict)

    def texts(self) -> dict[str, str]:
        """The texts of the zip but for its index: name -> content."""
        programs = {
            f"programs/{place:03}-{_slug(answer.words)}.txt": answer.text
            for place, answer in enumerate(self.answers)
        }
        properties = "".join(f"[{name}]: [{value}]\n" for name, value in sorted(self.properties.items()))
        files = {f"files{path}": text for path, text in sorted(self.files.items())}
        return {"properties.txt": properties, **programs, **files}

    def shown(self) -> str:
        """All of it to be read before it is written."""
        index = json.dumps(self._index(), indent=1, ensure_ascii=False)
        parts = {**self.texts(), INDEX: index}
        return "\n".join(f"==== {name}\n{text.rstrip()}\n" for name, text in parts.items())

    def write(self, path: Path) -> None:
        """Write the zip, whole or not at all."""
        with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("README.txt", READ_ME.format(name=path.name))
            packed.writestr(INDEX, json.dumps(self._index(), indent=1, ensure_ascii=False))
            for name, text in self.texts().items():
                packed.writestr(name, text)

    def _index(self) -> dict[str, Any]:
        """What stands in report.json: everything but the texts, which have files of their own."""
        index = self.model_dump(mode="json", exclude={"files", "properties", "answers"})
        names = [name for name in self.texts() if name.startswith("programs/")]
        index["answers"] = [
            {**answer.model_dump(mode="json", exclude={"text"}), "file": name}
            for name, answer in zip(names, self.answers, strict=True)
        ]
        return index


def _slug(words: str) -> str:
    return re.sub("[^a-zA-Z0-9]+", "-", words).strip("-")[:60]


def read_report(path: Path) -> PhoneReport:
    """Read a zip that `write` has written; UserError where it is none, damaged or too large."""
    try:
        with opened(path) as file, zipfile.ZipFile(file) as packed:
            texts = _texts(packed)
        index = json.loads(texts.pop(INDEX))
        answers = [{"text": texts[answer.pop("file")], **answer} for answer in index.pop("answers")]
        files = {
            name.removeprefix("files"): text for name, text in texts.items() if name.startswith("files/")
        }
        properties = dict(re.findall(r"^\[([^\]\n]+)\]: \[(.*)\]$", texts["properties.txt"], re.MULTILINE))
        return PhoneReport.model_validate(
            {**index, "answers": answers, "files": files, "properties": properties}
        )
    except ValidationError as problem:
        raise _no_report(path, first_problem(problem, PhoneReport)) from None
    except UserError:
        raise
    except Exception as problem:  # zipfile raises what it likes for damaged and encrypted archives
        raise _no_report(path, f"{type(problem).__name__}: {problem}") from problem


def _texts(packed: zipfile.ZipFile) -> dict[str, str]:
    """Name -> text of every file in the zip; ValueError where they are too many or too large."""
    if len(packed.infolist()) > MOST_TEXTS:
        raise ValueError(f"it has more than {MOST_TEXTS} files")
    texts, room = {}, MOST_BYTES
    for name in packed.namelist():
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise ValueError(f"it has a file {name!r}")
        with packed.open(name) as member:
            content = member.read(min(LARGEST_TEXT * 4, room) + 1)
        room -= len(content)
        if room < 0 or len(content) > LARGEST_TEXT * 4:
            raise ValueError(f"{name} is too large")
        texts[name] = content.decode("utf-8")
    return texts


def _no_report(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is no report of a phone ({why})", remedy="Give what swapbench doctor --bundle has written."
    )
