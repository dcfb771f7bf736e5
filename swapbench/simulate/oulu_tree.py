"""The simulated data written as a tree that is named, listed and annotated like OULU-NPU.

Knows that layout: `{Train,Dev,Test}_files/P_S_UU_F.avi` with phone P, session S, person UU and file F, an eye
file beside each video, and 42 lists below `Protocols/`. Faces, instruments and cameras come from the modules
that know them. So the code that reads the real data can be run from end to end without a licence for it.

Six simulated phones, three sessions with a light and a backdrop of their own, two printers and two displays.
What differs from the real thing: an attack copies a still photograph, even where a video is replayed; a video
is a few small square frames a second apart, still but for the trembling of a hand; there are fewer people.

Layout and protocols: Boulkenafet et al., OULU-NPU: a mobile face presentation attack database with real-world
variations (FG 2017). Simulated data; not PAD performance.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from swapbench.data.dataset import SPLITS
from swapbench.data.layouts import oulu
from swapbench.errors import BadDataset, EnvironmentFailed, UserError
from swapbench.files import disk_failure, only_one, scratch_folder, write_atomically
from swapbench.simulate import simulator
from swapbench.simulate.camera import SUPERSAMPLING, Camera, Pixels
from swapbench.simulate.domains import ORDINARY_FRAMINGS, ORDINARY_SHEETS, ORDINARY_SHOWINGS, Light
from swapbench.simulate.faces import Identity, Scene, eye_positions, face_box
from swapbench.simulate.instruments import Display, Printer
from swapbench.simulate.presentation import (
    Photograph,
    Presentation,
    Print,
    Replay,
    Subject,
    draw_identity,
    stream,
    studio_shot,
)
from swapbench.simulate.simulator import (
    DESCRIPTION,
    LOCK,
    Simulation,
    Stage,
    draw_contact_sheet,
    process_count,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL.Image import Image as Picture

    from swapbench.simulate.face_canvas import Image
    from swapbench.simulate.faces import Point
    from swapbench.simulate.recapture import Framing

VERSION = 1
"""Of this layout's own choices; raised whenever they change the bytes. The rest has `simulator.VERSION`."""

BONA_FIDE, PRINTS, REPLAYS = 1, (2, 3), (4, 5)
"""Last number of a file's name: a living face, a print from each printer, a replay on each display."""

FILES = (BONA_FIDE, *PRINTS, *REPLAYS)
KINDS = ("bona fide", "print 1", "print 2", "replay 1", "replay 2")

PHONES = (
    Camera("phone-1", 0.40, 0.012, 0.003, 0.04, 1.15, 1.08, 0.50),
    Camera("phone-2", 0.46, 0.016, 0.005, 0.06, 1.10, 1.05, 0.35),
    Camera("phone-3", 0.52, 0.020, 0.006, 0.08, 1.05, 1.00, 0.60),
    Camera("phone-4", 0.44, 0.014, 0.004, 0.10, 1.20, 1.02, 0.25),
    Camera("phone-5", 0.58, 0.022, 0.007, 0.10, 1.00, 0.96, 0.65),
    Camera("phone-6", 0.49, 0.018, 0.004, 0.05, 0.96, 1.10, 0.40),
)

SESSIONS = (
    (Light("office", (-45, 45), (30, 65), (0.50, 0.75), (3800, 5200)), 39),
    (Light("window", (-75, 75), (0, 30), (0.30, 0.60), (5500, 8000)), 6),
    (Light("lamp", (-60, 60), (10, 50), (0.30, 0.60), (2900, 4300)), 24),
)
"""Light of each session, and the number of the backdrop: shelves, a window, a curtain."""

PRINTERS = (
    Printer("printer-1", 1.85, False, 0.24, 0.84, 0.78, paper=(0.84, 0.84, 0.82)),
    Printer("printer-2", 1.0, True, 0.22, 0.90, 0.55, paper=(0.86, 0.86, 0.86), gloss=0.12),
)
DISPLAYS = (
    Display("display-1", 2.05, 0.42, 2.2, (0.97, 1.0, 1.02), 0.03, 0.09, 0.10, 0.05),
    Display("display-2", 1.65, 0.52, 2.2, (0.94, 1.0, 1.08), 0.01, 0.03, 0.20, 0.05),
)


@dataclass(frozen=True)
class OuluRecipe(Simulation):
    """What to make: the first people of each split, on all phones, in all sessions, with all five files.

    Attributes:
        frames: of each video.
        train_users: number of people in the split.
        dev_users: the same.
        test_users: the same.
    """

    frames: int = 3
    train_users: int = 4
    dev_users: int = 3
    test_users: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises:
            UserError: a size, a count or the seed is out of range.
        """
        super().__post_init__()
        self.check_at_least("frames", 1)
        for split, numbers in oulu.USERS.items():
            if not 1 <= self.count(split) <= len(numbers):
                raise UserError(f"{split}_users is {self.count(split)}", remedy=f"Use 1 to {len(numbers)}.")

    def count(self, split: str) -> int:
        """Number of people in a split."""
        return {"train": self.train_users, "dev": self.dev_users, "test": self.test_users}[split]

    def users(self, split: str) -> range:
        """Numbers of the people in a split: the first ones that OULU-NPU has there."""
        return oulu.USERS[split][: self.count(split)]

    @property
    def name(self) -> str:
        """Name of the data set: the same for the same recipe made by the same versions, and only then."""
        return f"simulated-oulu-{self.digest_with([simulator.VERSION, VERSION])}"


@dataclass(frozen=True, order=True)
class Video:
    """The four numbers that name a video."""

    phone: int
    session: int
    user: int
    file: int

    @property
    def name(self) -> str:
        """Name in the lists, and of the file without its ending."""
        return f"{self.phone}_{self.session}_{self.user:02d}_{self.file}"

    @property
    def split(self) -> str:
        """Split that the person belongs to."""
        return next(split for split, users in oulu.USERS.items() if self.user in users)

    @property
    def path(self) -> str:
        """File of the video, relative to the root of the tree."""
        return f"{self.split.capitalize()}_files/{self.name}.avi"

    @property
    def eyes_path(self) -> str:
        """File of the eye positions, relative to the root of the tree."""
        return f"{self.split.capitalize()}_files/{self.name}.txt"


def videos(recipe: OuluRecipe, split: str) -> tuple[Video, ...]:
    """All videos of a split, in the order of their names."""
    return tuple(
        Video(phone, session, user, file)
        for phone in range(1, len(PHONES) + 1)
        for session in range(1, len(SESSIONS) + 1)
        for user in recipe.users(split)
        for file in FILES
    )


def protocol_lists(recipe: OuluRecipe) -> dict[str, str]:
    """Path below the root -> content of the 42 lists of the four protocols.

    A line is a sign and a name: +1 for bona fide, -1 for an attack; in the test lists -1 for a print and -2
    for a replay. The reader of the real data decides which list a video belongs to.
    """
    lists = {}
    for protocol in (1, 2, 3, 4):
        for phone in oulu.PHONES if protocol in {3, 4} else (None,):
            for split in SPLITS:
                path = oulu.list_path(Path(), protocol, phone, split).as_posix()
                lists[path] = "".join(
                    f"{_sign(video, split)},{video.name}\n"
                    for video in videos(recipe, split)
                    if oulu.belongs(video.name, protocol, phone, split)
                )
    return lists


def _sign(video: Video, split: str) -> str:
    if video.file == BONA_FIDE:
        return "+1"
    return "-2" if split == "test" and video.file in REPLAYS else "-1"


def person(recipe: OuluRecipe, user: int) -> Identity:
    """The person with this number: the same however many are made, and nobody of the manifests' data set."""
    # 4,000,000 lies above every number that the three splits of one seed use there, and below those of the
    # next.
    return draw_identity(recipe.seed, 4_000_000 + user)


def _rng(recipe: OuluRecipe, *words: int) -> np.random.Generator:
    # The second word is a split in the manifests' data set; a number that is none keeps the streams apart.
    return stream(recipe.seed, 100, *words)


def _scene(rng: np.random.Generator, session: int) -> Scene:
    light, backdrop = SESSIONS[session - 1]
    return replace(light.scene(rng), backdrop=backdrop)


class _Visit:
    """One person in one session: the photographs taken then are what all attacks of that session copy."""

    def __init__(self, recipe: OuluRecipe, user: int, session: int) -> None:
        self.recipe = recipe
        self.subject = Subject(person(recipe, user), recipe.source_px)
        self._copied = [self._photograph(user, session, number) for number in (0, 1)]

    def _photograph(self, user: int, session: int, number: int) -> tuple[Scene, Photograph]:
        """What is printed (0) or replayed (1), and the scene that it shows."""
        rng = _rng(self.recipe, user, session, 0, 1 + number)
        scene = _scene(rng, session)
        return scene, Photograph(number, studio_shot(rng), rng)

    def _presentation(self, video: Video, rng: np.random.Generator) -> Presentation:
        phone = PHONES[video.phone - 1]
        shot = phone.shots.draw(rng, self.recipe.frame_px)
        sheet, showing = ORDINARY_SHEETS.draw(rng), ORDINARY_SHOWINGS.draw(rng)
        scene = _scene(rng, video.session)
        attack: Print | Replay | None = None
        if video.file in PRINTS:
            scene, photograph = self._copied[0]
            attack = Print(photograph, PRINTERS[PRINTS.index(video.file)], sheet)
        elif video.file in REPLAYS:
            scene, photograph = self._copied[1]
            attack = Replay(photograph, DISPLAYS[REPLAYS.index(video.file)], showing)
        source_px = self.recipe.source_px
        framing = ORDINARY_FRAMINGS.draw(rng, face_box(scene, source_px), source_px, self.recipe.frame_px)
        return Presentation(phone, shot, scene, framing, attack)

    def film(self, video: Video) -> tuple[bytes, str]:
        """The bytes of a video, and the text of its eye file."""
        rng = _rng(self.recipe, video.user, video.session, video.phone, video.file)
        presentation = self._presentation(video, rng)
        slack_px = max(1, round(self.recipe.frame_px / 64))
        wide = replace(presentation, framing=_widened(presentation.framing, slack_px))
        curl = (0.0, 0.0) if wide.attack is None else wide.attack.curl
        eyes = [
            wide.framing.seen_at(eye, *curl)
            for eye in eye_positions(self.subject.identity, wide.scene, self.recipe.source_px)
        ]
        pictures, lines = [], []
        views = _trembling(self.subject.radiance(wide), self.recipe, slack_px, rng)
        for number, (view, corner) in enumerate(views):
            shot = replace(wide.shot, exposure=wide.shot.exposure * float(np.exp(rng.normal(0, 0.03))))
            pictures.append(wide.camera.develop(view, shot, rng))
            positions = [
                int(np.floor(at - start)) for eye in eyes for at, start in zip(eye, corner, strict=True)
            ]
            lines.append(",".join(str(value) for value in (number, *positions)))
        return _avi(pictures, wide.shot.quality), "\n".join(lines) + "\n"


def _widened(framing: Framing, slack_px: int) -> Framing:
    """The same framing with a margin on each side, from which a frame may be cut a little off centre."""
    a, b, c, d, e, f, g, h, i = framing.matrix
    s, side, wide = slack_px, framing.frame_px, framing.frame_px + 2 * slack_px
    x, y, width, height = framing.box
    edge = framing.edge
    if edge is not None:
        left, right, top, bottom = ((depth * side + s) / wide if depth else 0.0 for depth in edge)
        edge = (left, right, top, bottom)
    return replace(
        framing,
        matrix=(a + s * g, b + s * h, c + s * i, d + s * g, e + s * h, f + s * i, g, h, i),
        frame_px=wide,
        box=(x + s, y + s, width, height),
        edge=edge,
    )


def _trembling(
    radiance: Image, recipe: OuluRecipe, slack_px: int, rng: np.random.Generator
) -> Iterator[tuple[Image, Point]]:
    """The views of a hand that does not hold still, and the corner of each in pixels of the wider frame.

    They are shifted by whole samples: nothing is interpolated, so that moire and dots stay what they are, and
    no frame is sharper than another.
    """
    side = recipe.frame_px * SUPERSAMPLING
    for _ in range(recipe.frames):
        shift = np.clip(rng.normal(0, slack_px / 2.5, 2), -slack_px, slack_px)
        x, y = (int(v) for v in np.rint((shift + slack_px) * SUPERSAMPLING))
        yield radiance[y : y + side, x : x + side], (x / SUPERSAMPLING, y / SUPERSAMPLING)


def _avi(pictures: Sequence[Pixels], quality: int) -> bytes:
    """Motion JPEG in an AVI file, one frame a second, from sRGB bytes.

    Raises:
        EnvironmentFailed: the folder for temporary files is full or cannot be written.
    """
    rows, columns = pictures[0].shape[:2]
    temporary = Path(tempfile.gettempdir())
    try:
        with scratch_folder(temporary, "swapbench-video") as folder:
            path = folder / "video.avi"
            # OpenCV's own encoder: unlike FFmpeg's it heeds the quality, and its bytes hold no version and no
            # clock.
            writer = cv2.VideoWriter(
                str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 1.0, (columns, rows)
            )
            writer.set(cv2.VIDEOWRITER_PROP_QUALITY, quality)
            for picture in pictures:
                writer.write(np.ascontiguousarray(picture[..., ::-1]))
            writer.release()
            data = path.read_bytes()
    except OSError as error:
        raise disk_failure(error, temporary) from error
    # The writer is silent about a full disk, but the file is then shorter than its header says.
    if len(data) < 12 or int.from_bytes(data[4:8], "little") != len(data) - 8:
        raise EnvironmentFailed(
            f"a video could not be written completely in {temporary}",
            remedy="Free some space there, or set TMPDIR to another folder, and run the same command again",
        )
    return data


@dataclass(frozen=True)
class _Session:
    """All videos of one person in one session."""

    recipe: OuluRecipe
    user: int
    session: int

    def make(self, folder: Path) -> None:
        """Make the videos that are not there yet, each after its eye file."""
        visit = None
        for phone in range(1, len(PHONES) + 1):
            for file in FILES:
                video = Video(phone, self.session, self.user, file)
                path, eyes_path = folder / video.path, folder / video.eyes_path
                if path.exists() and eyes_path.exists():
                    continue
                visit = visit or _Visit(self.recipe, self.user, self.session)
                film, eyes = visit.film(video)
                write_atomically(eyes_path, eyes)
                write_atomically(path, film)


def _description(recipe: OuluRecipe) -> str:
    conditions = {
        "phones": [phone.name for phone in PHONES],
        "sessions": [light.name for light, _ in SESSIONS],
        "files": dict(zip(map(str, FILES), KINDS, strict=True)),
    }
    return recipe.description(recipe.name, VERSION, conditions, layout="OULU-NPU")


def _check_folder(root: Path, recipe: OuluRecipe) -> None:
    """Create the folder if it is missing, and refuse one that holds anything but data of this recipe."""
    about = root / DESCRIPTION
    try:
        root.mkdir(parents=True, exist_ok=True)
        described = about.is_file()
        empty = all(path.name.startswith((LOCK, f".{DESCRIPTION}-")) for path in root.iterdir())
    except OSError as error:
        raise disk_failure(error, root) from error
    if not described and not empty:
        raise UserError(
            f"{root} is not empty and holds no simulated data", remedy="Give a new or an empty folder."
        )
    if not described:
        return
    try:
        name = json.loads(about.read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, TypeError, KeyError):
        name = "something unknown"
    if name != recipe.name:
        raise UserError(f"{root} holds {name}, not {recipe.name}", remedy="Give a new or an empty folder.")


def simulate_oulu(
    root: Path,
    recipe: OuluRecipe | None = None,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make what is missing of a tree that is laid out like OULU-NPU, and return its root.

    `dataset.json`, which says that the data are simulated, is written first and the protocol lists last; a
    video that is there is not made again. The bytes do not depend on `processes`, nor on what was made
    before.

    Args:
        root: of the tree: a new or empty folder, or one that holds data of the same recipe.
        recipe: what to make.
        processes: how many work at a time; None: one for each core.
        progress: called with the number of videos done and the total.

    Raises:
        UserError: the folder holds something else, such as the real data or another recipe's.
        EnvironmentFailed: the folder cannot be written, or a disk is full.
        ValueError: fewer than one process.
    """
    recipe = OuluRecipe() if recipe is None else recipe
    processes = process_count(processes)
    root = Path(root)
    _check_folder(root, recipe)  # before anything is written into it
    visits = [
        _Session(recipe, user, session)
        for split in SPLITS
        for user in recipe.users(split)
        for session in range(1, len(SESSIONS) + 1)
    ]
    stage = Stage(visits, len(PHONES) * len(FILES), lambda: protocol_lists(recipe))
    with only_one(root / LOCK):
        simulator.make(root, _description(recipe), [stage], processes, progress)
    return root


def contact_sheet(root: Path, out_png: Path, tile_px: int = 128) -> Path:
    """Write a picture of first frames and return its path.

    A row for each kind of file in each session, a column for each phone.

    Raises:
        BadDataset: the folder has no such videos, or one of them cannot be read.
        EnvironmentFailed: the picture cannot be written.
    """
    pattern = "*_files/[0-9]_[0-9]_[0-9][0-9]_[0-9].avi"
    if not any(Path(root).glob(pattern)):
        raise BadDataset(
            f"{root} has no videos named like OULU-NPU", remedy="Make some with: swapbench data simulate"
        )
    rows = [
        (
            f"{session} {light.name}\n{kind}",
            _tiles(Path(root), session, file),
        )
        for session, (light, _) in enumerate(SESSIONS, start=1)
        for file, kind in zip(FILES, KINDS, strict=True)
    ]
    draw_contact_sheet(out_png, rows, len(PHONES), tile_px)
    return out_png


def _tiles(root: Path, session: int, file: int) -> Iterator[tuple[Picture, str] | None]:
    """First frame and name of a video by each phone, spread over the people; None where there is none."""
    from PIL import Image

    for column in range(len(PHONES)):
        paths = sorted(root.glob(f"*_files/{column + 1}_{session}_[0-9][0-9]_{file}.avi"))
        if paths:
            path = paths[column * len(paths) // len(PHONES)]
            yield Image.fromarray(_first_frame(path)), path.stem
        else:
            yield None


def _first_frame(path: Path) -> Pixels:
    film = cv2.VideoCapture(str(path))
    try:
        done, frame = film.read()
    finally:
        film.release()
    if not done:
        raise BadDataset(f"cannot read {path}")
    return np.ascontiguousarray(np.asarray(frame, np.uint8)[..., ::-1])
