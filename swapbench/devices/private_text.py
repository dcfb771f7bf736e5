"""What must not leave a phone in a report, taken out of its texts: pure functions of text.

Two ways, since neither is enough: names that the phone itself says are its owner's (serials, accounts,
networks, its own name) go wherever they stand, and so does everything that has the form of an address.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHORTEST: Final = 3
"""Names of fewer characters than this are no secrets: they would take words out of the middle of a report."""
KEPT_PROPERTIES: Final = re.compile(
    r"ro\.(?:product|soc|hardware|board|build|kernel\.qemu|zygote|arch|opengles|vndk|debuggable|secure)(?:\..*)?"
    r"|ro\.boot\.(?:hardware\..*|hardware|qemu|avb_version)"
    r"|ro\.vendor\.api_level|ro\.config\.low_ram|ro\.miui\.ui\.version\..*|ro\.(?:system|vendor)\.build\..*"
    r"|ro\.product\.(?:system|vendor)\..*|dalvik\.vm\.isa\..*|sys\.boot_completed|persist\.traced\.enable"
    r"|init\.svc\.(?:adbd|traced|traced_probes|vendor\.power.*|thermal.*)"
)
"""Properties that tell a model and its system; all others stay on the phone."""
_ACCOUNT: Final = re.compile(r"Account \{name=(.*?), type=")
_NETWORK: Final = re.compile(r"(?:SSID: ?|connected to )\"(.*?)\"")

_FORMS: Final = (
    ("address of a network card", re.compile(r"(?i)\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b")),
    ("e-mail address", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("wireless serial", re.compile(r"\badb-\w+-\w+\b")),
    ("internet address", re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")),
    ("internet address", re.compile(r"(?i)(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])")),
    ("internet address", re.compile(r"(?i)(?<![\w:])(?:[0-9a-f]{1,4}:)+(?::[0-9a-f]{1,4})+(?![\w:])")),
)
_FIFTEEN_DIGITS: Final = re.compile(r"(?<!\d)\d{15}(?!\d)")


def secrets(told: Mapping[str, Iterable[str]], model: str) -> dict[str, str]:
    """What to take out: text -> what it is.

    Args:
        told: Kind of a name -> what the phone says; empty answers and "null" are none.
        model: What the phone's properties say of its maker and model; a phone that is called like its model
            keeps no secret by that.
    """
    found = {}
    for kind, texts in told.items():
        for text in texts:
            name = text.strip()
            if (
                len(name) >= SHORTEST
                and name not in {"null", "unknown"}
                and name.lower() not in model.lower()
            ):
                found[name] = kind
    return found


def accounts(text: str) -> tuple[str, ...]:
    """The names in `dumpsys account`."""
    return tuple(_ACCOUNT.findall(text))


def networks(text: str) -> tuple[str, ...]:
    """The names in `cmd wifi status` and the like."""
    return tuple(_NETWORK.findall(text))


def cleaned(text: str, secret: Mapping[str, str]) -> tuple[str, Counter[str]]:
    """A text without secrets, with what each was in its place, `<serial>`; and how often each was there."""
    removed: Counter[str] = Counter()
    for name, kind in sorted(secret.items(), key=lambda item: -len(item[0])):
        pattern = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
        text, count = pattern.subn(f"<{kind}>", text)
        removed[kind] += count
    for kind, form in _FORMS:
        text, count = form.subn(f"<{kind}>", text)
        removed[kind] += count
    text = _FIFTEEN_DIGITS.sub(_unless_no_imei, text)
    removed["IMEI"] += text.count("<IMEI>")
    return text, +removed


def _unless_no_imei(match: re.Match[str]) -> str:
    """An IMEI ends with Luhn's digit; a counter of that length rarely does."""
    total = 0
    for place, digit in enumerate(reversed(match[0])):
        doubled = int(digit) * (2 if place % 2 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return "<IMEI>" if total % 10 == 0 else match[0]


def kept_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """Those properties of a phone that tell its model and system."""
    return {name: value for name, value in properties.items() if KEPT_PROPERTIES.fullmatch(name)}
