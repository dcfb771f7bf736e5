"""Where a phone's files come from: archives, this computer, registries; and errors where there are none."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from swapbench.catalog import Folders
from swapbench.commands.provision import kit
from swapbench.commands.provision import sources as kit_sources
from swapbench.commands.provision.sources import (
    Source,
    fetched_bundle,
    from_aar,
    from_this_computer,
    is_like_this_computer,
)
from swapbench.errors import EnvironmentFailed, UserError

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="building the runner needs the package ziglang"
)


def archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in files.items():
            made.writestr(name.replace("__", "/"), content)
    return path


@needs_compiler
@pytest.mark.parametrize(
    ("runtime", "file", "library", "package", "version"),
    [
        ("onnxruntime", "onnxruntime-android-1.29.0.aar", "libonnxruntime.so", "onnxruntime-android", ""),
        ("litert", "litert-2.1.0.aar", "libLiteRt.so", "litert", "2.1.0"),
        ("litert", "litert-1.4.0-rc1.aar", "libtensorflowlite_jni.so", "litert", "1.4.0-rc1"),
        ("litert", "renamed.aar", "libLiteRt.so", "renamed", ""),
    ],
)
def test_the_library_and_its_name_come_out_of_an_archive(
    tmp_path: Path, runtime: str, file: str, library: str, package: str, version: str
) -> None:
    given = archive(
        tmp_path / file,
        **{f"jni/arm64-v8a/{library}": b"arm64", f"jni/x86_64/{library}": b"x86", "R.txt": b""},
    )
    source = from_aar(runtime, given, tmp_path / "cache")
    assert source.library.read_bytes() == b"arm64"
    assert (source.flavour, source.package, source.version) == ("aar", package, version)
    assert (source.loader, source.support) == (None, ())
    assert "aarch64-android" in source.runner.name


def test_accelerators_come_out_of_the_archive_of_litert_for_the_phone_s_processor_alone(
    tmp_path: Path,
) -> None:
    libraries = (
        "libLiteRt.so",
        "libLiteRtClGlAccelerator.so",
        "libLiteRtDispatch_GoogleTensor.so",
        "libother.so",
    )
    content = {f"jni/{abi}/{name}": abi.encode() for abi in ("x86_64", "arm64-v8a") for name in libraries}
    given = archive(tmp_path / "litert-2.3.0.aar", **content)
    source = from_aar("litert", given, tmp_path / "cache")
    assert source.library.name == "libLiteRt.so"
    assert [path.name for path in source.accelerators] == list(libraries[1:3])
    assert {path.read_bytes() for path in source.accelerators} == {b"arm64-v8a"}
    assert set(source.accelerators) < set(kit.files_of(source))


def test_an_archive_without_the_library_says_what_it_has(tmp_path: Path) -> None:
    given = archive(tmp_path / "other.aar", **{"jni/arm64-v8a/libother.so": b"", "classes.jar": b""})
    with pytest.raises(
        UserError, match=r"holds no jni/arm64-v8a/libonnxruntime\.so: it has jni/arm64-v8a/libother\.so"
    ):
        from_aar("onnxruntime", given, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", None])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.aar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as an Android archive"):
        from_aar("litert", path, tmp_path)


@needs_compiler
def test_the_libraries_of_this_computer_are_whole(tmp_path: Path) -> None:
    if not any(is_like_this_computer(abi) for abi in ("x86_64", "arm64-v8a")):
        pytest.skip("needs Linux with glibc")
    source = from_this_computer("litert", tmp_path)
    names = {path.name for path in source.support}
    assert {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1"} <= names
    assert source.loader is not None
    assert source.loader.name not in names
    # as on a phone: the loader finds everything in one folder, and nothing elsewhere
    folder = tmp_path / "phone"
    folder.mkdir()
    for path in kit.files_of(source):
        (folder / path.name).write_bytes(path.read_bytes())
        (folder / path.name).chmod(0o755)
    argv = [
        str(folder / source.loader.name),
        "--library-path",
        str(folder),
        "--list",
        str(folder / source.library.name),
    ]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = [line.split(" => ")[1].split(" ")[0] for line in listed.splitlines() if " => " in line]
    assert found
    assert all(path.startswith(str(folder)) for path in found)


def test_without_apt_the_c_library_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFailed, match=r"apt-get is missing.*libc\.so\.6") as caught:
        fetched_bundle("litert", tmp_path)
    assert "--litert-aar" in caught.value.remedy


def test_a_registry_that_cannot_be_reached_is_said_and_nothing_half_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    glibc = tmp_path / "glibc-arm64"
    glibc.mkdir()
    for name in kit_sources.GLIBC_FILES:
        (glibc / name).touch()
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(EnvironmentFailed, match=r"pip cannot fetch ai-edge-litert==.* for arm64: ERROR"):
        fetched_bundle("litert", tmp_path)
    assert not list(tmp_path.rglob("*.so"))


def test_a_program_that_hangs_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match=r"nothing came within 0\.1 s"):
        kit_sources._run([sys.executable, "-c", "import time; time.sleep(60)"], 0.1, "nothing came")


def test_what_was_gathered_is_remembered_as_long_as_its_files_are_there(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    files = [tmp_path / name for name in ("runner", "lib.so", "ld.so", "libc.so.6")]
    for path in files:
        path.touch()
    whole = Source("litert", "bundle", "p", "1", files[0], files[1], files[2], (files[3],))
    aar = Source("onnxruntime", "aar", "q", "", files[0], files[1])
    tool = tmp_path / "benchmark_model"
    tool.touch()
    kit.note(folders, "pixel7", [whole, aar], tool)
    assert kit.noted(folders, "pixel7") == ((whole, aar), tool)
    assert kit.noted(folders, "pixel8") == ((), None)
    files[3].unlink()
    assert kit.noted(folders, "pixel7") == ((aar,), tool)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"runtimes": [{}], "benchmark_model": null}'])
def test_a_damaged_note_is_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "build" / "phones" / "pixel7.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert kit.noted(Folders(tmp_path), "pixel7") == ((), None)


def test_trial_models_are_models(tmp_path: Path) -> None:
    from swapbench.modelfile import read_graph

    for format_, content in (("onnx", kit.trial_onnx()), ("tflite", kit.trial_tflite())):
        path = tmp_path / f"trial.{format_}"
        path.write_bytes(content)
        assert read_graph(path).ops == {"Neg" if format_ == "onnx" else "NEG": 1}


def test_a_kit_without_a_loader_is_started_by_the_phone_itself() -> None:
    parts = (
        kit.Part(runtime="onnxruntime", flavour="aar", package="p", version="", runner="r", library="l.so"),
        kit.Part(
            runtime="litert",
            flavour="bundle",
            package="q",
            version="2",
            runner="s",
            library="m.so",
            loader="ld",
        ),
    )
    ort, litert = kit.workers(kit.Kit(parts=parts, files={}), "/f")
    argv = ort.command("/f/a.onnx", mode="time", threads=2, options={})
    assert argv[0] == "/f/r"
    assert "--affinity" not in argv
    argv = litert.command("/f/a.tflite", mode="time", threads=2, options={})
    assert argv[:4] == ["/f/ld", "--library-path", "/f", "/f/s"]
    assert json.loads(kit.Kit(parts=parts, files={}).model_dump_json())["parts"][0]["flavour"] == "aar"
