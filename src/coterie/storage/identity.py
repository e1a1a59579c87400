"""The file in a data directory that says whose it is, and what a member must never forget besides its log.

It is text: a line with the format's version, JSON, and a line with the CRC-32 of all before it. Every
version to come keeps the first line and the last, so that any version can tell damage from novelty.
"""

from __future__ import annotations

import re
import zlib

import msgspec

from coterie.core.types import Member, MemberId
from coterie.storage.files import Files
from coterie.storage.refusal import DirectoryRefused, Refusal, damaged

FORMAT = 1
MAX_IDENTITY_BYTES = 256 * 1024
"""Of the identity file, and so a bound on the first membership set: about two thousand members."""

IDENTITY_NAME = "identity"
NEW_IDENTITY_NAME = "identity.new"
LOG_NAME = "log"

_HEADER = re.compile(rb"coterie data directory, format ([0-9]{1,9})\n")
_TRAILER = re.compile(rb"crc32 ([0-9a-f]{8})\n\Z")
_DIGEST = re.compile(r"([0-9a-f]{64})?")
_TRAILER_BYTES = len(b"crc32 00000000\n")
ID_LIMIT = 1 << 64
MAX_STARTS = 64
"""Starts that are remembered."""


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the identity file holds. Ids are whole numbers of 64 bits."""

    name: str
    protocol: str
    member_id: MemberId
    boot: int
    first_members: tuple[Member, ...] | None = None
    cluster: int | None = None
    claim: int = 0
    """64 random bits of a directory that joins a cluster which runs; 0: an initial member's."""
    joining: bool = False
    """The log of a directory that joins was not made yet: it has promised nothing."""
    starts: tuple[int, ...] = ()
    """64 random bits of each of the last starts, the present one last: what tells two copies of a directory apart."""
    restored: str = ""
    """Digest, in hexadecimal, of the state that this member begins with (see `seed`); empty: it begins with none."""


def within(path: str, name: str) -> str:
    """The path of what is called `name` in the directory `path`."""
    return f"{path.rstrip('/')}/{name}"


def encode_identity(identity: Identity) -> bytes:
    """The identity file's bytes."""
    body = msgspec.json.format(msgspec.json.encode(identity), indent=2)
    data = b"coterie data directory, format %d\n%s\n" % (FORMAT, body)
    return data + b"crc32 %08x\n" % zlib.crc32(data)


def replace_identity(files: Files, path: str, data: bytes) -> None:
    """Write aside, sync, rename, sync the directory: a crash leaves the old file or the new one, whole.

    Raises `OSError`; then either may be found.
    """
    new = within(path, NEW_IDENTITY_NAME)
    if files.exists(new):
        files.remove(new)
    file = files.open(new, create=True)
    try:
        file.write_at(0, data)
        file.sync()
    finally:
        file.close()
    files.rename(new, within(path, IDENTITY_NAME))
    files.sync_directory(path)


def read_identity(files: Files, path: str) -> Identity | None:
    """The identity, or None in a directory that never had one. Raises `DirectoryRefused` and `OSError`."""
    where = within(path, IDENTITY_NAME)
    if not files.exists(where):
        if files.exists(within(path, LOG_NAME)):
            # A new id beside an old log would be a second voter with the first one's memory.
            raise damaged(path, f"it holds a log and no file {IDENTITY_NAME}")
        return None
    file = files.open(where)
    try:
        data = file.read_at(0, MAX_IDENTITY_BYTES + 1)
    finally:
        file.close()
    return decode_identity(path, data)


def decode_identity(path: str, data: bytes) -> Identity:
    """What these bytes of the identity file in the directory `path` say. Raises `DirectoryRefused`."""
    where = within(path, IDENTITY_NAME)
    header, trailer = _HEADER.match(data), _TRAILER.search(data[-_TRAILER_BYTES:])
    if len(data) > MAX_IDENTITY_BYTES or header is None or trailer is None:
        raise damaged(path, f"{where} does not begin and end as it must")
    if zlib.crc32(data[:-_TRAILER_BYTES]) != int(trailer[1], 16):
        raise damaged(path, f"the checksum of {where} does not match its content")
    if int(header[1]) != FORMAT:
        raise DirectoryRefused(
            Refusal.UNKNOWN_FORMAT,
            f"the data directory {path} has format {int(header[1])}; this version of Coterie knows format {FORMAT}",
            advice="run the version of Coterie that wrote it, or a newer one",
        )
    try:
        identity = msgspec.json.decode(data[header.end() : -_TRAILER_BYTES], type=Identity)
    except msgspec.DecodeError as error:
        raise damaged(path, f"{where} says what it cannot say: {error}") from error
    if not 0 < identity.member_id < ID_LIMIT or identity.boot < 1:
        raise damaged(path, f"{where} has member id {identity.member_id} and boot {identity.boot}")
    if not 0 <= identity.claim < ID_LIMIT or (identity.joining and not (identity.claim and identity.cluster)):
        raise damaged(path, f"{where} says that it joins, with claim {identity.claim} and cluster {identity.cluster}")
    if len(identity.starts) > min(identity.boot, MAX_STARTS) or not all(0 < s < ID_LIMIT for s in identity.starts):
        raise damaged(path, f"{where} tells of starts that cannot have been")
    if not _DIGEST.fullmatch(identity.restored):
        raise damaged(path, f"{where} has {identity.restored[:80]!r} as the digest of a restored state")
    return identity
