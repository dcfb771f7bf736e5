"""Options of runtimes that a person turns on or off."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swapbench.errors import UserError
from swapbench.runtimes.contract import PythonWorker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.commands.place import Place


def runtime_switches(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Options of runtimes as they were typed, "ncnn.winograd=off": name of a runtime -> option -> state.

    Raises:
        UserError: One is of another form, or is given twice.
    """
    found: dict[str, dict[str, str]] = {}
    for text in (one for given in texts for one in given.split(",")):
        names, _, state = text.strip().partition("=")
        runtime, _, option = names.partition(".")
        if not runtime or not option or state not in {"on", "off"}:
            raise UserError(f"--switch {text!r} is no switch", remedy="Write: --switch ncnn.winograd=off")
        if option in found.setdefault(runtime, {}):
            raise UserError(f"--switch gives {names} twice", remedy="Leave one of them out")
        found[runtime][option] = state
    return found


def switched(place: Place, switches: Mapping[str, Mapping[str, str]]) -> Place:
    """The place with options of runtimes turned on or off, as `runtime_switches` has them.

    Raises:
        UserError: A runtime is not there or has no such option, or they were named for a phone.
    """
    if not switches:
        return place
    if place.device.name != "local":
        raise UserError("--switch is for this computer", remedy="Leave it out, or --device")
    there = {runtime.name: runtime for runtime in place.runtimes}
    for name, states in switches.items():
        runtime = there.get(name)
        if runtime is None:
            raise UserError(
                f"--switch names {name}, which does not run here", remedy=f"Add it: --runtime {name}"
            )
        known = runtime.switchable if isinstance(runtime, PythonWorker) else ()
        for option in states:
            if option not in known:
                choose = f"Choose {', '.join(known)}" if known else "Leave --switch out"
                raise UserError(f"{name} has no switch {option!r}", remedy=choose)
        assert isinstance(runtime, PythonWorker)
        there[name] = replace(runtime, switches=states)
    return replace(place, runtimes=tuple(there.values()))
