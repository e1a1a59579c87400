"""The files of TLS: each that cannot be used is named, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.certificates import DAY, Certificates, issue

from coterie.client.tls import ClientTls, TlsConfig
from coterie.core.errors import ConfigurationError
from coterie.runtime.configuration import NodeConfiguration, configure
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.files import TlsFiles, examine
from coterie.runtime.tls.node_tls import NodeTls


def test_a_good_pair_is_taken_and_the_ends_are_told(certificates: Certificates) -> None:
    found = examine(certificates.files("n1"), member="n1", client=True)
    assert [label for label, _, _ in found.ends] == ["cert", "ca"]
    assert found.hints == ()


def test_a_file_that_is_missing_empty_or_no_pem_is_named(certificates: Certificates, tmp_path: Path) -> None:
    good = certificates.files("n1")
    (tmp_path / "empty").touch()
    for field in ("cert", "key", "ca"):
        for path, problem in (
            (tmp_path / "none", "cannot be read: No such file"),
            (tmp_path / "empty", "must hold a PEM"),
        ):
            with pytest.raises(ConfigurationError, match=f"^{field} is '{path}': it {problem}"):
                examine(msgspec.structs.replace(good, **{field: str(path)}))


def test_a_key_of_another_certificate_is_named(certificates: Certificates) -> None:
    mixed = msgspec.structs.replace(certificates.files("n1"), key=str(certificates.home / "n2.key"))
    with pytest.raises(ConfigurationError, match="does not belong to the certificate in cert"):
        examine(mixed)


def test_a_certificate_out_of_time_is_named_with_what_to_do(certificates: Certificates, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"it expired on .*: renew it"):
        examine(certificates.files("n1", certificates.expired))
    issue(certificates.home, tmp_path, "n1", begins=DAY, ends=2 * DAY)
    with pytest.raises(ConfigurationError, match="is this machine's clock right"):
        examine(certificates.files("n1", tmp_path))


def test_a_members_certificate_must_carry_its_name(certificates: Certificates) -> None:
    with pytest.raises(ConfigurationError, match=r"it is not n2's: .* must be 'n2'; it has: n1, localhost"):
        examine(certificates.files("n1"), member="n2")


def test_a_clients_certificate_is_not_taken_for_a_server(certificates: Certificates) -> None:
    with pytest.raises(ConfigurationError, match="extended key usage must have serverAuth"):
        examine(certificates.files("client"))


def test_a_key_that_everybody_may_read_is_hinted_at(certificates: Certificates, tmp_path: Path) -> None:
    for end in ("crt", "key"):
        (tmp_path / f"n1.{end}").write_bytes((certificates.home / f"n1.{end}").read_bytes())
    (tmp_path / "n1.key").chmod(0o644)
    (hint,) = examine(certificates.files("n1", tmp_path)).hints
    assert "chmod 600" in hint


SIDES = {"client_cert": "a", "client_key": "b", "peer_cert": "c", "peer_key": "d", "peer_ca": "e"}


@pytest.mark.parametrize("missing", SIDES)
def test_a_side_has_all_its_files_or_none(missing: str) -> None:
    keys: dict[str, Any] = {**SIDES, missing: ""}
    with pytest.raises(ConfigurationError, match=f"^{missing} is '': with .* it must name a file, too"):
        NodeConfiguration(name="n1", data="x", **keys)


def test_a_ca_alone_is_half_a_side() -> None:
    with pytest.raises(ConfigurationError, match=r"^client_cert is '': with client_ca"):
        NodeConfiguration(name="n1", data="x", client_ca="ca")


def test_the_oldest_version_is_1_2_or_1_3_and_nothing_below() -> None:
    assert (
        configure(environment={}, flags={"name": "n", "data": "d", "tls_min_version": "1.2"}).tls_min_version == "1.2"
    )
    with pytest.raises(ConfigurationError, match=r"tls_min_version is '1\.1': it must be one of: 1\.2, 1\.3"):
        configure(environment={"COTERIE_TLS_MIN_VERSION": "1.1"}, flags={"name": "n", "data": "d"})


def test_the_clients_variables_are_no_keys_of_a_node() -> None:
    environment = {"COTERIE_CACERT": "a", "COTERIE_CERT": "b", "COTERIE_KEY": "c"}
    assert configure(environment=environment, flags={"name": "n", "data": "d"}).client_cert == ""


def test_errors_name_the_nodes_own_keys(certificates: Certificates) -> None:
    files = certificates.files("n2")
    config = NodeConfiguration(name="n1", data="x", peer_cert=files.cert, peer_key=files.key, peer_ca=files.ca)
    with pytest.raises(ConfigurationError, match=r"^peer_cert is .*: it is not n1's"):
        NodeTls(config, Lines("n1"))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"cert": "a"}, "tls key is '': with cert"),
        ({"key": "a"}, "tls cert is '': with key"),
        ({"min_version": "1.0"}, "tls min_version is '1.0'"),
        ({"ca": 7}, "tls ca is 7: it must be text"),
    ],
)
def test_a_clients_configuration_names_what_is_wrong(fields: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        TlsConfig(**fields)


def test_a_client_is_told_of_a_file_that_cannot_be_used_when_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^tls ca is .*none': it cannot be read"):
        ClientTls(TlsConfig(ca=str(tmp_path / "none")))


def test_without_keys_no_side_speaks_tls() -> None:
    tls = NodeTls(NodeConfiguration(name="n1", data="x"), Lines("n1"))
    assert (tls.clients, tls.members, tls.sides) == (None, None, ())
    assert TlsFiles().paths == ()
