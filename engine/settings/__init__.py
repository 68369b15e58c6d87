"""Effective settings and where each came from: command line > environment > worker.toml > kojid.conf > default."""

from engine.settings.effective import Effective, Loaded, load_settings

__all__ = ["Effective", "Loaded", "load_settings"]
