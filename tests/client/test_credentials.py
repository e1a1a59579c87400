"""Who a client says it is: right behind its greeting, within bounds, and never in what is printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.client.attempts import greeting
from coterie.client.config import MAX_CREDENTIAL_BYTES, ClientConfig, Credentials
from coterie.client.errors import NotLoggedIn, error_of
from coterie.client.frames import FrameBuffer
from coterie.core.errors import ConfigurationError, Effect
from coterie.engine.protocol import (
    CLIENT_MAGIC,
    PROTOCOL_VERSION,
    Failure,
    FailureCode,
    Happened,
    Hello,
    LogIn,
    request_decoder,
)


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_it_is_said_right_behind_the_greeting(user: str, password: str) -> None:
    said = greeting("app", Credentials(user, password))
    assert said.startswith(greeting("app", None))
    frames = FrameBuffer().feed(said[len(CLIENT_MAGIC) :])
    decoded = [request_decoder.decode(frame) for frame in frames]
    assert decoded == [Hello(PROTOCOL_VERSION, "app"), LogIn(user, password)]


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        ("", "x", "the user's name is empty"),
        ("u" * (MAX_CREDENTIAL_BYTES + 1), "x", "user has 1025 bytes, the limit is 1024"),
        ("u", "é" * 600, "password has 1200 bytes, the limit is 1024"),
    ],
)
def test_what_is_empty_or_too_long_is_named(user: str, password: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Credentials(user, password)


def test_a_password_is_not_printed() -> None:
    credentials = Credentials("ann", "hers")
    assert "hers" not in repr(ClientConfig(credentials=credentials)) + repr(credentials) + str(credentials)


def test_a_refusal_says_that_nothing_happened_and_how_to_say_who_one_is() -> None:
    error = error_of(Failure(1, FailureCode.NOT_LOGGED_IN, Happened.NO, "who is it?"), Effect.NO)
    assert isinstance(error, NotLoggedIn)
    assert (error.effect, "--user" in error.advice) == (Effect.NO, True)
