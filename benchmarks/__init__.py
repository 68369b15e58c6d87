"""Measured ratios, taken in one run against a real alternative. `make bench` runs all; results: README.md here."""
