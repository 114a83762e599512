"""Who may read the pages: holders of a user's credential, or this computer where there is none."""

from collections.abc import Callable

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Authenticate = Callable[[str], tuple[str, str] | None]

COOKIE = "distillfarm_credential"
OPEN_PATHS = frozenset({"/healthz", "/sign-in", "/static/style.css"})

# What every answer carries: nothing may be loaded, framed, sniffed, kept or told to other sites.
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Headers:
    """Adds the protecting headers to every answer that does not set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                present = {name.lower() for name, _ in headers}
                headers += [each for each in HEADERS if each[0] not in present]
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, send_with_headers)


def credential(request: Request) -> str:
    """The secret that a request carries, as a bearer or as the cookie of a sign-in; or nothing."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    return request.cookies.get(COOKIE, "")


def admits(authenticate: Authenticate, secret: str) -> bool:
    """Whether a secret belongs to a person or pipeline; agents and workers read no pages."""
    known = authenticate(secret) if secret else None
    return known is not None and known[1] == "user"
