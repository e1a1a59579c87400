"""What a failed handshake means, in words for people: OpenSSL says it in its own, and mostly to one side only."""

from __future__ import annotations

import ssl

_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL", "BAD_RECORD_TYPE"}
)
_VERSIONS = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"})
_NO_CERTIFICATE = frozenset({"PEER_DID_NOT_RETURN_A_CERTIFICATE", "TLSV13_ALERT_CERTIFICATE_REQUIRED"})
_REFUSED_OURS = frozenset(
    {
        "TLSV1_ALERT_UNKNOWN_CA",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_DECRYPT_ERROR",
    }
)
_HUNG_UP = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""What comes of it depends on how much the other had read, and on Python's release."""
_EXPIRED, _NOT_YET, _HOST, _ADDRESS = 10, 9, 62, 64
_UNKNOWN_CA = frozenset({2, 18, 19, 20, 21})
"""`X509_V_ERR_*` of OpenSSL's x509_vfy.h."""


def refusal(error: BaseException) -> str:
    """Why a connection that was taken had no handshake, said of the one who dialled."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {_certificate(error)}"
    reason = _reason(error)
    if reason in _NOT_TLS:
        return "it speaks plain text, this port speaks TLS: it must be told so, with the CA's file"
    if reason in _NO_CERTIFICATE:
        return "it showed no certificate, this port asks for one: it needs a certificate of the CA and its key"
    if reason in _VERSIONS:
        return "it offers no version of TLS that this side takes: see tls_min_version"
    if reason in _REFUSED_OURS:
        return "it does not trust the certificate of this node: it must be given the CA's file"
    if "taking longer" in str(error) or isinstance(error, TimeoutError):
        return "no whole TLS handshake in time"
    if isinstance(error, _HUNG_UP) or reason == "UNEXPECTED_EOF_WHILE_READING":
        return "it hung up in the TLS handshake: perhaps it does not trust this node's certificate, or only knocked"
    return f"the TLS handshake failed: {_plain(error)}"


def dialled(error: BaseException) -> str:
    """Why dialling with TLS came to nothing, said of the one who was dialled."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {_certificate(error)}"
    reason = _reason(error)
    if reason in _NOT_TLS:
        return "it does not speak TLS on this port: dial it without, or set its certificates"
    if reason in _NO_CERTIFICATE:
        return "it asks for a certificate, and none was shown: give one of its CA, and its key"
    if reason in _VERSIONS:
        return "it takes no version of TLS that this side offers: see tls_min_version"
    if reason in _REFUSED_OURS:
        return "it does not trust the certificate that it was shown: give one of its CA"
    if reason == "SSLV3_ALERT_CERTIFICATE_EXPIRED":
        return "the certificate that it was shown has expired: renew it"
    if "taking longer" in str(error) or isinstance(error, TimeoutError):
        return "no whole TLS handshake in time"
    if isinstance(error, _HUNG_UP) or reason == "UNEXPECTED_EOF_WHILE_READING":
        return (
            "it hung up in the handshake: its port may speak plain text, it may take no version of TLS that was "
            "offered, or not trust the certificate that it was shown; its log says which"
        )
    return f"the TLS handshake failed: {_plain(error)}"


def alerted(error: BaseException | None) -> bool:
    """Whether the other said in TLS what is wrong, and `dialled` tells it."""
    return isinstance(error, ssl.SSLError) and "ALERT" in _reason(error)


def hung_up(*, tls: bool, shown: bool) -> str:
    """Why a connection may have closed before the other said a word. In TLS 1.3 the dialler has done its part before
    its certificate is looked at, and the event loop's TLS does not tell it what was wrong with it."""
    if not tls:
        return "the member closed it before it had greeted: if its port speaks TLS, the CA's file must be given"
    if not shown:
        return "the member closed it after the TLS handshake: it may ask for a client's certificate, and none was given"
    return (
        "the member closed it after the TLS handshake: it may not trust the certificate that it was shown (of another "
        "CA, expired, or not for a client); its log says why"
    )


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    code: int = error.verify_code
    if code == _EXPIRED:
        return "it has expired: renew it there (or is a clock wrong?)"
    if code == _NOT_YET:
        return "it is not valid yet: is a clock wrong?"
    if code in _UNKNOWN_CA:
        return "another CA made it than the one that is trusted here: give the CA's file that made it"
    if code in (_HOST, _ADDRESS):
        return f"{error.verify_message.rstrip('.')}: dial a name that stands in it, or have it made for this one, too"
    return error.verify_message


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", None) or "") if isinstance(error, ssl.SSLError) else ""


def _plain(error: BaseException) -> str:
    reason = _reason(error)
    return reason.lower().replace("_", " ") if reason else str(error) or type(error).__name__
