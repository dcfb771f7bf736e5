"""The words in which people name classes and splits: in labels, in columns and in the names of folders.

A word that could mean either class, such as 0, 1 or true, is not among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_SPECIES = "attack (species not given)"
"""The species of attacks of which nothing else is known."""

_CLASSES: Mapping[str, bool] = {
    **dict.fromkeys(("bonafide", "live", "alive", "real", "genuine"), True),
    **dict.fromkeys(("attack", "attacks", "spoof", "spoofs", "spoofing", "fake", "fakes"), False),
    **dict.fromkeys(("imposter", "impostor", "presentationattack"), False),
}
_SPLITS: Mapping[str, str] = {
    **dict.fromkeys(("dev", "devel", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
    **dict.fromkeys(("train", "training"), "train"),
}


def plain(word: str) -> str:
    """The word in lower case without spaces, hyphens and underscores."""
    return word.strip().lower().replace(" ", "").replace("_", "").replace("-", "")


def is_bona_fide(word: str) -> bool | None:
    """True for a word that means bona fide, False for one that means an attack, None for any other."""
    return _CLASSES.get(plain(word))


def split_named(word: str) -> str | None:
    """The split that a word means, train, dev or test; None for any other word."""
    return _SPLITS.get(plain(word))
