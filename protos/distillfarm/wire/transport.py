"""Channels and servers: addresses, TLS, credentials, keep-alive and message sizes."""

import ipaddress
import re
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from distillfarm.domain.errors import InvalidRequest, WrongState
from distillfarm.wire.interceptors import Authentication, ErrorsAndRequestIds

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>\d{1,5})")

# A long sustained run brings a million samples in one message; everything larger is a blob.
MAX_MESSAGE_BYTES = 64 * 2**20

_COMMON_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A cut cable or a NAT that forgot the connection is noticed within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
_SERVER_OPTIONS = (
    *_COMMON_OPTIONS,
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    # Otherwise a second server on the same port would silently take half of the connections.
    ("grpc.so_reuseport", 0),
)
_CHANNEL_OPTIONS = (
    *_COMMON_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


@dataclass(frozen=True)
class ServerSecurity:
    """How a server proves itself and whom it admits; all None means plaintext.

    ``certificate`` and ``key`` are PEM files and turn TLS on; ``client_ca`` asks every client for
    a certificate of that authority besides (mTLS).
    """

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


@dataclass(frozen=True)
class ClientSecurity:
    """How a client proves itself and whom it trusts; all empty means plaintext.

    ``ca`` is the PEM file of the authority that signed the server's certificate, and turns TLS
    on; ``certificate`` and ``key`` answer a server that asks for them (mTLS). ``credential`` is
    the bearer secret that every call carries.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    credential: str = ""


PLAINTEXT = ClientSecurity()
"""For servers on this machine."""


def create_server(
    address: str,
    security: ServerSecurity = ServerSecurity(),
    *,
    authenticate: Callable[[str], tuple[str, str] | None] | None = None,
    open_methods: Collection[str] = (),
) -> tuple[grpc.aio.Server, str]:
    """A server bound to ``address``, to which services are added before ``start()``.

    Returns:
        The server and its address, with the port that the system chose for port 0.

    Raises:
        InvalidRequest: a malformed address, or unusable TLS files.
        WrongState: the address cannot be bound.
    """
    host, port = parse_address(address)
    interceptors: list[Any] = [ErrorsAndRequestIds()]
    if authenticate is not None:
        interceptors.append(Authentication(authenticate, open_methods))
    server = grpc.aio.server(interceptors=interceptors, options=_SERVER_OPTIONS)
    credentials = _server_credentials(security)
    try:
        if credentials is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise WrongState(
            f"cannot listen on {address}: {error}; is another server on port {port}?"
        ) from error
    return server, f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"


def create_channel(address: str, security: ClientSecurity = PLAINTEXT) -> grpc.aio.Channel:
    """A channel to ``address``; it connects by itself, and again after every loss.

    Raises:
        InvalidRequest: a malformed address, unusable TLS files, or a credential that would travel
            readable to another machine.
    """
    credentials = _channel_credentials(address, security)
    options = _channel_options(address)
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, options)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options)
    metadata = call_metadata(security)
    return _ChannelWithMetadata(channel, metadata) if metadata else channel


def create_blocking_channel(address: str, security: ClientSecurity = PLAINTEXT) -> grpc.Channel:
    """Like ``create_channel``, for threads; its calls must pass ``call_metadata`` themselves."""
    credentials = _channel_credentials(address, security)
    options = _channel_options(address)
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)


def call_metadata(security: ClientSecurity) -> tuple[tuple[str, str], ...]:
    """What every call carries to prove who makes it."""
    if not security.credential:
        return ()
    return (("authorization", f"Bearer {security.credential}"),)


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[IPV6]:PORT``.

    Raises:
        InvalidRequest: anything else.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65_535:  # noqa: PLR2004 - the largest port
        raise InvalidRequest(f"address {address!r}: write HOST:PORT, for example 127.0.0.1:7543")
    return match["v6"] or match["host"], int(match["port"])


def loopback(address: str) -> bool:
    """Whether ``address`` stays on this machine."""
    host, _ = parse_address(address)
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _server_credentials(security: ServerSecurity) -> grpc.ServerCredentials | None:
    if security.certificate is None and security.key is None:
        if security.client_ca is not None:
            raise InvalidRequest(
                "TLS: a client authority needs the server's own certificate and key too"
            )
        return None
    pair = _key_pair(security.certificate, security.key)
    authority = _authority(security.client_ca)
    return grpc.ssl_server_credentials(
        [pair], root_certificates=authority, require_client_auth=authority is not None
    )


def _channel_credentials(address: str, security: ClientSecurity) -> grpc.ChannelCredentials | None:
    on_this_machine = loopback(address)
    if security.ca is None:
        if security.certificate is not None or security.key is not None:
            raise InvalidRequest("TLS: a client certificate needs the server's authority (ca) too")
        if security.credential and not on_this_machine:
            raise InvalidRequest(
                f"refusing to send a credential readable over the network to {address}; "
                "name the file of the server's certificate authority (ca) to use TLS"
            )
        return None
    if security.certificate is None and security.key is None:
        return grpc.ssl_channel_credentials(_authority(security.ca))
    key, certificate = _key_pair(security.certificate, security.key)
    return grpc.ssl_channel_credentials(_authority(security.ca), key, certificate)


def _channel_options(address: str) -> tuple[tuple[str, int], ...]:
    # A proxy named in the environment is for other machines, never for this one.
    return (*_CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0 if loopback(address) else 1))


def _key_pair(certificate: Path | None, key: Path | None) -> tuple[bytes, bytes]:
    """(key, certificate chain) as PEM, checked to belong together."""
    if certificate is None or key is None:
        missing = "certificate" if certificate is None else "key"
        raise InvalidRequest(f"TLS: the {missing} is missing; name both certificate and key")
    pair = _pem("key", key), _pem("certificate", certificate)
    try:
        # An encrypted key fails with this password, where otherwise a terminal would be asked.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise InvalidRequest(
            f"TLS: certificate {certificate} and key {key} do not fit together ({error}); "
            "both must be PEM, the key unencrypted and the certificate's own"
        ) from error
    return pair


def _authority(path: Path | None) -> bytes | None:
    if path is None:
        return None
    content = _pem("certificate authority", path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise InvalidRequest(
            f"TLS: certificate authority {path} is no PEM certificate ({error})"
        ) from error
    return content


def _pem(what: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"TLS: {what} {path} cannot be read: {error.strerror}") from error


class _ChannelWithMetadata(grpc.aio.Channel):
    """A channel whose every call carries the same metadata.

    gRPC's call credentials would do so over TLS only, and its client interceptors put a queue and
    a task between a stream and its user.
    """

    def __init__(self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel = channel
        self._metadata = metadata

    def _with_metadata(self, call: Callable[..., Any]) -> Any:
        def carrying(*arguments: Any, metadata: Any = None, **settings: Any) -> Any:
            return call(*arguments, metadata=(*(metadata or ()), *self._metadata), **settings)

        return carrying

    def unary_unary(self, *arguments: Any, **settings: Any) -> Any:
        return self._with_metadata(self._channel.unary_unary(*arguments, **settings))

    def unary_stream(self, *arguments: Any, **settings: Any) -> Any:
        return self._with_metadata(self._channel.unary_stream(*arguments, **settings))

    def stream_unary(self, *arguments: Any, **settings: Any) -> Any:
        return self._with_metadata(self._channel.stream_unary(*arguments, **settings))

    def stream_stream(self, *arguments: Any, **settings: Any) -> Any:
        return self._with_metadata(self._channel.stream_stream(*arguments, **settings))

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    async def __aenter__(self) -> "_ChannelWithMetadata":
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> bool | None:
        return await self._channel.__aexit__(*details)
