"""World 1: four sites that differ in cameras, lights, printers and displays. The bundled networks know it."""

from __future__ import annotations

from swapbench.simulate.camera import Camera
from swapbench.simulate.domains import Crowd, Domain, Light, World
from swapbench.simulate.instruments import Display, Printer

_DOMAINS = (
    Domain.mixed(
        "A",
        (
            Camera("A-phone", 0.42, 0.014, 0.004, 0.05, 1.10, 1.05, 0.45),
            Camera("A-tablet", 0.55, 0.020, 0.006, 0.10, 1.00, 1.00, 0.25),
        ),
        (
            Light("A-office", (-50, 50), (20, 55), (0.50, 0.80), (4000, 6000)),
            Light("A-window", (-75, 75), (0, 25), (0.25, 0.55), (5500, 8000)),
        ),
        (
            Printer("A-laser", 1.75, False, 0.22, 0.85, 0.75),
            Printer("A-inkjet", 1.0, True, 0.20, 0.90, 0.55, paper=(0.84, 0.84, 0.86), gloss=0.10),
            Printer("A-press", 2.25, False, 0.30, 0.80, 0.85, paper=(0.80, 0.78, 0.72)),
        ),
        (
            Display("A-monitor", 1.95, 0.42),
            Display("A-phone-lcd", 1.60, 0.55, 2.15, (0.92, 1.0, 1.12), 0.015, 0.04, 0.20, 0.03),
            Display("A-laptop", 2.20, 0.40, 2.3, (0.97, 1.0, 1.0), 0.035, 0.12, 0.10, 0.06),
        ),
    ),
    Domain.mixed(
        "B",
        (
            Camera("B-webcam", 0.62, 0.024, 0.008, 0.12, 0.95, 0.95, 0.60),
            Camera("B-phone", 0.45, 0.016, 0.005, 0.06, 1.15, 1.05, 0.35),
        ),
        (
            Light("B-lamp", (-60, 60), (10, 45), (0.30, 0.60), (2900, 4200)),
            Light("B-ceiling", (-30, 30), (40, 70), (0.45, 0.75), (3800, 5200)),
        ),
        (
            Printer("B-laser", 2.0, False, 0.26, 0.80, 0.80, paper=(0.83, 0.83, 0.83)),
            Printer("B-copier", 2.5, False, 0.32, 0.90, 0.90, paper=(0.82, 0.82, 0.80)),
            Printer("B-photo", 0.9, True, 0.22, 0.92, 0.5, gloss=0.14, paper=(0.88, 0.88, 0.88)),
        ),
        (
            Display("B-tablet", 1.85, 0.50, 2.2, (0.95, 1.0, 1.05), 0.02, 0.05, 0.22, 0.03),
            Display("B-television", 2.40, 0.40, 2.4, (0.90, 1.0, 1.15), 0.03, 0.10, 0.12, 0.08),
            Display("B-phone-oled", 1.70, 0.50, 2.2, (0.96, 1.0, 1.06), 0.004, 0.0, 0.22, 0.07),
        ),
    ),
    Domain.mixed(
        "C",
        (
            Camera("C-phone", 0.40, 0.012, 0.003, 0.04, 1.20, 1.10, 0.50),
            Camera("C-compact", 0.50, 0.012, 0.004, 0.06, 1.05, 1.00, 0.30),
        ),
        (
            Light("C-daylight", (-80, 80), (10, 60), (0.45, 0.75), (5200, 7500)),
            Light("C-shade", (-40, 40), (20, 60), (0.65, 0.9), (6500, 9000)),
        ),
        (
            Printer("C-offset", 1.5, False, 0.20, 0.85, 0.70, gloss=0.08),
            Printer("C-inkjet", 1.1, True, 0.24, 0.85, 0.60, paper=(0.85, 0.85, 0.82)),
            Printer("C-laser", 1.9, False, 0.24, 0.82, 0.8),
        ),
        (
            Display("C-phone-lcd", 1.55, 0.55, 2.2, (0.93, 1.0, 1.10), 0.02, 0.05, 0.22, 0.03),
            Display("C-monitor", 2.05, 0.42, 2.2, (1.0, 1.0, 0.98), 0.03, 0.08, 0.08, 0.05),
            Display("C-tablet", 1.90, 0.48, 2.25, (0.95, 1.0, 1.04), 0.02, 0.04, 0.2, 0.04),
        ),
    ),
    Domain.mixed(
        "D",
        (
            Camera("D-kiosk", 0.58, 0.018, 0.006, 0.10, 1.00, 0.95, 0.70),
            Camera("D-phone", 0.46, 0.020, 0.006, 0.08, 1.08, 1.00, 0.40),
        ),
        (
            Light("D-hall", (-70, 70), (25, 65), (0.35, 0.65), (3500, 5500)),
            Light("D-night", (-60, 60), (-5, 30), (0.20, 0.50), (3000, 6500)),
        ),
        (
            Printer("D-copier", 2.1, False, 0.28, 0.85, 0.85, paper=(0.80, 0.80, 0.79)),
            Printer("D-photo", 0.95, True, 0.20, 0.90, 0.5, gloss=0.14),
            Printer("D-poster", 2.75, False, 0.34, 0.82, 0.8, paper=(0.84, 0.83, 0.80)),
        ),
        (
            Display("D-laptop", 2.15, 0.42, 2.2, (0.97, 1.0, 1.02), 0.035, 0.12, 0.12, 0.06),
            Display("D-phone-oled", 1.75, 0.50, 2.2, (0.97, 1.0, 1.05), 0.004, 0.0, 0.22, 0.07),
            Display("D-television", 2.50, 0.38, 2.4, (0.90, 1.0, 1.14), 0.03, 0.1, 0.12, 0.09),
        ),
    ),
)

WORLD_1 = World(1, _DOMAINS, (Crowd(960, (4, 2, 2)), Crowd(60, (2, 1, 1)), Crowd(100, (2, 2, 2))))
