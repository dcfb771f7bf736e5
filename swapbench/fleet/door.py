"""How a scheduler is reached, and who may: the join file holds the key, and whoever has it is let in.

A scheduler runs what it is sent. So everybody who connects must show the certificate that the scheduler made
for itself, and must check it; without that, nobody but programs of the same computer can connect.
"""

from __future__ import annotations

import ipaddress
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from swapbench.errors import EnvironmentFailed, MissingPackage, UserError
from swapbench.files import content_of, disk_failure

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT: Final = 8786
JOIN_FILE: Final = "fleet.join"
"""In the working folder, or below `~/.config/swapbench`."""
NAMED: Final = "SWAPBENCH_JOIN_FILE"
"""Environment variable that names another join file."""
_LARGEST_BYTES: Final = 100_000
_VALID_DAYS: Final = 3650


@dataclass(frozen=True)
class Door:
    """A scheduler's address, and what opens it.

    Attributes:
        host: Name or address of its computer.
        port: That it listens on.
        certificate: In PEM; "" where there is no TLS, on this computer alone.
        key: The private key of the certificate, in PEM.
    """

    host: str
    port: int
    certificate: str = ""
    key: str = ""

    @property
    def place(self) -> str:
        """What a person types: 'scheduler:8786'."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def protocol(self) -> str:
        """As Dask calls it."""
        return "tls" if self.certificate else "tcp"

    @property
    def address(self) -> str:
        """As Dask writes it."""
        return f"{self.protocol}://{self.place}"

    def security(self) -> Any:
        """What Dask is told about TLS: both sides show the certificate, and trust no other."""
        from distributed import Security

        if not self.certificate:
            return Security(require_encryption=False)
        roles = {
            f"tls_{role}_{part}": text
            for role in ("client", "scheduler", "worker")
            for part, text in (("cert", self.certificate), ("key", self.key))
        }
        return Security(require_encryption=True, tls_ca_file=self.certificate, **roles)


def needs_dask() -> None:
    """Raise MissingPackage where the packages of a fleet are not installed."""
    from importlib.util import find_spec

    for package in ("distributed", "cryptography"):
        if find_spec(package) is None:
            raise MissingPackage(package, "a fleet", "fleet")


def is_loopback(host: str) -> bool:
    """Whether only programs of this computer can connect to a host of this name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split(place: str, port: int = PORT) -> tuple[str, int]:
    """Host and port of a place as it was typed: 'scheduler', 'scheduler:8786', '[::1]:8786' or ':8786'.

    Raises:
        UserError: It is none.
    """
    host, colon, number = place.rpartition(":")
    if place.endswith("]") or not colon:
        host, number = place, str(port)
    host = host.removeprefix("[").removesuffix("]")
    if not number.isdecimal() or not 0 <= int(number) < 65536 or any(char in host for char in "/@ "):
        raise UserError(f"{place!r} is not an address", remedy="Write it as in scheduler:8786")
    return host, int(number)


def opened_at(place: str, *, tls: bool) -> Door:
    """The door of a scheduler that is to listen at a place, with a certificate of its own.

    Raises:
        UserError: Without TLS, other computers could reach it.
        MissingPackage: There is nothing to make a certificate with.
    """
    host, port = split(place)
    if not tls:
        if not is_loopback(host):
            raise UserError(
                f"a scheduler at {place} without TLS would run what anybody in the network sends it",
                remedy="Leave --no-tls out, or listen on this computer alone: --listen 127.0.0.1",
            )
        return Door(host, port)
    certificate, key = _certificate()
    return Door(host, port, certificate, key)


def _certificate() -> tuple[str, str]:
    """A new certificate that signs itself, and its key, both in PEM."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swapbench fleet")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=_VALID_DAYS))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def write_join_file(door: Door, path: Path) -> None:
    """Write the secret that lets others in, which only its owner can read.

    Raises:
        EnvironmentFailed: It cannot be written.
    """
    content = {"swapbench_fleet": 1, "host": door.host, "port": door.port}
    if door.certificate:
        content |= {"certificate": door.certificate, "key": door.key}
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        os.replace(part, path)
    except OSError as error:
        raise disk_failure(error, path) from error


def read_join_file(path: Path) -> Door:
    """The door that a join file opens.

    Raises:
        UserError: It is no join file, or others can read it.
    """
    try:
        mode = path.stat().st_mode
        values = json.loads(content_of(path, _LARGEST_BYTES))
        door = Door(
            str(values["host"]),
            int(values["port"]),
            str(values.get("certificate", "")),
            str(values.get("key", "")),
        )
    except OSError as error:
        raise UserError(f"cannot read the join file {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(
            f"{path} is not a join file", remedy="swapbench fleet start writes one; copy it whole"
        ) from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(
            f"other users can read the join file {path}, and with it run programs on every host",
            remedy=f"Run: chmod 600 {path}",
        )
    return door


def door_to(where: str, folder: Path) -> Door:
    """The door that a person means: a join file, or an address for which there is a join file.

    Args:
        where: A join file, or an address as in 'scheduler:8786'.
        folder: The working folder.

    Raises:
        UserError: There is no join file for another computer.
    """
    if Path(where).is_file():
        return read_join_file(Path(where))
    if "/" in where or where.endswith(".join"):
        raise UserError(
            f"there is no join file {where}",
            remedy="swapbench fleet start writes one; copy it from there, or name the scheduler's address",
        )
    host, port = split(where)
    for path in _join_files(folder):
        if path.is_file():
            door = read_join_file(path)
            return Door(host, port, door.certificate, door.key)
    if is_loopback(host):
        return Door(host, port)
    raise UserError(
        f"there is no join file for the scheduler {where}",
        remedy=f"Copy {JOIN_FILE} from it into this folder, or name the file in place of the address",
    )


def _join_files(folder: Path) -> Iterator[Path]:
    named = os.environ.get(NAMED)
    if named:
        yield Path(named)
    yield folder / JOIN_FILE
    yield Path.home() / ".config" / "swapbench" / JOIN_FILE


def cannot_connect(door: Door, error: BaseException) -> EnvironmentFailed:
    """Why a scheduler cannot be reached, with what to do."""
    said = str(error)
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
        said += f" {cause}"
    if any(sign in said for sign in ("CERTIFICATE", "certificate", "SSL", "TLSV1", "ssl")):
        return EnvironmentFailed(
            f"the scheduler {door.place} and this computer do not trust each other's certificate",
            remedy="Copy the present join file from the scheduler: it makes a new one when it lost the old",
        )
    return EnvironmentFailed(
        f"there is no scheduler at {door.place}",
        remedy="Start one there with: swapbench fleet start; then check the address and the firewall",
    )
