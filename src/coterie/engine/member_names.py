"""What a member may be called, and what its addresses may look like, before they go into the log."""

from __future__ import annotations

MAX_NAME_CHARACTERS = 64
NAME_RULE = f"a name has 1 to {MAX_NAME_CHARACTERS} letters, digits, '.', '_' or '-', and at least one letter or digit"
ADDRESS_RULE = "an address is host:port with a port from 1 to 65535"
MAX_ADDRESS_CHARACTERS = 300


def legal_name(name: str) -> bool:
    """Whether it keeps `NAME_RULE`."""
    letters = name.replace(".", "").replace("_", "").replace("-", "")
    return name.isascii() and letters.isalnum() and len(name) <= MAX_NAME_CHARACTERS


def legal_address(address: str) -> bool:
    """Whether it keeps `ADDRESS_RULE`; an IPv6 address stands in brackets."""
    host, _, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host.replace(":", "[")
    if not bare or len(address) > MAX_ADDRESS_CHARACTERS or any(c.isspace() or c in "[]/@?#," for c in bare):
        return False
    return port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536


def name_of_address(peer: str) -> str:
    """What a member is called that was added by its address alone, until it has joined."""
    return "at-" + "".join(letter if letter.isalnum() else "-" for letter in peer).strip("-")
