"""OpenGRIS Scaler: it has the same API."""

from __future__ import annotations

from systems import scaler


class Adapter(scaler.Adapter):
    pass
