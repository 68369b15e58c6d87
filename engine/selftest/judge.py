"""From what the probe program printed to results. Pure."""

from __future__ import annotations

from engine.core.health import CheckResult, ok, problem, unknown, warning

_LIMITS = {"limit_pids", "limit_memory"}
_MEMORY = "limit_memory"
_NOTES = {"user_namespace": "where no package needs them: sysctl user.max_user_namespaces=0 (rootful podman only)"}
_NOT_BOUND = "limits do not bind here: use cgroup v2 and delegate cpu, memory and pids to the user (docs/host.md)"


def judge(step: str, output: str, ended: str, *, memory_binds: bool = True) -> list[CheckResult]:
    """One result per probe of `step`; `ended` says how its container ended when it was not well, else "".

    A step whose probes did not all report is a problem: what was not tried is not known to hold. `memory_binds`
    False says that no cgroup of this host binds it: then it is a warning. A limit on processes must bind everywhere.
    """
    results: list[CheckResult] = []
    complete, lines = False, 0
    for line in output.splitlines():
        words = line.split(" ", 3)
        if len(words) < 3 or words[0] != "probe":
            continue
        name, verdict, detail = words[1], words[2], words[3] if len(words) > 3 else ""
        if name == "end":
            complete = detail == str(lines)
            continue
        lines += 1
        if verdict == "none":
            continue
        key = f"selftest.{step}.{name}"
        if verdict == "held":
            results.append(ok(key, detail))
        elif verdict == "unsure":
            results.append(unknown(key, f"could not be tried: {detail}"))
        elif verdict == "noted":
            results.append(warning(key, detail, _NOTES.get(name, "")))
        elif name == _MEMORY and not memory_binds:
            results.append(warning(key, detail, _NOT_BOUND))
        else:
            cure = _NOT_BOUND if name in _LIMITS else "do not run tasks on this host; check podman, runtime and kernel"
            results.append(problem(key, detail, cure))
    if not complete:
        why = ended or "the probe program did not reach its end"
        last = output.strip().splitlines()[-1:] or ["no output"]
        results.append(problem(f"selftest.{step}", f"{why}; last output: {last[0][:300]}", "see the error; try again"))
    return results
