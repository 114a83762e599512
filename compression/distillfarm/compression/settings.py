"""How a compression worker is set up: who it is, where it finds work and files, what it may use."""

import socket
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from distillfarm.sandbox.limits import GIB, Limits
from distillfarm.wire.transport import ClientSecurity


class WorkerSettings(BaseSettings):
    """Settings of one worker, from arguments or ``DISTILLFARM_WORKER_*``.

    ``name`` is who holds work in the workflow database: keep it across restarts, so that a worker
    that was killed goes on with what it had begun. An empty URL means a place in ``state_dir``,
    the same that a controller with this ``state_dir`` uses. ``token`` and the ``tls_`` files
    (PEM) are for blobs at ``grpc://``. ``concurrency`` steps run at once.
    """

    model_config = SettingsConfigDict(env_prefix="DISTILLFARM_WORKER_", frozen=True)

    name: str = Field(default_factory=lambda: f"worker-{socket.gethostname()}")
    state_dir: Path = Path(".distillfarm")
    workflow_database_url: str = ""
    blobs_url: str = ""
    token: SecretStr = SecretStr("")
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    memory_bytes: int = 8 * GIB
    wall_s: float = 1800.0
    disk_bytes: int = 8 * GIB
    threads: int = 1
    concurrency: int = 1

    @property
    def limits(self) -> Limits:
        """What one step may use."""
        return Limits(
            memory_bytes=self.memory_bytes, wall_s=self.wall_s, disk_bytes=self.disk_bytes
        )

    @property
    def security(self) -> ClientSecurity:
        """How to speak to a controller that holds the blobs."""
        return ClientSecurity(
            self.tls_ca, self.tls_certificate, self.tls_key, self.token.get_secret_value()
        )

    @property
    def workflow_database(self) -> str:
        """The URL of the workflow database that the controller queues work in."""
        default = f"sqlite:///{self.state_dir.resolve() / 'workflows.sqlite'}"
        return self.workflow_database_url or default

    @property
    def blobs(self) -> str:
        """Where artifacts lie: a folder, ``s3://...`` or ``grpc://host:port``."""
        return self.blobs_url or str(self.state_dir.resolve() / "blobs")
