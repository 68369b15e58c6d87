"""The daemon: a Koji builder on the library's own TaskManager (contract sections 1 to 3)."""
