"""The edges: each module talks to exactly one outside thing."""
