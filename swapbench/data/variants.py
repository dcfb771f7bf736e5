"""Other ways to cut and resize that public networks use: what a card may have got wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from swapbench.records import Border

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from swapbench.records import Preprocessing

CROP_SCALES: Final = (1.0, 1.5, 2.7, 4.0)
"""Those of Silent-Face-Anti-Spoofing and of the networks that were trained after it."""

FILTERS: Final[tuple[Mapping[str, Any], ...]] = (
    {"resize": "antialias", "enlarge": None},
    {"resize": "bilinear", "enlarge": None},
    {"resize": "area", "enlarge": "lanczos4"},
)
"""Of torchvision, of OpenCV's default, and of careful code that uses OpenCV."""


def variants(card: Preprocessing) -> dict[str, Preprocessing]:
    """The preprocessings that differ from a card's in one respect: border, shape, crop or filter.

    Returns:
        The changed fields as a card says them -> the preprocessing. Respects without an effect are left out:
        borders of a whole frame, and a letterbox around what has the input's shape already.
    """
    return {_said(change): card.replace(**change) for change in _changes(card)}


def _changes(card: Preprocessing) -> Iterator[Mapping[str, Any]]:
    whole_frame = card.face_box == "frame"
    if not whole_frame:
        yield from ({"border": border} for border in get_args(Border) if border != card.border)
        yield {"keep_box_aspect": not card.keep_box_aspect}
        yield from ({"crop_scale": scale} for scale in CROP_SCALES if scale != card.crop_scale)
    if whole_frame or card.keep_box_aspect or card.width_px != card.height_px:
        yield {"fit": "letterbox" if card.fit == "stretch" else "stretch"}
    own = {"resize": card.resize, "enlarge": card.enlarge}
    yield from (change for change in FILTERS if change != own)


def _said(change: Mapping[str, Any]) -> str:
    values = ((name, value) for name, value in change.items() if value is not None)
    return ", ".join(f"{name} = {_toml(value)}" for name, value in values)


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
