"""A stand-in lab behind the client, and a way to run commands against it."""

from pathlib import Path

import pytest
from cli_lab import Lab, Run, StandinClient
from farm_samples import device_info
from typer.testing import CliRunner, Result

from distillfarm.cli.main import app
from distillfarm.domain.hardware import Device, DeviceStatus


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab with one phone behind the client that commands use."""
    StandinClient.lab = Lab([Device("device-1", "agent-1", device_info(), DeviceStatus.IDLE, 1e9)])
    monkeypatch.setattr("distillfarm.client.Client", StandinClient, raising=False)
    return StandinClient.lab


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command line in an empty folder, as if a controller had been named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISTILLFARM_CONTROLLER", "127.0.0.1:1")
    # Test processes that run side by side inherit the terminal's width; a pipe has none.
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), prog_name="distillfarm")

    return run
