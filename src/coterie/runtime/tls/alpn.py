"""What is spoken inside TLS, by its ALPN name (RFC 7301): the one place where it is chosen."""

from __future__ import annotations

NATIVE = "coterie/1"
"""The clients' frames."""
MEMBERS = "coterie-member/1"
"""The members' frames: who dials the clients' port by mistake learns it before it has said anything."""

HTTP_1 = "http/1.1"
"""Its name in the registry of RFC 7301."""
HTTP_2 = "h2"
"""For gRPC (RFC 9113, section 3.2)."""

CLIENT_PORT: tuple[str, ...] = (NATIVE, HTTP_1, HTTP_2)
"""What the clients' port speaks, what it likes best first. Clients of gRPC name h2 alone; browsers and probes name it
with HTTP/1.1, and it is that one that has pages for them. A client that names none of them is not refused for it: the
first bytes tell what it speaks."""
MEMBER_PORT: tuple[str, ...] = (MEMBERS,)
