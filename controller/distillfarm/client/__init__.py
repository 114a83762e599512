"""The async Python SDK."""

from distillfarm.client.client import Client

__all__ = ["Client"]
