"""The stand-in RPM world: Debian packages turned into RPMs, with a dnf repository and comps groups.

It exists so that demo and tests run real `dnf`, `rpmbuild` and `createrepo_c` on machines that reach no
RPM distribution. What it holds is in `catalog.toml`; `python -m tools.miniworld` makes it.

Reading order: catalog (what), debs (fetch), staging (unpack), provides, rpms (one deb -> one RPM),
metadata (index), world (all of it, in the cache), roots and images (containers from it).
"""
