"""Hand-written stand-ins for what is outside the engine."""

from tests.fakes.memory import Behaviour, MemoryManager

__all__ = ["Behaviour", "MemoryManager"]
