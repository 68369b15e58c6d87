"""Trying what must fail: probe containers made like the steps of tasks."""
