"""Koji Adjutant: a Koji builder whose task types are TOML recipes."""
