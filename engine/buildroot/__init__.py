"""Roots that hold exactly the packages of a tag's repo, warm: made once, found again by their content.

Called between gathering facts and rendering, by `engine run` and by the worker::

    from engine.buildroot import SnapshotLimits, open_roots

    with open_roots(facts.settings, manager) as roots:          # one per process; threads may share it
        with roots.prepare(recipe, request, facts, progress=print, cancelled=cancelled) as root:
            plan = render(recipe, request, root.facts)          # facts.buildroot.image names the snapshot
            outcome = run_task(plan, manager=root.manager, ...) # hands over the root that was just made
            root.succeeded()                                    # only after success: remember its build requirements
            outcome = evolve(outcome, buildroot=root.report)
        roots.upkeep()                                          # when idle: sweep, LRU limits

`root.report` is a `BuildrootReport` (None when the recipe has no buildroot of mode ``repo``: then `root.facts` and
`root.manager` are those given). Leaving the inner block lets go of the snapshot, so that it may be pruned; it waits until
a snapshot that is being stored has been stored.

Raises `InfrastructureError` (repo gone or half-written, corrupt package, disk full, podman),
`TaskFailed("BuildrootError")` (no such group, the group cannot be installed; dnf's own words), `BadInput` (no repo
given), `Interrupted`.
"""
