"""The emulated phone, seen through the real adb client: it must behave as phones do, faults included."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from phone.dialects import DIALECTS, PIXEL, SAMSUNG, XIAOMI
from phone.fetch import FetchFailed, fetch, native_arch, programs
from phone.gauge import CHARGER_MW, OPEN_CIRCUIT_UV, SAG_UV_PER_MW, Gauge
from phone.lifecycle import ADB_TIMEOUT_S, Phone, Unavailable, daemon_argv
from phone.nodes import clusters, stat, sysfs
from phone.programs import POWER_STATS, View, answer
from phone.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["phone.fixture"]

BATTERY = "/sys/class/power_supply/battery"
TMP = "/data/local/tmp"


def until(holds: Callable[[], bool]) -> bool:
    """Waits until it holds; false where it never does."""
    deadline = time.monotonic() + ADB_TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def twenty_mb(tmp_path: Path) -> Path:
    path = tmp_path / "twenty megabytes"
    path.write_bytes(os.urandom(20_000_000))
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_text("#!/system/bin/sh\necho ran\n")
    path.chmod(0o755)
    return path


# ------------------------------------------------------------------------------------ commands and files


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("true", 0),
        ("exit 42", 42),
        ("kill -9 $$", 137),
        ("nosuchprogram", 127),
        ("cp /system/bin/busybox /sdcard/ls && /sdcard/ls", 126),
        ("kill -ILL $$", 132),
        ("kill -SEGV $$", 139),
    ],
)
def test_a_command_ends_with_the_status_that_a_phone_gives(phone: Phone, command: str, status: int) -> None:
    assert phone.shell(command).status == status


def test_stdout_and_stderr_arrive_apart(phone: Phone) -> None:
    done = phone.shell("echo out; echo err >&2; exit 3")
    assert (done.status, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_standard_input_reaches_the_command_and_ends(phone: Phone) -> None:
    text = os.urandom(300_000)
    assert (
        phone.adb("shell", "sha256sum", input=text).stdout.split()[0].decode()
        == hashlib.sha256(text).hexdigest()
    )


def test_exec_out_carries_every_byte(phone: Phone) -> None:
    done = phone.adb("exec-out", r"printf '\000\r\n\377'")
    assert done.stdout == b"\0\r\n\xff"


def test_an_older_client_gets_stderr_merged_and_no_status(phone: Phone) -> None:
    done = phone.adb("shell", "-x", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (0, b"out\nerr\n")


def test_twenty_megabytes_come_back_as_they_went(phone: Phone, twenty_mb: Path, tmp_path: Path) -> None:
    assert phone.adb("push", str(twenty_mb), f"{TMP}/big").returncode == 0
    assert phone.shell(f"sha256sum {TMP}/big").stdout.split()[0] == sha256(twenty_mb)
    assert phone.adb("pull", f"{TMP}/big", str(tmp_path / "back")).returncode == 0
    assert sha256(tmp_path / "back") == sha256(twenty_mb)


@pytest.mark.parametrize(
    "name", ["two words", "it's", 'say "hi"', "größe.onnx", "模型", "$HOME;rm -r *", "back\\slash"]
)
def test_names_of_all_kinds_can_be_pushed_listed_and_pulled(phone: Phone, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("content of " + name)
    assert phone.adb("push", str(path), f"{TMP}/{name}").returncode == 0
    assert phone.shell(f"cd {TMP} && print -r -- *").stdout == f"{name}\n"
    assert name in phone.adb("ls", TMP).stdout.decode()
    assert phone.adb("pull", f"{TMP}/{name}", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_text() == "content of " + name


def test_a_folder_is_pushed_and_pulled_with_modes(phone: Phone, tmp_path: Path) -> None:
    (tmp_path / "set/inner").mkdir(parents=True)
    (tmp_path / "set/inner/run").write_text("#!/system/bin/sh\nexit 5\n")
    (tmp_path / "set/inner/run").chmod(0o755)
    assert phone.adb("push", str(tmp_path / "set"), TMP).returncode == 0
    assert phone.shell(f"{TMP}/set/inner/run").status == 5
    assert phone.adb("pull", f"{TMP}/set", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back/inner/run").read_text() == "#!/system/bin/sh\nexit 5\n"


def test_pulling_what_is_not_there_is_refused(phone: Phone, tmp_path: Path) -> None:
    done = phone.adb("pull", f"{TMP}/nothing", str(tmp_path / "x"))
    assert done.returncode == 1
    assert b"No such file or directory" in done.stdout + done.stderr


def test_the_system_cannot_be_written(phone: Phone, program: Path) -> None:
    done = phone.adb("push", str(program), "/system/bin/program")
    assert done.returncode == 1
    assert b"Permission denied" in done.stdout + done.stderr
    assert phone.shell(f"echo 1 > {BATTERY}/capacity").status == 1


def test_fifty_commands_at_once_do_not_mix(phone: Phone) -> None:
    with ThreadPoolExecutor(50) as pool:
        done = list(pool.map(lambda number: phone.shell(f"echo {number}; exit {number}"), range(50)))
    assert [(one.status, one.stdout) for one in done] == [(number, f"{number}\n") for number in range(50)]


def test_a_forwarded_port_reaches_the_phone(phone: Phone) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        forwarded = int(phone.adb("forward", "tcp:0", f"tcp:{port}").stdout)
        with socket.create_connection(("127.0.0.1", forwarded), timeout=ADB_TIMEOUT_S) as near:
            far, _ = listening.accept()
            with far:
                near.sendall(b"question")
                assert far.recv(100) == b"question"
                far.sendall(b"answer")
                assert near.recv(100) == b"answer"


# --------------------------------------------------------------------------------------- processes


def start_client(phone: Phone, command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(phone.adb_server.program), "-s", phone.serial, "shell", command],
        env=phone.adb_server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def running(phone: Phone, text: str) -> bool:
    return any(text in command for _, command in phone.processes())


def test_what_a_shell_started_in_the_background_outlives_the_client(phone: Phone) -> None:
    client = start_client(
        phone,
        f"(until [[ -e {TMP}/go ]]; do sleep 0.05; done; echo alive > {TMP}/note; exec sleep 1000) & wait",
    )
    assert until(lambda: running(phone, f"{TMP}/go"))
    client.kill()
    client.wait()
    phone.shell(f"touch {TMP}/go")
    assert until(lambda: phone.shell(f"cat {TMP}/note").stdout == "alive\n")
    assert running(phone, "sleep 1000")
    phone.reset()
    assert phone.processes() == []


def test_a_command_that_prints_dies_once_its_client_is_gone(phone: Phone) -> None:
    client = start_client(phone, "while true; do echo word; sleep 0.01; done")
    assert until(lambda: running(phone, "echo word"))
    client.kill()
    client.wait()
    assert until(lambda: not running(phone, "echo word"))


def test_a_background_process_does_not_hold_the_client(phone: Phone) -> None:
    assert phone.shell("sleep 1000 < /dev/null > /dev/null 2>&1 & echo started").stdout == "started\n"
    assert running(phone, "sleep 1000")


def test_a_runner_can_be_killed_while_it_runs(phone: Phone) -> None:
    phone.kill_when("sleep $time", "sleep 1000", after_s=0.1)
    assert phone.shell("time=1000; sleep $time; exit 3").status == 3
    phone.kill_when("exec sleep", "sleep 1000", after_s=0.1)
    assert phone.shell("exec sleep 1000").status == 137


# --------------------------------------------------------------------------------- faults of the link


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stdout + done.stderr).decode()


def test_an_unauthorised_computer_is_told_to_look_at_the_phone(phone: Phone) -> None:
    phone.set(authorised=False)
    phone.connect()
    assert until(lambda: phone.seen() == "unauthorized")
    done = phone.adb("shell", "true")
    assert done.returncode == 1
    assert "device unauthorized" in said(done)
    assert "confirmation dialog on your device" in said(done)
    phone.set(authorised=True)  # the person taps "Allow"
    assert until(lambda: phone.seen() == "device")
    assert phone.shell("echo in").stdout == "in\n"


def test_a_phone_that_does_not_answer_is_offline_until_it_is_connected_again(phone: Phone) -> None:
    phone.set(answering=False)
    assert until(lambda: phone.seen() == "offline")
    done = phone.adb("shell", "true")
    assert done.returncode == 1
    assert "device offline" in said(done)
    phone.set(answering=True)
    phone.connect()
    assert phone.shell("echo back").stdout == "back\n"


def test_a_pulled_cable_cannot_be_connected_until_it_is_back(phone: Phone) -> None:
    phone.set(cable=False)
    assert "Connection refused" in phone.connect()
    assert phone.seen() == ""
    done = phone.adb("shell", "true")
    assert done.returncode == 1
    assert re.search(r"device '?\S*'? ?not found|device offline", said(done))
    phone.set(cable=True)
    assert phone.connect().startswith("connected to")
    assert phone.shell("echo back").stdout == "back\n"


def test_a_cable_pulled_during_a_push_leaves_half_a_file_and_a_retry_succeeds(
    phone: Phone, twenty_mb: Path
) -> None:
    phone.set(pull_cable_after_push_bytes=5_000_000)
    done = phone.adb("push", str(twenty_mb), f"{TMP}/big")
    assert done.returncode == 1
    # adb 29 and adb 36, which also claims "1 file pushed"
    assert re.search(r"couldn't read from device|failed to read copy response", said(done))
    phone.set(cable=True)
    phone.connect()
    half = int(phone.shell(f"stat -c %s {TMP}/big").stdout)
    assert 5_000_000 <= half < 20_000_000
    assert phone.adb("push", str(twenty_mb), f"{TMP}/big").returncode == 0
    assert phone.shell(f"sha256sum {TMP}/big").stdout.split()[0] == sha256(twenty_mb)


def test_a_cable_pulled_during_a_run_ends_the_client_and_not_the_run(phone: Phone) -> None:
    phone.set(charging=True)
    online = "/sys/class/power_supply/usb/online"
    phone.when(online, after_s=0.1, cable=False)
    wait = f"while [[ $(cat {online}) = 1 ]]; do sleep 0.02; done"  # the cable is what charges
    # adb gives status 0 when the link breaks: only the missing word tells.
    done = phone.shell(f"({wait}; echo done > {TMP}/result; cat {TMP}/result; exec sleep 1000) & wait")
    assert done.stdout == ""
    phone.set(cable=True)
    phone.connect()
    assert until(lambda: phone.shell(f"cat {TMP}/result").stdout == "done\n")
    assert running(phone, "sleep 1000")


def test_a_restart_ends_everything_and_keeps_the_disk(phone: Phone) -> None:
    boot = phone.shell("cat /proc/sys/kernel/random/boot_id").stdout
    phone.shell("echo kept > /data/local/tmp/file; sleep 99 </dev/null >/dev/null 2>&1 &")
    phone.restart()
    # adb may notice the break only after it was told to connect
    assert until(lambda: phone.connect() and phone.shell("true").status == 0)
    assert not [command for _, command in phone.processes() if "sleep" in command]
    assert phone.shell("cat /data/local/tmp/file").stdout == "kept\n"
    after = phone.shell("cat /proc/sys/kernel/random/boot_id").stdout
    assert len(after) == len(boot) == 37
    assert after != boot


def test_a_slow_shell_makes_the_client_wait(phone: Phone) -> None:
    phone.set(shell_delay_s=30.0)
    with pytest.raises(subprocess.TimeoutExpired):
        phone.shell("true", timeout=0.5)
    phone.set(shell_delay_s=0.0)
    assert phone.shell("true").status == 0


def test_an_answer_can_be_cut_short(phone: Phone) -> None:
    phone.set(cut_shell_after_bytes=8)
    assert phone.shell("echo '{\"whole\": true}'").stdout == '{"whole"'
    assert phone.shell("echo '{\"whole\": true}'").stdout == '{"whole": true}\n'


# --------------------------------------------------------------------------------- faults of the disk


def test_a_full_disk_refuses_pushes_and_programs(phone: Phone, twenty_mb: Path) -> None:
    phone.set(disk_free_bytes=3_000_000)
    done = phone.adb("push", str(twenty_mb), f"{TMP}/big")
    assert done.returncode == 1
    assert "No space left on device" in said(done)
    assert phone.shell(f"ls {TMP}").stdout == ""
    assert phone.shell(f"head -c 5000000 /dev/zero > {TMP}/zeros").status == 1
    assert int(phone.shell("df -k /data").stdout.split()[-3]) < 3_000_000 // 1024
    phone.set(disk_free_bytes=None)
    assert phone.adb("push", str(twenty_mb), f"{TMP}/big").returncode == 0


def test_a_noexec_folder_refuses_programs_with_126(phone: Phone, program: Path) -> None:
    phone.adb("push", str(program), f"{TMP}/program")
    assert phone.shell(f"{TMP}/program").stdout == "ran\n"
    phone.set(noexec=True)
    done = phone.shell(f"{TMP}/program")
    assert done.status == 126
    assert "Permission denied" in done.stderr
    phone.set(noexec=False)
    assert phone.shell(f"{TMP}/program").stdout == "ran\n"


# ------------------------------------------------------------------------- nodes, heat, charge, settings


def test_nodes_can_be_missing_or_unreadable(phone: Phone) -> None:
    phone.set(missing=["*/charge_counter"], unreadable=["*/current_now"], missing_services=["thermalservice"])
    assert "No such file" in phone.shell(f"cat {BATTERY}/charge_counter").stderr
    assert "Permission denied" in phone.shell(f"cat {BATTERY}/current_now").stderr
    assert phone.shell("dumpsys thermalservice").stderr == "Can't find service: thermalservice\n"
    phone.set(missing=[], unreadable=[], missing_services=[])
    assert phone.shell(f"cat {BATTERY}/charge_counter {BATTERY}/current_now").status == 0
    assert "Thermal Status: 0" in phone.shell("dumpsys thermalservice").stdout


def test_throttling_shows_in_status_skin_and_frequency_caps(phone: Phone) -> None:
    caps = "cat /sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq"
    cool = [int(word) for word in phone.shell(caps).stdout.split()]
    phone.when("echo run", after_s=0.0, thermal_status=3)
    phone.shell("echo run")
    assert until(lambda: "Thermal Status: 3" in phone.shell("dumpsys thermalservice").stdout)
    current = phone.shell("dumpsys thermalservice").stdout.partition("Current temperatures from HAL:")[2]
    assert "Temperature{mValue=45.4, mType=3, mName=VIRTUAL-SKIN, mStatus=3}" in current
    assert [int(word) for word in phone.shell(caps).stdout.split()] == [int(cap * 0.6) for cap in cool]


def test_a_faked_thermal_status_says_so(phone: Phone) -> None:
    phone.shell("cmd thermalservice override-status 2")
    dump = phone.shell("dumpsys thermalservice").stdout
    assert "IsStatusOverride: true" in dump
    assert "Thermal Status: 2" in dump
    phone.shell("cmd thermalservice reset")
    assert "IsStatusOverride: false" in phone.shell("dumpsys thermalservice").stdout


def battery(phone: Phone) -> dict[str, str]:
    lines = phone.shell("dumpsys battery").stdout.splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_charging_turns_the_current_round_and_stops_with_the_cable(phone: Phone) -> None:
    assert (battery(phone)["USB powered"], battery(phone)["status"]) == ("false", "3")
    assert int(phone.shell(f"cat {BATTERY}/current_now").stdout) < 0
    phone.set(charging=True)
    assert (battery(phone)["USB powered"], battery(phone)["status"]) == ("true", "2")
    assert int(phone.shell(f"cat {BATTERY}/current_now").stdout) > 0
    assert phone.shell("cat /sys/class/power_supply/usb/online").stdout == "1\n"
    phone.set(cable=False)
    phone.set(cable=True)
    phone.connect()
    assert phone.shell(f"cat {BATTERY}/status").stdout == "Discharging\n"


def test_suspending_input_really_stops_charging_where_the_phone_supports_it(phone: Phone) -> None:
    phone.set(charging=True)
    phone.shell("dumpsys battery suspend_input")
    assert battery(phone)["USB powered"] == "false"
    assert int(phone.shell(f"cat {BATTERY}/current_now").stdout) < 0
    phone.shell("dumpsys battery reset")
    assert battery(phone)["USB powered"] == "true"
    phone.set(suspend_input_works=False)
    phone.shell("dumpsys battery suspend_input")
    assert battery(phone)["USB powered"] == "true"


def test_a_faked_battery_says_so_and_changes_nothing_real(phone: Phone) -> None:
    phone.set(charging=True)
    phone.shell("dumpsys battery unplug; dumpsys battery set level 5")
    dump = phone.shell("dumpsys battery").stdout
    assert "(UPDATES STOPPED -- use 'reset' to restart)" in dump
    assert (battery(phone)["USB powered"], battery(phone)["level"]) == ("false", "5")
    assert int(phone.shell(f"cat {BATTERY}/current_now").stdout) > 0
    phone.shell("dumpsys battery reset")
    assert "UPDATES STOPPED" not in phone.shell("dumpsys battery").stdout


def test_the_battery_saver_is_a_setting_and_caps_frequencies(phone: Phone) -> None:
    cap = "cat /sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    before = int(phone.shell(cap).stdout)
    assert phone.shell("settings get global low_power").stdout == "0\n"
    phone.set(battery_saver=True)
    assert phone.shell("settings get global low_power").stdout == "1\n"
    assert int(phone.shell(cap).stdout) == int(before * 0.7)
    phone.shell("settings put global low_power 0")
    assert phone.state()["battery_saver"] is False
    assert int(phone.shell(cap).stdout) == before


def test_settings_with_blanks_and_quotes_are_kept(phone: Phone) -> None:
    assert phone.shell("settings get system swap").stdout == "null\n"
    phone.shell("""settings put system swap 'two words; "quoted"'""")
    assert phone.shell("settings get system swap").stdout == 'two words; "quoted"\n'
    assert phone.shell("settings delete system swap").stdout == "Deleted 1 rows\n"


def test_a_vendor_may_forbid_adb_to_change_settings_and_press_keys(phone: Phone) -> None:
    phone.set(settings_denied=True)
    for command in ("settings put system a 1", "settings delete system a", "input keyevent 224"):
        done = phone.shell(command)
        assert done.status == 255
        assert "SecurityException" in done.stderr
    assert phone.shell("settings get system a").stdout == "null\n"


def test_the_screen_goes_off_and_on(phone: Phone) -> None:
    assert "mWakefulness=Awake" in phone.shell("dumpsys power").stdout
    phone.shell("input keyevent KEYCODE_SLEEP")
    assert "mWakefulness=Asleep" in phone.shell("dumpsys power").stdout
    phone.shell("input keyevent 224")
    assert "Display Power: state=ON" in phone.shell("dumpsys power").stdout


def test_the_memory_of_a_process_can_be_asked_for(phone: Phone) -> None:
    assert re.search(r"TOTAL PSS: +[1-9]\d* ", phone.shell("dumpsys meminfo $$").stdout)
    assert phone.shell("dumpsys meminfo 999999").stdout == "No process found for: 999999\n"


def test_a_wrong_switch_is_refused_and_changes_nothing(phone: Phone) -> None:
    with pytest.raises(ValueError, match="did you mean thermal_status"):
        phone.set(noexec=True, thermal_state=1)
    with pytest.raises(ValueError, match="noexec takes bool, not 1"):
        phone.set(noexec=1)
    with pytest.raises(ValueError, match="0 to 6"):
        phone.set(thermal_status=7)
    assert phone.state()["noexec"] is False


# ------------------------------------------------------------------------------------------ energy


# The same work however busy the machine is, a second or two of CPU time; prints the seconds that the shell
# itself says it used.
BUSY = (
    "n=0; while (( n < {rounds} )); do i=0; while (( i < 20000 )); do (( i += 1 )); done; (( n += 1 )); done"
    "; times"
)
NATIVE_ROUNDS, EMULATED_ROUNDS = 60, 8


def own_cpu_s(times: str) -> float:
    """The first line of the shell's `times`: its own user and system time."""
    return sum(
        int(minutes) * 60 + float(seconds)
        for minutes, seconds in re.findall(r"(\d+)m([\d.]+)s", times.splitlines()[0])
    )


def test_the_truth_is_what_a_busy_loop_of_known_cpu_time_costs(phone: Phone) -> None:
    before = phone.truth()
    cpu_s = own_cpu_s(phone.shell(BUSY.format(rounds=NATIVE_ROUNDS)).stdout)
    after = phone.truth()
    assert cpu_s > 0.2
    expected_uj = 800_000 * (after["seconds"] - before["seconds"]) + 1_500_000 * cpu_s
    assert after["energy_uj"] - before["energy_uj"] == pytest.approx(expected_uj, rel=0.02)


def test_charge_times_voltage_is_the_truth(phone: Phone) -> None:
    phone.set(charge_quantum_uah=1)

    def shown() -> tuple[float, int]:
        """Truth and counter of the same step of the gauge."""
        while True:
            first = phone.truth()["shown_energy_uj"]
            counter = int(phone.shell(f"cat {BATTERY}/charge_counter").stdout)
            if phone.truth()["shown_energy_uj"] == first:
                return first, counter

    before_uj, before_uah = shown()
    voltages = phone.shell(
        f"({BUSY.format(rounds=NATIVE_ROUNDS)}) > /dev/null & "
        f"while kill -0 $!; do cat {BATTERY}/voltage_now; sleep 0.1; done"
    )
    after_uj, after_uah = shown()
    uv = [int(word) for word in voltages.stdout.split()]
    energy_uj = (before_uah - after_uah) * 3600 * sum(uv) / len(uv) / 1e6
    assert energy_uj == pytest.approx(after_uj - before_uj, rel=0.02)


def test_the_rails_sum_up_to_the_truth(phone: Phone) -> None:
    phone.set(power_stats_refused=False)

    def meter_mws() -> float:
        dump = phone.shell(f"dumpsys {POWER_STATS}").stdout.partition("energy meter")[2]
        return sum(float(value) for value in re.findall(r"([\d.]+) mWs$", dump, re.MULTILINE))

    truth_uj = [phone.truth()["energy_uj"]]
    before_mws = meter_mws()
    truth_uj.append(phone.truth()["energy_uj"])
    phone.shell(BUSY.format(rounds=NATIVE_ROUNDS))
    truth_uj.append(phone.truth()["energy_uj"])
    after_mws = meter_mws()
    truth_uj.append(phone.truth()["energy_uj"])
    # Each of 8 rails is rounded to float32 twice: 2048 uWs apart at 20 kWs.
    rounding_uj = 8 * 2 * 2048
    between_uj = (after_mws - before_mws) * 1000
    assert truth_uj[2] - truth_uj[1] - rounding_uj <= between_uj <= truth_uj[3] - truth_uj[0] + rounding_uj
    assert rounding_uj < 0.02 * between_uj


def test_a_shell_whose_client_is_gone_hangs_up_and_what_it_started_lives_on(phone: Phone) -> None:
    script = "trap 'echo hung up > /data/local/tmp/told; exit' HUP; sleep 77 & while :; do sleep 0.1; done"
    client = subprocess.Popen(
        [phone.adb_server.program, "-s", phone.serial, "shell", script], env=phone.adb_server.environment
    )
    assert until(lambda: any("sleep 77" in command for _, command in phone.processes()))
    client.kill()
    client.wait()
    assert until(lambda: phone.shell("cat /data/local/tmp/told 2>/dev/null").stdout == "hung up\n")
    assert [command for _, command in phone.processes() if "sleep 77" in command] == ["sleep 77"]


def test_the_phone_is_idle_whatever_the_machine_does(phone: Phone) -> None:
    before = phone.truth()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        sum(range(1000))
    after = phone.truth()
    assert after["cpu_s"] - before["cpu_s"] < 0.02


# ----------------------------------------------------------------------------- dialects, other phones


def test_dialects_differ_in_unit_sign_and_place_of_the_current(start_phone: Callable[..., Phone]) -> None:
    samsung, xiaomi = start_phone(dialect="samsung"), start_phone(dialect="xiaomi")
    assert samsung.seen() == xiaomi.seen() == "device"
    milliampere = int(samsung.shell(f"cat {BATTERY}/current_now").stdout)
    assert -2000 < milliampere < 0
    assert int(xiaomi.shell("cat /sys/class/power_supply/bms/current_now").stdout) > 2000
    assert "No such file" in xiaomi.shell(f"cat {BATTERY}/current_now").stderr
    dump = samsung.shell("dumpsys battery").stdout
    assert "  Charge counter: " in dump
    assert "  charge counter: " in dump
    assert "[EventLogBuffer]" in dump
    assert samsung.shell(f"dumpsys '{POWER_STATS}'").stderr == f"Can't find service: {POWER_STATS}\n"
    assert xiaomi.shell("getprop ro.product.brand; getprop nothing default").stdout == "Xiaomi\ndefault\n"


def test_every_dialect_says_that_it_is_emulated(phone: Phone) -> None:
    assert phone.shell("getprop ro.boot.qemu").stdout == "1\n"
    assert all("(emulated)" in dialect.properties["ro.product.model"] for dialect in DIALECTS.values())


INNER = """
import sys
sys.path.insert(0, "tests")
from phone.lifecycle import adb_server, emulated_phone
with adb_server() as adb, emulated_phone(adb) as phone:
    phone.shell("sleep {seconds} < /dev/null > /dev/null 2>&1 &")
    print(adb.port, len(phone.processes()), flush=True)
    sys.stdin.read()
    raise SystemExit(3)
"""


@pytest.fixture
def other_tests(
    start_phone: Callable[..., Phone], request: pytest.FixtureRequest
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A separate process with a phone, whose folders lie in the path; it fails at end of input."""
    start_phone()  # or skips
    # Short: the name of a socket in it may have 108 bytes.
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", INNER.format(seconds=os.getpid() + 10_000_000)],
            cwd=request.config.rootpath,
            env={**os.environ, "TMPDIR": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        yield process, Path(folder)
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def machine_runs(text: str) -> bool:
    """Whether a process of this machine has the text in its command line (words are parted by NUL)."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text.encode() in (entry / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("killed", [False, True])
def test_a_phone_and_its_adb_server_end_with_the_tests_also_with_failed_and_killed_ones(
    other_tests: tuple[subprocess.Popen[bytes], Path], killed: bool
) -> None:
    process, folder = other_tests
    assert process.stdin is not None
    assert process.stdout is not None
    port, started = (int(word) for word in process.stdout.readline().split())
    sleeper, server = f"sleep\0{os.getpid() + 10_000_000}\0", f"\0{port}\0nodaemon"
    assert started == 1
    assert machine_runs(sleeper)
    assert machine_runs(server)
    if killed:
        process.kill()
    process.stdin.close()
    assert process.wait(ADB_TIMEOUT_S) == (-9 if killed else 3)
    assert until(lambda: not machine_runs(sleeper) and not machine_runs(server))
    assert killed or list(folder.iterdir()) == []


@pytest.mark.slow
def test_an_arm64_phone_runs_arm64_programs(start_phone: Callable[..., Phone], tmp_path: Path) -> None:
    phone = start_phone(arch="arm64")
    assert phone.shell("uname -m; getprop ro.product.cpu.abi").stdout == "aarch64\narm64-v8a\n"
    assert "asimddp" in phone.shell("cat /proc/cpuinfo").stdout
    pushed = tmp_path / "busybox"
    pushed.write_bytes(programs("arm64")["busybox"].read_bytes())
    pushed.chmod(0o755)
    phone.adb("push", str(pushed), f"{TMP}/busybox")
    assert phone.shell(f"{TMP}/busybox echo from arm64; exit 42").stdout == "from arm64\n"
    assert phone.shell("kill -ILL $$").status == 132
    assert phone.shell("cp /system/bin/busybox /sdcard/ls; /sdcard/ls").status == 126
    assert phone.shell(f"head -c 10 {BATTERY}/current_now").stdout.startswith("-")
    before, cpu_s, after = (
        phone.truth(),
        own_cpu_s(phone.shell(BUSY.format(rounds=EMULATED_ROUNDS)).stdout),
        phone.truth(),
    )
    expected_uj = 800_000 * (after["seconds"] - before["seconds"]) + 1_500_000 * cpu_s
    # Starting under qemu costs CPU time before the shell's own clock runs.
    assert after["energy_uj"] - before["energy_uj"] == pytest.approx(expected_uj, rel=0.05)


# ------------------------------------------------------------------------------- without any phone


def view(state: State, dialect_name: str = "pixel", *, level: float = 50.0) -> View:
    dialect = DIALECTS[dialect_name]
    gauge = Gauge(dialect.rails, level, cpu_s=lambda: 0.0, clock_s=lambda: 0.0)
    quantum_uah = state.charge_quantum_uah or dialect.charge_quantum_uah
    reading = gauge.reading(charges=state.charges, charge_quantum_uah=quantum_uah)
    return View(state, dialect, reading, "arm64-v8a")


def test_the_gauge_shows_the_mean_power_of_a_step() -> None:
    clock = {"s": 100.0, "cpu": 7.0}
    gauge = Gauge(PIXEL.rails, 50.0, cpu_s=lambda: clock["cpu"], clock_s=lambda: clock["s"])
    clock["s"] += 0.25
    clock["cpu"] += 0.125  # half a core: 800 mW + 750 mW
    gauge.step(charges=False)
    reading = gauge.reading(charges=False, charge_quantum_uah=1)
    assert reading.voltage_uv == OPEN_CIRCUIT_UV - 1550 * SAG_UV_PER_MW == 4_019_000
    assert reading.current_ua == -385_668  # 1550 mW / 4.019 V
    assert reading.current_ua * reading.voltage_uv / 1e12 == pytest.approx(-1.55, rel=1e-5)
    assert reading.charge_uah == 2_000_000 - 27  # 385668 uA x 0.25 s / 3600, rounded down
    truth = gauge.truth()
    assert truth["energy_uj"] == truth["shown_energy_uj"] == pytest.approx(0.25 * 800_000 + 0.125 * 1_500_000)


def test_a_charger_brings_more_than_the_load_takes() -> None:
    clock = {"s": 0.0}
    gauge = Gauge((), 50.0, cpu_s=lambda: 0.0, clock_s=lambda: clock["s"])
    clock["s"] = 1.0
    gauge.step(charges=True)
    reading = gauge.reading(charges=True, charge_quantum_uah=1000)
    assert reading.current_ua * reading.voltage_uv / 1e9 == pytest.approx(CHARGER_MW - 800, rel=1e-5)
    assert reading.charge_uah == 2_000_000


def test_cpu_time_that_seems_to_shrink_takes_no_energy_back() -> None:
    clock = {"cpu": 5.0}
    gauge = Gauge((), 50.0, cpu_s=lambda: clock["cpu"], clock_s=lambda: 0.0)
    clock["cpu"] = 6.0
    assert gauge.truth()["energy_uj"] == pytest.approx(1_500_000)
    clock["cpu"] = 5.9
    assert gauge.truth()["energy_uj"] == pytest.approx(1_500_000)


def test_idle_rails_and_core_shares_are_the_whole_phone() -> None:
    assert sum(rail.idle_mw for rail in PIXEL.rails) == 800
    assert sum(rail.core_share for rail in PIXEL.rails) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("cpus", "sizes"),
    [
        ([0], [1]),
        ([0, 1], [1, 1]),
        ([0, 1, 2], [1, 1, 1]),
        (range(4), [2, 1, 1]),
        (range(8), [4, 2, 2]),
        (range(64), [4, 2, 2]),
    ],
)
def test_clusters_hold_the_cores_that_there_are(cpus: list[int], sizes: list[int]) -> None:
    spread = clusters(PIXEL, list(cpus))
    assert [len(cores) for _, cores in spread] == sizes
    assert [core for _, cores in spread for core in cores] == list(cpus)[: sum(sizes)]
    assert spread[-1][0].name == "big"


def test_cores_that_may_not_be_used_are_not_listed() -> None:
    files = sysfs(State(), PIXEL, view(State()).reading, [2, 3, 5])
    assert files["/sys/devices/system/cpu/online"] == "2-3,5\n"
    assert files["/sys/devices/system/cpu/cpu5/cpu_capacity"] == "1024\n"
    assert "/sys/devices/system/cpu/cpu0/cpu_capacity" not in files


def test_the_load_is_the_phone_s_own_and_always_as_long() -> None:
    text = stat([0, 1], seconds=10.0, cpu_s=4.0, started_s=1)
    total = text.splitlines()[0].split()
    assert (int(total[1]), int(total[4])) == (400, 1600)
    assert len(stat([0, 1], 1e6, 1e5, 2**31)) == len(text)


def test_units_and_signs_of_the_current_follow_the_dialect() -> None:
    for dialect, expected in ((PIXEL, "-198314"), (SAMSUNG, "-198"), (XIAOMI, "198314")):
        # 800 mW / 4.034 V
        files = sysfs(State(), dialect, view(State(), dialect.name).reading, [0])
        assert files[dialect.current_node] == f"{expected}\n"


def test_a_counter_counts_in_the_steps_of_its_phone_and_its_dump_may_be_in_other_units() -> None:
    # half of 4000 mAh: 179 whole steps of 11115 uAh
    samsung = answer("dumpsys", ["battery"], view(State(), "samsung")).text
    assert samsung.count(f"ounter: {179 * 11_115}\n") == 2
    xiaomi = answer("dumpsys", ["battery"], view(State(), "xiaomi")).text
    assert "  Charge counter: 2000\n" in xiaomi
    for text in (samsung, xiaomi):
        assert "\n Time when the latest updated value of the voltage was sent" in text


def test_the_hal_dump_has_the_published_form() -> None:
    text = answer("dumpsys", [POWER_STATS], view(State(power_stats_refused=False))).text
    assert "\n============= PowerStats HAL 2.0 energy meter ==============\n" in text
    assert "\n         [S2M_VDD_CPUCL2]:CPU(BIG)      20000000.00 mWs\n" in text
    assert text.endswith("========== End of PowerStats HAL 2.0 energy meter ==========\n")


def test_programs_refuse_what_they_do_not_know() -> None:
    state = State()
    for words in (
        ["cmd", "nothing"],
        ["settings", "eat"],
        ["svc", "wifi"],
        ["setprop", "ro.x", "1"],
        ["am", "dance"],
    ):
        told = answer(words[0], words[1:], view(state))
        assert told.stderr
        assert told.status
    assert state == State()


def test_programs_that_were_not_fetched_are_named_with_the_command_that_fetches(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match=r"python tests/phone/fetch\.py"):
        programs("arm64", tmp_path)


def test_a_fetch_that_is_complete_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "arm64/mksh").mkdir(parents=True)
    (tmp_path / "arm64/fetched.json").write_text(
        json.dumps({"mksh": {"file": "mksh.deb", "sha256": "0" * 64}})
    )
    assert fetch("arm64", ("mksh",), tmp_path) == {"mksh": tmp_path / "arm64/mksh"}
    with pytest.raises(FetchFailed, match="apt-get is not on this machine"):
        fetch("arm64", ("mksh", "busybox-static"), tmp_path)


def test_a_fetch_without_sources_says_so_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Programs in the places of apt and dpkg: update fails as it does without a network.
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "apt-get").write_text("#!/bin/sh\necho 'W: Failed to fetch lists' >&2\n")
    (fake / "dpkg-deb").write_text("#!/bin/sh\n")
    for program in fake.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:/bin")
    with pytest.raises(FetchFailed, match=r"no list of arm64 packages.*Is there a network"):
        fetch("arm64", ("mksh",), tmp_path / "cache")
    assert not (tmp_path / "cache/arm64").exists()


def test_a_phone_of_an_unknown_architecture_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no emulated phone of architecture sparc"):
        daemon_argv("pixel", "sparc", 0)


def test_a_machine_that_refuses_user_namespaces_is_told_what_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unshare").write_text(
        "#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n"
    )
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(Unavailable, match=r"refuses user namespaces \(unshare failed.*seccomp=unconfined"):
        daemon_argv("pixel", native_arch(), 0)
