"""Development tools of the project: the stand-in RPM world, the samples and the set-up.

Nothing in `engine` imports from here.
"""
