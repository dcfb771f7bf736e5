"""The bench: the passes that measure, and the doubts about what they measured.

It talks to devices, runtimes and meters only through `swapbench.ports`.
"""

from swapbench.bench.card_check import CardCheck, CheckImages, check_card, chosen_rows
from swapbench.bench.card_checks import CardChecks
from swapbench.bench.desktop_agreement import Desktop, device_parity
from swapbench.bench.doubt import doubts, slower_than_float
from swapbench.bench.energy import measure_power
from swapbench.bench.memory import measure_memory
from swapbench.bench.noise import ROUNDS as NOISE_ROUNDS
from swapbench.bench.noise import Noise, measure_noise
from swapbench.bench.operator_profiles import measure_operators, operator_profile
from swapbench.bench.outputs import measure_scores
from swapbench.bench.paced import at_frame_rate, measure_paced
from swapbench.bench.pairs import (
    BASELINE,
    CANDIDATE,
    PAIRED_PLAN,
    PairedTimes,
    Round,
    Statistic,
    log_ratios,
    measure_rounds,
    statistic_ns,
)
from swapbench.bench.speed import RoundDone, Timed, ToolUnderTest, measure_speed, measure_tool_speed
from swapbench.bench.steadiness import phone_doubts
from swapbench.bench.sustained import measure_sustained
from swapbench.bench.unplugged import Unplugged, UnpluggedEnergy
from swapbench.bench.workers import FileUnderTest, normalise_json

__all__ = [
    "BASELINE",
    "CANDIDATE",
    "NOISE_ROUNDS",
    "PAIRED_PLAN",
    "CardCheck",
    "CardChecks",
    "CheckImages",
    "Desktop",
    "FileUnderTest",
    "Noise",
    "PairedTimes",
    "Round",
    "RoundDone",
    "Statistic",
    "Timed",
    "ToolUnderTest",
    "Unplugged",
    "UnpluggedEnergy",
    "at_frame_rate",
    "check_card",
    "chosen_rows",
    "device_parity",
    "doubts",
    "log_ratios",
    "measure_memory",
    "measure_noise",
    "measure_operators",
    "measure_paced",
    "measure_power",
    "measure_rounds",
    "measure_scores",
    "measure_speed",
    "measure_sustained",
    "measure_tool_speed",
    "normalise_json",
    "operator_profile",
    "phone_doubts",
    "slower_than_float",
    "statistic_ns",
]
