"""However a connection ends in the middle of a handshake, people are told what that may mean."""

from __future__ import annotations

import ssl

import pytest

from coterie.runtime.tls.explaining import dialled, refusal

ENDS = [
    ConnectionResetError(104, "Connection reset by peer"),
    BrokenPipeError(32, "Broken pipe"),
    ssl.SSLEOFError(8, "EOF occurred in violation of protocol (_ssl.c:992)"),
    ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed (EOF) (_ssl.c:992)"),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
def test_who_hangs_up_in_the_handshake_may_speak_plain_text_or_not_trust_us(end: Exception) -> None:
    assert "its port may speak plain text" in dialled(end)
    assert "perhaps it does not trust this node's certificate" in refusal(end)


def test_what_nobody_knows_is_told_in_openssls_words() -> None:
    assert dialled(ssl.SSLError(1, "something else")).startswith("the TLS handshake failed: ")
