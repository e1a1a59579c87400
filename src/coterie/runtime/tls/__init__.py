"""TLS for clients and members: which files, what is checked, and who gets in. docs/tls.md tells it to users.

All cryptography is OpenSSL's, through `ssl` and the event loop; certificates are read with `cryptography`.
"""
