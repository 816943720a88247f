"""How signed requests name a hub: by the TLS certificate that every party pins."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re

from pumasi.kernel.envelope import sha256
from pumasi.kernel.errors import Invalid

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\\s]+)-----END CERTIFICATE-----")


def hub_name(pem: str) -> str:
    """The SHA-256 of the first certificate in a hub.crt."""
    found = _CERTIFICATE.search(pem)
    with contextlib.suppress(binascii.Error):
        if found is not None:
            return sha256(base64.b64decode("".join(found[1].split()), validate=True))
    raise Invalid("hub.crt holds no certificate in PEM; copy it from the coordinating body again")
