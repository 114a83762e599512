"""How an agent is set up: who it is, whom it dials, what it may keep."""

import os
import socket
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from distillfarm.wire.transport import ClientSecurity


def _adb_port() -> int:
    return int(os.environ.get("ANDROID_ADB_SERVER_PORT", "5037"))


class AgentSettings(BaseSettings):
    """Settings of one agent, from arguments or ``DISTILLFARM_AGENT_*``.

    ``agent_id`` names the agent across restarts. ``token`` is an enrolment token, exchanged once
    for a credential that is kept in ``state_dir``. ``ca``, ``tls_certificate`` and ``tls_key`` are
    PEM files, see ``wire.transport.ClientSecurity``. ``cache_bytes`` bounds the artifacts that are
    kept for the next job. ``gate_patience_s`` is how long a job may wait for a device to be quiet,
    cool and free; then it goes on and says so. ``runtimes_dir`` holds what phones run; several
    agents may share one, and without it the agent has its own. ``host_targets`` are more targets
    that this computer itself is tried for: ``coreai/cpu_only``, for its outputs alone.

    For Android phones: ``adb_port`` is where the adb server listens, by default as adb itself has
    it; ``adb_start`` whether to start one where none runs; ``adb_addresses`` are the ``HOST:PORT``
    of phones on the network. ``link_patience_s`` is how long a phone may be away in mid-job,
    ``phone_patience_s`` how long a launch may wait for one to cool down. ``revive_command`` brings
    back a phone that stays away, ``{serial}`` in it standing for which: such as ``uhubctl`` with
    the port of its hub. ``external_meters`` are instruments outside of the devices: by a device's
    serial, the command line of a program that prints readings (see ``meters.external``) or the name
    of an entry point in ``distillfarm.meters``.

    For iPhones: ``iphone_app`` is the signed .ipa of the app that measures, installed where a phone
    has another build; without it the app must be there. ``iphone_supervisor`` is the identity that
    supervises the lab's phones, a .p12 or PEM file: by it they trust this computer without a tap.
    ``iphone_supervisor_password_file`` holds its password. The patiences hold for them, too.
    """

    model_config = SettingsConfigDict(env_prefix="DISTILLFARM_AGENT_", frozen=True)

    controller: str = "127.0.0.1:7543"
    agent_id: str = Field(default_factory=socket.gethostname, min_length=1)
    state_dir: Path = Path(".distillfarm")
    token: str = ""
    ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    cache_bytes: int = Field(default=4 * 2**30, gt=0)
    gate_patience_s: float = Field(default=10.0, ge=0.0)
    runtimes_dir: Path | None = None
    host_targets: tuple[str, ...] = ()
    adb_port: int = Field(default_factory=_adb_port, gt=0, lt=65536)
    adb_start: bool = True
    adb_addresses: tuple[str, ...] = ()
    link_patience_s: float = Field(default=60.0, ge=0.0)
    phone_patience_s: float = Field(default=300.0, ge=0.0)
    iphone_app: Path | None = None
    iphone_supervisor: Path | None = None
    iphone_supervisor_password_file: Path | None = None
    revive_command: str = ""
    external_meters: dict[str, str] = Field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """What is this agent's own; a controller may share ``state_dir``."""
        return self.state_dir.resolve() / "agent"

    @property
    def runtimes(self) -> Path:
        """The folder of programs and runtimes for phones, see ``phone_runtimes``."""
        return self.runtimes_dir.resolve() if self.runtimes_dir else self.folder / "runtimes"

    def security(self, credential: str = "") -> ClientSecurity:
        """How the agent proves itself to the controller."""
        return ClientSecurity(self.ca, self.tls_certificate, self.tls_key, credential)
