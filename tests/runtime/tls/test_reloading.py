"""Certificates that change while a node runs, and such as come to their end."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.certificates import DAY, Certificates, issue

from coterie.client.tls import ClientTls, TlsConfig
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.alpn import MEMBER_PORT
from coterie.runtime.tls.files import TlsFiles
from coterie.runtime.tls.reloading import TlsSide


@pytest.fixture
def place(certificates: Certificates, tmp_path: Path) -> Path:
    """n1's files, to be changed."""
    for name in ("n1.crt", "n1.key", "ca.crt"):
        shutil.copy(certificates.home / name, tmp_path / name)
    return tmp_path


def side_of(files: TlsFiles) -> TlsSide:
    return TlsSide(files, Lines("n1"), MEMBER_PORT, member="n1", shown_as_client=True)


def replace(path: Path, content: bytes) -> None:
    """As `coterie certs` does it: another inode."""
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    beside.chmod(0o600)
    os.replace(beside, path)


def test_changed_files_are_used_for_new_handshakes(
    certificates: Certificates, place: Path, lines: Callable[[], list[str]]
) -> None:
    side = side_of(certificates.files("n1", place, place))
    before = side.server, side.client
    side.look()
    assert (side.server, side.client) == before
    issue(certificates.home, place, "n1", ends=90 * DAY)
    side.look()
    side.look()
    assert side.server is not before[0]
    assert side.client is not before[1]
    assert any(line.startswith("certificate-read") for line in lines())


def test_a_pair_of_which_one_half_is_replaced_is_left_alone_until_the_other_half_is_there(
    certificates: Certificates, place: Path, lines: Callable[[], list[str]]
) -> None:
    side = side_of(certificates.files("n1", place, place))
    fresh = place / "fresh"
    fresh.mkdir()
    issue(certificates.home, fresh, "n1", ends=90 * DAY)
    before = side.server
    replace(place / "n1.key", (fresh / "n1.key").read_bytes())
    side.look()
    replace(place / "n1.crt", (fresh / "n1.crt").read_bytes())
    side.look()
    assert side.server is before
    side.look()
    assert side.server is not before
    assert not any("certificate-not-taken" in line for line in lines())


def test_a_file_that_cannot_be_used_is_told_of_once_and_the_old_one_stays(
    certificates: Certificates, place: Path, lines: Callable[[], list[str]]
) -> None:
    side = side_of(certificates.files("n1", place, place))
    before = side.server, side.client
    replace(place / "n1.crt", b"half a certificate")
    for _ in range(5):
        side.look()
    assert (side.server, side.client) == before
    told = [line for line in lines() if line.startswith("certificate-not-taken")]
    assert len(told) == 1
    assert "must hold a PEM certificate" in told[0]
    (place / "n1.crt").unlink()
    side.look()
    side.look()
    issue(certificates.home, place, "n1", ends=90 * DAY)
    side.look()
    side.look()
    assert side.server is not before[0]


def test_a_certificate_of_another_name_is_not_taken_up(
    certificates: Certificates, place: Path, lines: Callable[[], list[str]]
) -> None:
    side = side_of(certificates.files("n1", place, place))
    before = side.server
    for end in ("crt", "key"):
        replace(place / f"n1.{end}", (certificates.home / f"n2.{end}").read_bytes())
    side.look()
    side.look()
    assert side.server is before
    assert any("it is not n1's" in line for line in lines())


def test_a_certificate_that_ends_within_30_days_is_told_of_once_a_day(
    certificates: Certificates, place: Path, lines: Callable[[], list[str]]
) -> None:
    issue(certificates.home, place, "n1", ends=29 * DAY)
    side = side_of(certificates.files("n1", place, place))
    side.look()
    told = [line for line in lines() if line.startswith("certificate-ends ")]
    assert len(told) == 1
    assert "days=28" in told[0]
    assert "key=cert" in told[0]


def test_one_that_ends_later_is_not(certificates: Certificates, place: Path, lines: Callable[[], list[str]]) -> None:
    issue(certificates.home, place, "n1", ends=31 * DAY)
    side_of(certificates.files("n1", place, place)).look()
    assert not [line for line in lines() if "certificate-ends" in line]


def test_a_client_uses_changed_files_when_it_dials_and_keeps_the_old_ones_if_they_are_broken(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("coterie.client.tls.LOOK_AGAIN_AFTER", 0)
    tls = ClientTls(TlsConfig(ca=str(place / "ca.crt")))
    first = tls.context()
    assert tls.context() is first
    content = (place / "ca.crt").read_bytes()
    replace(place / "ca.crt", b"broken")
    with caplog.at_level(logging.WARNING, logger="coterie"):
        assert tls.context() is first
    assert "tls ca is" in caplog.text
    replace(place / "ca.crt", content)
    assert tls.context() is not first
