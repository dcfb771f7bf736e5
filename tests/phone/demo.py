"""The main job on an emulated x86-64 phone: one bundled network in two formats, on a small simulated set.

For `make phone`. What needs no phone comes first: simulating, exporting. Then the phone starts, and its run
is timed.
"""

# ruff: noqa: T201 - this module is a command line
from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

from phone.lifecycle import Unavailable, adb_server, emulated_phone  # noqa: E402
from swapbench import cli  # noqa: E402
from swapbench.simulate.dataset import Recipe, simulate  # noqa: E402

FILES = ("--models", "minifasnet_v2", "--precision", "fp32")
# Three seconds of each energy window instead of ten, so that the whole run stays below a minute.
RUN = ("run", *FILES, "--device", "emulated-x86", "--window", "3", "--name", "phone", "--replace")
DOUBTFUL = 3  # every record of an emulated phone is: it says so


def main() -> int:
    """The exit status of the run, 0 also where its records have doubts; 4 where there can be no phone."""
    data = simulate(Path("build/phone"), Recipe(dev_identities=8, test_identities=16), ("dev", "test"))
    if status := cli.main(["export", "minifasnet_v2", "--precision", "fp32", "--data", str(data)]):
        return status
    try:
        with adb_server() as adb, emulated_phone(adb) as phone:
            os.environ |= {"ANDROID_ADB_SERVER_PORT": str(adb.port), "ANDROID_SERIAL": phone.serial}
            began_s = time.monotonic()
            status = cli.main([*RUN, "--data", str(data)])
            print(f"The run took {time.monotonic() - began_s:.0f} s.")
    except Unavailable as error:
        print(f"error: no emulated phone: {error}", file=sys.stderr)
        return 4
    return 0 if status == DOUBTFUL else status


if __name__ == "__main__":
    sys.exit(main())
