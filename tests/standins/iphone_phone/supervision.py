"""Trust without a tap: a supervised phone's challenge, and the answer that its supervisor signs.

The messages are those of public clients (pymobiledevice3, go-ios): an offered certificate is met by
``MCChallengeRequired``, the signed challenge (PKCS #7, RFC 2315) by the phone's trust.
"""

import secrets

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from iphone_phone.wire import Plist

_CHALLENGE_BYTES = 32


class Supervision:
    """What one connection to lockdownd has asked of a supervisor."""

    def __init__(self) -> None:
        self._challenge = b""

    def answer(self, options: Plist, supervisor_pem: str) -> Plist | None:
        """What is answered to a request to pair; None where this is no supervisor's.

        An answer without ``Error`` means that the computer is trusted.
        """
        if not supervisor_pem:
            return None
        certificate = x509.load_pem_x509_certificate(supervisor_pem.encode())
        offered = options.get("SupervisorCertificate")
        if offered == certificate.public_bytes(serialization.Encoding.DER):
            self._challenge = secrets.token_bytes(_CHALLENGE_BYTES)
            told = {"PairingChallenge": self._challenge}
            return {"Error": "MCChallengeRequired", "ExtendedResponse": told}
        response = options.get("ChallengeResponse")
        if response is None:
            return None
        challenge, self._challenge = self._challenge, b""
        if challenge and _signed(response, challenge, certificate):
            return {}
        return {"Error": "MCChallengeResponseInvalid"}


def _signed(response: bytes, challenge: bytes, certificate: x509.Certificate) -> bool:
    """Whether the certificate's owner signed just this."""
    data = cms.ContentInfo.load(response)["content"]
    if data["encap_content_info"]["content"].native != challenge:
        return False
    (signer,) = data["signer_infos"]
    # What is signed is the set of attributes, under its own tag, and the digest is one of them.
    attributes = signer["signed_attrs"].untag()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(challenge)
    told = {each["type"].native: each["values"][0].native for each in attributes}
    key = certificate.public_key()
    assert isinstance(key, RSAPublicKey)
    try:
        key.verify(
            signer["signature"].native, attributes.dump(), padding.PKCS1v15(), hashes.SHA256()
        )
    except InvalidSignature:
        return False
    return bool(told["message_digest"] == digest.finalize())
