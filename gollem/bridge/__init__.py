"""The one door for HTTP: webhooks of the payment provider, the dashboard's pages, health."""

from gollem.bridge.pages import dashboard
from gollem.bridge.server import Bridge

__all__ = ["Bridge", "dashboard"]
