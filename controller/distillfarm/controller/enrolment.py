"""Who may come in: enrolment by token, credentials by the digest of their secret."""

import hmac
import secrets
from collections.abc import Callable

from distillfarm.controller.settings import ControllerSettings
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.errors import InvalidRequest, PermissionDenied, Unauthenticated
from distillfarm.domain.ids import digest_bytes
from distillfarm.wire.interceptors import caller
from distillfarm.wire.transport import loopback

_OPERATOR = ("operator", "user")


class Gatekeeper:
    """Knows tokens and credentials; its methods block on the store."""

    def __init__(
        self, store: Store, settings: ControllerSettings, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._now = now
        self._enrolment = settings.enrolment_token.get_secret_value()
        self._user = settings.user_token.get_secret_value() or self._enrolment

    @property
    def asks(self) -> bool:
        """Whether callers need a credential at all."""
        return bool(self._user)

    def enrol(self, token: str, agent_id: str) -> str:
        """A new credential for an agent or a worker.

        Raises:
            InvalidRequest: no agent id.
            Unauthenticated: a wrong token, or enrolment is off.
        """
        if not agent_id.strip():
            raise InvalidRequest("enrolment: the agent's id is missing")
        if self.asks and not (self._enrolment and _same(token, self._enrolment)):
            raise Unauthenticated(
                "enrolment: the token is wrong; ask for the controller's enrolment_token"
            )
        secret = secrets.token_urlsafe(32)
        self._store.add_credential(digest_bytes(secret.encode()), agent_id, "agent", self._now())
        return secret

    def authenticate(self, secret: str) -> tuple[str, str] | None:
        """(subject, role) of a caller, or None."""
        if self._user and _same(secret, self._user):
            return _OPERATOR
        return self._store.credential(digest_bytes(secret.encode()))


def check_exposure(settings: ControllerSettings) -> None:
    """Refuse to let everybody in from other machines.

    Raises:
        InvalidRequest: an address beyond this machine, and no token.
    """
    tokens = settings.enrolment_token, settings.user_token
    if any(each.get_secret_value() for each in tokens):
        return
    for address in filter(None, (settings.listen, settings.web_listen)):
        if not loopback(address):
            raise InvalidRequest(
                f"listening on {address} would let every machine in: set enrolment_token, "
                "or listen on 127.0.0.1"
            )


def only_users() -> None:
    """Refuse agents: a secret stolen from a lab host must not start or stop work.

    Raises:
        PermissionDenied: the current call is an agent's.
    """
    who = caller()
    if who is not None and who.role == "agent":
        raise PermissionDenied(f"agent {who.subject} may only serve its devices; use a user token")


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())
