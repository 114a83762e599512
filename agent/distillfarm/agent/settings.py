"""How an agent is set up: who it is, whom it dials, what it may keep."""

import socket
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from distillfarm.wire.transport import ClientSecurity


class AgentSettings(BaseSettings):
    """Settings of one agent, from arguments or ``DISTILLFARM_AGENT_*``.

    ``agent_id`` names the agent across restarts. ``token`` is an enrolment token, exchanged once
    for a credential that is kept in ``state_dir``. ``ca``, ``tls_certificate`` and ``tls_key`` are
    PEM files, see ``wire.transport.ClientSecurity``. ``cache_bytes`` bounds the artifacts that are
    kept for the next job. ``gate_patience_s`` is how long a job may wait for a device to be quiet,
    cool and free; then it goes on and says so.
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

    @property
    def folder(self) -> Path:
        """What is this agent's own; a controller may share ``state_dir``."""
        return self.state_dir.resolve() / "agent"

    def security(self, credential: str = "") -> ClientSecurity:
        """How the agent proves itself to the controller."""
        return ClientSecurity(self.ca, self.tls_certificate, self.tls_key, credential)
