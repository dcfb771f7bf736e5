"""World 2: four sites that differ as published data sets do, with attacks that carry the cues of real ones.

Every site has its own cameras (tone, white balance, sharpening, resolution, compression), distances and
lights, and under each light only some cameras, printers and displays were at hand: what attacks look like
goes with where they were recorded, as it does between OULU-NPU, CASIA-FASD, Replay-Attack and MSU-MFSD, which
these sites are modelled after in kind, not in number. Attacks of a site are of its own kind, so that what
gives them away at three sites need not do so at the fourth:

    A   dots of coarse screens in prints; strong grids and lifted blacks on dull panels
    B   inking that is uneven, from drivers in their photo mode; vivid phones that reflect a room
    C   pale prints that shine; vivid displays whose colours drift over the screen
    D   folded, banded and vivid prints; dull displays with bands of refreshing

Which facts set its difficulty, and how it is accepted: docs/simulation.md.
"""

from __future__ import annotations

from swapbench.simulate.camera import Camera, Shots
from swapbench.simulate.domains import Crowd, Domain, Light, Session, World
from swapbench.simulate.held import Holds
from swapbench.simulate.instruments import Display, Printer, Sheets, Showings
from swapbench.simulate.recapture import Framings
from swapbench.simulate.reflections import Reflections

# Phones of a laboratory: well exposed, sharp, hardly compressed.
_A_SHOTS = Shots(
    noise_sigma=0.6,
    exposure=(0.19, 0.22),
    tint=(0.03, -0.03),
    tint_sigma=0.10,
    saturation_sigma=0.20,
    focus_px=0.40,
    flare=0.30,
    quality=(78, 97),
)
_A_FRONT = Camera("A-front", 0.45, 0.013, 0.004, 0.05, 1.10, 1.0, 0.35, curve=0.10, shots=_A_SHOTS)
_A_OLDER = Camera(
    "A-older", 0.52, 0.018, 0.006, 0.09, 1.00, 1.0, 0.55, curve=0.0, denoising=0.4, shots=_A_SHOTS
)
_A_LASER = Printer("A-laser", 3.2, False, 0.30, 0.80, 0.80, mottle=0.015, streaks=0.0)
_A_INKJET = Printer(
    "A-inkjet", 2.6, False, 0.30, 0.92, 0.55, paper=(0.84, 0.84, 0.88), gloss=0.05, mottle=0.02
)
_A_PRESS = Printer("A-press", 3.8, False, 0.34, 0.80, 0.85, paper=(0.80, 0.78, 0.72), mottle=0.012)
_A_MONITOR = Display("A-monitor", 1.96, 0.55, 2.3, (0.92, 1.0, 1.14), 0.06, 0.12, 0.06, 0.0, 0.85, 0.02)
_A_LAPTOP = Display("A-laptop", 2.10, 0.50, 2.4, (0.95, 1.0, 1.08), 0.08, 0.16, 0.06, 0.0, 0.85, 0.03)
_A_TABLET = Display("A-tablet", 2.04, 0.55, 2.2, (0.94, 1.0, 1.10), 0.06, 0.12, 0.08, 0.0, 0.85, 0.02)

# Webcams of a desk: small pictures, enlarged, flat, strongly compressed, faces further away.
_B_SHOTS = Shots(
    noise_sigma=0.6,
    exposure=(0.17, 0.30),
    tint=(0.10, -0.10),
    focus_px=0.45,
    shaken=0.1,
    flare=0.45,
    quality=(45, 80),
)
_B_WEBCAM = Camera(
    "B-webcam", 0.60, 0.026, 0.009, 0.14, 0.95, 0.95, 0.9, curve=-0.15, resolution=0.72, shots=_B_SHOTS
)
_B_LAPTOP = Camera(
    "B-laptop", 0.55, 0.022, 0.008, 0.12, 0.92, 0.95, 0.5, denoising=0.7, resolution=0.82, shots=_B_SHOTS
)
_B_COPIER = Printer(
    "B-copier", 4.2, False, 0.36, 0.92, 0.92, paper=(0.82, 0.82, 0.80), mottle=0.13, streaks=0.14, vivid=0.7
)
_B_LASER = Printer(
    "B-laser", 3.6, False, 0.30, 0.80, 0.80, paper=(0.83, 0.83, 0.83), mottle=0.11, streaks=0.12, vivid=0.7
)
_B_PHOTO = Printer(
    "B-photo", 2.8, False, 0.28, 0.95, 0.5, gloss=0.20, paper=(0.88, 0.88, 0.90), mottle=0.09, vivid=0.8
)
_B_PHONE = Display("B-phone", 1.90, 0.50, 2.8, (0.96, 1.0, 1.06), 0.02, -0.45, 0.26, 0.10, 0.9, 0.14)
_B_TABLET = Display("B-tablet", 2.15, 0.50, 2.8, (0.92, 1.0, 1.12), 0.02, -0.40, 0.26, 0.08, 0.9, 0.168)
_B_OLED = Display("B-phone-oled", 2.05, 0.55, 2.9, (0.96, 1.0, 1.08), 0.01, -0.55, 0.26, 0.14, 0.9, 0.168)

# Hand-held compact cameras, near the face, with vivid colours and hard sharpening.
_C_SHOTS = Shots(noise_sigma=0.6, exposure=(0.21, 0.26), tint=(-0.06, 0.08), focus_px=0.5, quality=(55, 93))
_C_COMPACT = Camera("C-compact", 0.45, 0.012, 0.003, 0.04, 1.28, 1.10, 0.95, curve=0.35, shots=_C_SHOTS)
_C_PHONE = Camera(
    "C-phone",
    0.50,
    0.016,
    0.005,
    0.06,
    1.18,
    1.05,
    0.7,
    curve=0.22,
    denoising=0.5,
    resolution=0.9,
    shots=_C_SHOTS,
)
_C_OFFSET = Printer("C-offset", 2.8, False, 0.26, 0.85, 0.70, gloss=0.12, key=(0.17, 0.17, 0.18), mottle=0.06)
_C_INKJET = Printer(
    "C-inkjet",
    3.2,
    False,
    0.30,
    0.85,
    0.60,
    paper=(0.85, 0.85, 0.80),
    key=(0.16, 0.16, 0.17),
    mottle=0.03,
    streaks=0.0,
)
_C_LASER = Printer("C-laser", 3.5, False, 0.30, 0.82, 0.8, key=(0.18, 0.17, 0.17), mottle=0.06)
_C_TABLET = Display("C-tablet", 2.08, 0.60, 2.3, (0.94, 1.0, 1.10), 0.03, -0.15, 0.10, 0.0, 0.8, 0.38)
_C_MONITOR = Display("C-monitor", 1.92, 0.55, 2.3, (1.0, 1.0, 0.96), 0.03, -0.10, 0.06, 0.0, 0.8, 0.44)
_C_PHONE_LCD = Display("C-phone-lcd", 2.00, 0.60, 2.2, (0.93, 1.0, 1.12), 0.03, -0.15, 0.10, 0.0, 0.8, 0.38)

# Kiosk and doorway cameras in the evening: warm, noisy, smoothed.
_D_SHOTS = Shots(
    noise_sigma=0.6,
    exposure=(0.15, 0.28),
    tint=(0.14, -0.18),
    focus_px=0.45,
    flare=0.36,
    adaptation=(0.4, 0.8),
    quality=(58, 92),
)
_D_KIOSK = Camera(
    "D-kiosk", 0.55, 0.026, 0.009, 0.10, 1.02, 0.92, 0.7, curve=-0.05, denoising=0.8, shots=_D_SHOTS
)
_D_DOOR = Camera(
    "D-door", 0.60, 0.030, 0.010, 0.12, 0.88, 0.95, 0.4, curve=0.12, resolution=0.8, shots=_D_SHOTS
)
_D_COPIER = Printer(
    "D-copier", 3.8, False, 0.34, 0.85, 0.88, paper=(0.80, 0.80, 0.79), mottle=0.03, streaks=0.20, vivid=0.7
)
_D_PHOTO = Printer("D-photo", 2.6, False, 0.26, 0.92, 0.5, gloss=0.45, mottle=0.02, streaks=0.16, vivid=0.8)
_D_POSTER = Printer(
    "D-poster",
    4.4,
    False,
    0.38,
    0.82,
    0.8,
    gloss=0.2,
    paper=(0.84, 0.83, 0.80),
    mottle=0.02,
    streaks=0.18,
    vivid=0.7,
)
_D_LAPTOP = Display("D-laptop", 2.12, 0.50, 2.3, (0.97, 1.0, 1.04), 0.08, 0.14, 0.30, 0.60, 0.8, 0.06)
_D_OLED = Display("D-phone-oled", 1.94, 0.60, 2.4, (0.97, 1.0, 1.06), 0.06, -0.05, 0.34, 0.70, 0.8, 0.05)
_D_TELEVISION = Display("D-television", 2.3, 0.50, 2.5, (0.90, 1.0, 1.16), 0.08, 0.14, 0.30, 0.65, 0.8, 0.06)

_A = Domain(
    "A",
    (
        Session(
            Light("A-office", (-50, 50), (20, 55), (0.50, 0.80), (4000, 6000)),
            (_A_FRONT, _A_OLDER),
            (_A_LASER, _A_INKJET, _A_PRESS),
            (_A_MONITOR, _A_LAPTOP, _A_TABLET),
        ),
        Session(
            Light("A-window", (-75, 75), (0, 25), (0.25, 0.55), (5500, 8000)),
            (_A_FRONT,),
            (_A_INKJET, _A_PRESS),
            (_A_MONITOR, _A_TABLET),
        ),
    ),
    Framings((97, 124)),
    Sheets(
        careful=0.0,
        bend=0.06,
        shade=0.45,
        fidelity=(0.0, 0.35),
        creased=0.0,
        reflections=Reflections(0.05, (0.03, 0.1)),
        holds=Holds(0.25),
    ),
    Showings(
        careful=0.0,
        grid=(1.6, 2.6),
        paned=0.0,
        veil=0.06,
        zoom=(0.93, 1.07),
        turn_deg=2.5,
        lens=0.10,
        reflections=Reflections(0.1, (0.03, 0.1)),
        holds=Holds(0.2),
    ),
)
_B = Domain(
    "B",
    (
        Session(
            Light("B-lamp", (-60, 60), (10, 45), (0.30, 0.60), (2900, 4200)),
            (_B_WEBCAM,),
            (_B_COPIER, _B_PHOTO),
            (_B_PHONE, _B_OLED),
        ),
        Session(
            Light("B-ceiling", (-30, 30), (40, 70), (0.45, 0.75), (3800, 5200)),
            (_B_WEBCAM, _B_LAPTOP),
            (_B_LASER, _B_COPIER, _B_PHOTO),
            (_B_TABLET, _B_PHONE, _B_OLED),
        ),
    ),
    Framings((80, 108)),
    Sheets(
        careful=0.0,
        bend=0.08,
        shade=0.45,
        fidelity=(0.5, 0.85),
        creased=0.4,
        reflections=Reflections(0.25, (0.03, 0.15)),
        holds=Holds(0.4),
    ),
    Showings(
        careful=0.0,
        grid=(0.0, 0.3),
        paned=0.0,
        veil=0.14,
        zoom=(0.93, 1.07),
        turn_deg=2.0,
        lens=0.08,
        reflections=Reflections(1.0, (0.2, 0.7)),
        holds=Holds(0.5, corner=0.03),
    ),
)
_C = Domain(
    "C",
    (
        Session(
            Light("C-daylight", (-80, 80), (10, 60), (0.45, 0.75), (5200, 7500)),
            (_C_COMPACT,),
            (_C_OFFSET, _C_INKJET, _C_LASER),
            (_C_TABLET, _C_PHONE_LCD),
        ),
        Session(
            Light("C-shade", (-40, 40), (20, 60), (0.65, 0.9), (6500, 9000)),
            (_C_PHONE,),
            (_C_INKJET, _C_LASER),
            (_C_TABLET, _C_MONITOR, _C_PHONE_LCD),
        ),
    ),
    Framings((110, 140)),
    Sheets(
        careful=0.0,
        bend=0.14,
        shade=0.5,
        fidelity=(0.55, 0.9),
        creased=0.25,
        reflections=Reflections(0.7, (0.05, 0.3)),
        holds=Holds(0.2),
    ),
    Showings(
        careful=0.0,
        grid=(0.3, 0.7),
        paned=0.0,
        veil=0.05,
        zoom=(0.93, 1.07),
        turn_deg=4.0,
        lens=0.14,
        reflections=Reflections(0.1, (0.05, 0.2)),
        holds=Holds(0.2),
    ),
)
_D = Domain(
    "D",
    (
        Session(
            Light("D-hall", (-70, 70), (25, 65), (0.35, 0.65), (3500, 5500)),
            (_D_KIOSK,),
            (_D_COPIER, _D_PHOTO, _D_POSTER),
            (_D_LAPTOP, _D_OLED, _D_TELEVISION),
        ),
        Session(
            Light("D-night", (-60, 60), (-5, 30), (0.20, 0.50), (3000, 6500)),
            (_D_DOOR,),
            (_D_PHOTO, _D_POSTER),
            (_D_OLED, _D_TELEVISION),
        ),
    ),
    Framings((90, 120)),
    Sheets(
        careful=0.0,
        bend=0.06,
        shade=0.7,
        fidelity=(0.7, 0.95),
        creased=0.85,
        reflections=Reflections(0.6, (0.06, 0.3)),
        holds=Holds(0.3),
    ),
    Showings(
        careful=0.0,
        grid=(0.9, 1.4),
        paned=0.0,
        veil=0.05,
        zoom=(0.93, 1.07),
        turn_deg=2.5,
        lens=0.10,
        reflections=Reflections(0.2, (0.05, 0.3)),
        holds=Holds(0.35, corner=0.02),
    ),
)

WORLD_2 = World(
    number=2,
    domains=(_A, _B, _C, _D),
    crowds=(Crowd(960, (4, 2, 2)), Crowd(300, (2, 1, 1)), Crowd(1000, (2, 2, 2))),
    revision=5,
)
