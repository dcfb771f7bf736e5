"""The simulated data written as a tree that is named, listed and annotated like OULU-NPU.

Knows that layout: `{Train,Dev,Test}_files/P_S_UU_F.avi` with phone P, session S, person UU and file F, an eye file beside
each video, and 42 lists below `Protocols/`. Faces, instruments and cameras come from the modules that know them. So what
reads the real data can be run from end to end by somebody who has no licence for it.

Six simulated phones, three sessions with a light and a place of their own, two printers and two displays. What differs
from the real thing: an attack copies a still photograph, also where a video is replayed; a video is a few small square frames
a second apart, still but for the trembling of a hand; there are fewer people.

Layout and protocols: Boulkenafet et al., OULU-NPU: a mobile face presentation attack database with real-world variations
(FG 2017). Simulated data; not PAD performance.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from swapbench.data.dataset import SPLITS
from swapbench.data.layouts import oulu
from swapbench.errors import BadDataset, EnvironmentFailed, UserError
from swapbench.files import disk_failure, write_atomically
from swapbench.simulate import dataset as simulate
from swapbench.simulate import recapture
from swapbench.simulate.dataset import NOTICE, Light, each, process_count, stream, studio_photo, studio_shot
from swapbench.simulate.faces import Identity, Scene, eye_positions, face_box, render
from swapbench.simulate.recapture import (
    SUPERSAMPLING,
    Camera,
    Display,
    Framing,
    Pixels,
    Printer,
    Sheet,
    Shot,
    Showing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from swapbench.simulate.face_canvas import Image
    from swapbench.simulate.faces import Point

VERSION = 1
"""Of this layout's own choices; raised whenever they change the bytes. Faces and recapture have `simulate.VERSION`."""

BONA_FIDE, PRINTS, REPLAYS = 1, (2, 3), (4, 5)
"""Last number of a file's name: a living face, its print by the first and second printer, its first and second display."""

FILES = (BONA_FIDE, *PRINTS, *REPLAYS)
KINDS = ("bona fide", "print 1", "print 2", "replay 1", "replay 2")

PHONES = (
    Camera("phone-1", 0.40, 0.012, 0.003, 0.04, 1.15, 1.08, 0.50),
    Camera("phone-2", 0.46, 0.016, 0.005, 0.06, 1.10, 1.05, 0.35),
    Camera("phone-3", 0.52, 0.020, 0.006, 0.08, 1.05, 1.00, 0.60),
    Camera("phone-4", 0.44, 0.014, 0.004, 0.10, 1.20, 1.02, 0.25),
    Camera("phone-5", 0.58, 0.022, 0.007, 0.10, 1.00, 0.96, 0.65),
    Camera("phone-6", 0.49, 0.018, 0.004, 0.05, 0.96, 1.10, 0.40),
)  # fmt: skip

SESSIONS = (
    (Light("office", (-45, 45), (30, 65), (0.50, 0.75), (3800, 5200)), 39),
    (Light("window", (-75, 75), (0, 30), (0.30, 0.60), (5500, 8000)), 6),
    (Light("lamp", (-60, 60), (10, 50), (0.30, 0.60), (2900, 4300)), 24),
)  # fmt: skip
"""Light of each session, and the number of the place behind the person: shelves, a window, a curtain."""

PRINTERS = (
    Printer("printer-1", 1.85, False, 0.24, 0.84, 0.78, paper=(0.84, 0.84, 0.82)),
    Printer("printer-2", 1.0, True, 0.22, 0.90, 0.55, paper=(0.86, 0.86, 0.86), gloss=0.12),
)
DISPLAYS = (
    Display("display-1", 2.05, 0.42, 2.2, (0.97, 1.0, 1.02), 0.03, 0.09, 0.10, 0.05),
    Display("display-2", 1.65, 0.52, 2.2, (0.94, 1.0, 1.08), 0.01, 0.03, 0.20, 0.05),
)


@dataclass(frozen=True)
class OuluRecipe:
    """What to make: the first people of each split, on all six phones, in all three sessions, with all five files."""

    seed: int = 2024
    frame_px: int = 256
    source_px: int = 512
    frames: int = 3
    train_users: int = 4
    dev_users: int = 3
    test_users: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises:
            UserError: a size, a count or the seed is out of range.
        """
        for name, low in (("frame_px", 32), ("source_px", 64)):
            if getattr(self, name) < low or getattr(self, name) % 2:
                raise UserError(
                    f"{name} is {getattr(self, name)}", remedy=f"Use an even number of at least {low}."
                )
        for name, low in (("seed", 0), ("frames", 1)):
            if getattr(self, name) < low:
                raise UserError(f"{name} is {getattr(self, name)}", remedy=f"Use a whole number from {low}.")
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
        text = json.dumps({"version": [simulate.VERSION, VERSION], **asdict(self)}, sort_keys=True)
        return f"simulated-oulu-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


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

    A line is a sign and a name: +1 for bona fide, -1 for an attack; in the test lists -1 for a print and -2 for a replay.
    Which list a video belongs to says the reader's rule of the published protocols.
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
    """The person with this number: the same however many are made, and nobody of the manifest's data set of any seed."""
    # As in simulate.person: odd multiplication modulo a power of two keeps distinct numbers distinct, and 4,000,000 lies
    # above every number that the three splits of one seed use there and below those of the next seed.
    number = 4_000_000 + user + recipe.seed * 8_000_009
    return Identity.draw(number * 0x9E3779B97F4A7C15 % 2**64)


def _rng(recipe: OuluRecipe, *words: int) -> np.random.Generator:
    # The second word is a split in simulate; a number that is none keeps the streams apart.
    return stream(recipe.seed, 100, *words)


def _scene(rng: np.random.Generator, session: int) -> Scene:
    light, place = SESSIONS[session - 1]
    return replace(light.scene(rng), backdrop=place)


class _Visit:
    """One person in one session: the photographs that were taken then are what all attacks of that session copy."""

    def __init__(self, recipe: OuluRecipe, user: int, session: int) -> None:
        self.recipe, self.user, self.session = recipe, user, session
        self.who = person(recipe, user)
        self._photos: dict[bool, tuple[Scene, Pixels]] = {}

    def photo(self, replayed: bool) -> tuple[Scene, Pixels]:
        """What is printed, or what is replayed, and the scene that it shows."""
        if replayed not in self._photos:
            rng = _rng(self.recipe, self.user, self.session, 0, 1 + replayed)
            scene = _scene(rng, self.session)
            self._photos[replayed] = (
                scene, studio_photo(self.who, scene, studio_shot(rng), rng, self.recipe.source_px),
            )  # fmt: skip
        return self._photos[replayed]

    def film(self, video: Video) -> tuple[bytes, str]:
        """The bytes of a video, and the text of its eye file."""
        recipe, source_px = self.recipe, self.recipe.source_px
        rng = _rng(recipe, video.user, video.session, video.phone, video.file)
        shot = Shot.draw(rng, recipe.frame_px)
        sheet, showing = Sheet.draw(rng), Showing.draw(rng)
        scene = _scene(rng, video.session)
        photo = None
        if video.file != BONA_FIDE:
            scene, photo = self.photo(video.file in REPLAYS)
        framing = Framing.draw(rng, face_box(scene, source_px), source_px, recipe.frame_px)
        slack_px = max(1, round(recipe.frame_px / 64))
        wide = _widened(framing, slack_px)
        bend = (0.0, 0.0)
        if photo is None:
            radiance = recapture.bona_fide(render(self.who, scene, source_px)[0], wide)
        elif video.file in PRINTS:
            bend = (sheet.bend, sheet.bend_deg)
            radiance = recapture.printed(photo, PRINTERS[PRINTS.index(video.file)], sheet, wide)
        else:
            radiance = recapture.replayed(photo, DISPLAYS[REPLAYS.index(video.file)], showing, wide)
        eyes = [wide.seen_at(eye, *bend) for eye in eye_positions(self.who, scene, source_px)]
        pictures, lines = [], []
        for number, (view, corner) in enumerate(_trembling(radiance, recipe, slack_px, rng)):
            again = replace(shot, exposure=shot.exposure * float(np.exp(rng.normal(0, 0.03))))
            pictures.append(PHONES[video.phone - 1].develop(view, again, rng))
            places = [
                int(np.floor(at - start)) for eye in eyes for at, start in zip(eye, corner, strict=True)
            ]
            lines.append(",".join(str(value) for value in (number, *places)))
        return _avi(pictures, shot.quality), "\n".join(lines) + "\n"


def _widened(framing: Framing, slack_px: int) -> Framing:
    """The same framing with a margin on each side, so that a frame may be cut out of it a little aside."""
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

    They lie whole samples aside: nothing is interpolated, so that moire and dots stay what they are, and no frame is
    sharper than another.
    """
    side = recipe.frame_px * SUPERSAMPLING
    for _ in range(recipe.frames):
        aside = np.clip(rng.normal(0, slack_px / 2.5, 2), -slack_px, slack_px)
        x, y = (int(v) for v in np.rint((aside + slack_px) * SUPERSAMPLING))
        yield radiance[y : y + side, x : x + side], (x / SUPERSAMPLING, y / SUPERSAMPLING)


def _avi(pictures: Sequence[Pixels], quality: int) -> bytes:
    """Motion JPEG in an AVI file, one frame a second, from sRGB bytes.

    Raises:
        EnvironmentFailed: the folder for temporary files is full or cannot be written.
    """
    rows, columns = pictures[0].shape[:2]
    place = Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryDirectory(prefix="swapbench-", dir=place) as folder:
            path = Path(folder, "video.avi")
            # OpenCV's own encoder: unlike FFmpeg's it heeds the quality, and its bytes know no version and no clock.
            writer = cv2.VideoWriter(
                str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 1.0, (columns, rows)
            )
            writer.set(cv2.VIDEOWRITER_PROP_QUALITY, quality)
            for picture in pictures:
                writer.write(np.ascontiguousarray(picture[..., ::-1]))
            writer.release()
            data = path.read_bytes()
    except OSError as error:
        raise disk_failure(error, place) from error
    # The writer is silent about a full disk, but then the file is not as long as it says itself.
    if len(data) < 12 or int.from_bytes(data[4:8], "little") != len(data) - 8:
        raise EnvironmentFailed(
            f"a video could not be written whole below {place}",
            remedy="Free some space there, or set TMPDIR to another folder, and run the same command again",
        )
    return data


def _make(job: tuple[str, OuluRecipe, int, int]) -> int:
    """Make the videos of one visit that are not there yet; returns how many that were."""
    root, recipe, user, session = job
    visit, made = None, 0
    for phone in range(1, len(PHONES) + 1):
        for file in FILES:
            video = Video(phone, session, user, file)
            path, eyes_path = Path(root, video.path), Path(root, video.eyes_path)
            if path.exists() and eyes_path.exists():
                continue
            visit = visit or _Visit(recipe, user, session)
            film, eyes = visit.film(video)
            write_atomically(eyes_path, eyes)
            write_atomically(path, film)
            made += 1
    return made


def _description(recipe: OuluRecipe) -> str:
    content = {
        "name": recipe.name, "simulated": True, "notice": NOTICE, "layout": "OULU-NPU", "seed": recipe.seed,
        "version": VERSION, "frame_px": recipe.frame_px, "recipe": asdict(recipe),
        "phones": [phone.name for phone in PHONES], "sessions": [light.name for light, _ in SESSIONS],
        "files": dict(zip(map(str, FILES), KINDS, strict=True)),
    }  # fmt: skip
    return json.dumps(content, indent=2) + "\n"


def _claim(root: Path, recipe: OuluRecipe) -> None:
    """Say in `root` that all in it is simulated, before anything else; never in a folder that holds something else."""
    about = root / "dataset.json"
    try:
        root.mkdir(parents=True, exist_ok=True)
        described = about.is_file()
        empty = not any(root.iterdir())
    except OSError as error:
        raise disk_failure(error, root) from error
    if not described and not empty:
        raise UserError(
            f"{root} is not empty and holds no simulated data", remedy="Give a new or an empty folder."
        )
    if not described:
        write_atomically(about, _description(recipe))
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
    """Make what is not there yet of a tree that is laid out like OULU-NPU in `root`, and return `root`.

    `dataset.json`, which says that the data are simulated, is written first and the protocol lists last; a video that is
    there is not made again. `progress` hears the number of videos done and the total. The bytes do not depend on
    `processes`, nor on what was made before.

    Raises:
        UserError: the folder holds something else, such as the real data or another recipe's.
        EnvironmentFailed: the folder cannot be written, or a disk is full.
        ValueError: fewer than one process.
    """
    recipe = OuluRecipe() if recipe is None else recipe
    processes = process_count(processes)
    root = Path(root)
    _claim(root, recipe)
    jobs = [
        (str(root), recipe, user, session)
        for split in SPLITS
        for user in recipe.users(split)
        for session in range(1, len(SESSIONS) + 1)
    ]
    visit = len(PHONES) * len(FILES)
    for number, _ in enumerate(each(_make, jobs, processes), start=1):
        if progress is not None:
            progress(number * visit, len(jobs) * visit)
    for path, text in protocol_lists(recipe).items():
        if not (root / path).exists():
            write_atomically(root / path, text)
    return root


def contact_sheet(root: Path, out_png: Path, tile_px: int = 128) -> Path:
    """Write a picture of first frames, a row for each kind of file in each session, a column for each phone; returns its path.

    Raises:
        BadDataset: the folder has no such videos, or one of them cannot be read.
        EnvironmentFailed: the picture cannot be written.
    """
    from PIL import Image as Picture
    from PIL import ImageDraw

    left, top = 92, 24
    size = (left + len(PHONES) * tile_px, top + len(SESSIONS) * len(FILES) * tile_px)
    sheet = Picture.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((6, 6), NOTICE[0].lower() + NOTICE[1:-1], fill="black")
    shown = 0
    for session, (light, _) in enumerate(SESSIONS, start=1):
        for line, (file, kind) in enumerate(zip(FILES, KINDS, strict=True)):
            y = top + ((session - 1) * len(FILES) + line) * tile_px
            draw.text((6, y + 6), f"{session} {light.name}\n{kind}", fill="black")
            for column in range(len(PHONES)):
                found = sorted(Path(root).glob(f"*_files/{column + 1}_{session}_[0-9][0-9]_{file}.avi"))
                if not found:
                    continue
                path = found[column * len(found) // len(PHONES)]
                frame = Picture.fromarray(_first_frame(path)).resize((tile_px, tile_px))
                sheet.paste(frame, (left + column * tile_px, y))
                draw.text((left + column * tile_px + 3, y + tile_px - 13), path.stem, fill="yellow")
                shown += 1
    if not shown:
        raise BadDataset(
            f"{root} has no videos named like OULU-NPU", remedy="Make some with: swapbench data simulate"
        )
    data = io.BytesIO()
    sheet.save(data, "PNG")
    write_atomically(out_png, data.getvalue())
    return out_png


def _first_frame(path: Path) -> NDArray[np.uint8]:
    film = cv2.VideoCapture(str(path))
    try:
        done, frame = film.read()
    finally:
        film.release()
    if not done:
        raise BadDataset(f"cannot read {path}")
    return np.ascontiguousarray(np.asarray(frame, np.uint8)[..., ::-1])
