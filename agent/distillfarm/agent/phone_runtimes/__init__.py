"""Programs and runtimes that phones and boards run, kept on the agent's computer.

An operator's command puts them there, with their origin and digests; measuring needs no network.
"""

from distillfarm.agent.phone_runtimes.catalog import Flavour
from distillfarm.agent.phone_runtimes.records import PhoneRuntime
from distillfarm.agent.phone_runtimes.store import RuntimeStore

__all__ = ["Flavour", "PhoneRuntime", "RuntimeStore"]
