"""How a controller is set up: where it listens, what it keeps, whom it trusts."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ControllerSettings(BaseSettings):
    """Settings of one controller, from arguments or ``DISTILLFARM_CONTROLLER_*``.

    An empty URL means a place in ``state_dir``, an empty ``web_listen`` no web pages.
    The ``tls_`` files are PEM, see ``wire.transport.ServerSecurity``.

    ``enrolment_token`` is what agents and workers exchange for a credential of their own;
    ``user_token`` is what people and pipelines send, and is the enrolment token unless it is set.
    With neither, everybody is let in, which is refused on addresses that other machines reach.

    An agent beats every ``heartbeat_s`` and is taken for gone after three silent ones; a device
    that nobody beats for is given to others after ``lease_s``. A job is tried ``max_attempts``
    times, and waits ``patience_s`` for a connected device that could run it. A device quarantines
    itself after ``max_phone_failures`` in a row by its own fault, or after ``max_harness_failures``
    by the harness' while its agent's other devices work. A model that took down ``max_fellings``
    devices is given to no other. A measurement younger than ``measurement_freshness_s`` may stand
    in for a search trial's; 0 forbids it. A compression step whose worker is silent for
    ``worker_silence_s`` is queued again. A stopping controller lets calls under way go on for
    ``grace_s``.
    """

    model_config = SettingsConfigDict(env_prefix="DISTILLFARM_CONTROLLER_", frozen=True)

    state_dir: Path = Path(".distillfarm")
    listen: str = "127.0.0.1:7543"
    web_listen: str = "127.0.0.1:7544"
    database_url: str = ""
    workflow_database_url: str = ""
    blobs_url: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    enrolment_token: SecretStr = SecretStr("")
    user_token: SecretStr = SecretStr("")
    heartbeat_s: float = Field(default=5.0, gt=0)
    lease_s: float = Field(default=30.0, gt=0)
    max_attempts: int = Field(default=3, ge=1)
    patience_s: float = Field(default=600.0, ge=0)
    max_phone_failures: int = Field(default=3, ge=1)
    max_harness_failures: int = Field(default=5, ge=1)
    max_fellings: int = Field(default=3, ge=1)
    measurement_freshness_s: float = Field(default=24 * 3600.0, ge=0)
    worker_silence_s: float = Field(default=30.0, gt=0)
    grace_s: float = Field(default=3.0, ge=0)

    @property
    def database(self) -> str:
        """The URL of the database of devices, jobs and studies."""
        return self.database_url or f"sqlite:///{self.state_dir.resolve() / 'farm.sqlite'}"

    @property
    def workflow_database(self) -> str:
        """The URL of the workflow database, which compression workers share."""
        default = f"sqlite:///{self.state_dir.resolve() / 'workflows.sqlite'}"
        return self.workflow_database_url or default

    @property
    def blobs(self) -> str:
        """Where artifacts lie: a folder or ``s3://...``."""
        return self.blobs_url or str(self.state_dir.resolve() / "blobs")
