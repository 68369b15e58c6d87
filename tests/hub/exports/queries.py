"""What list calls share: order, offset, limit, counting; clauses of scheduler and repo queries."""

from __future__ import annotations

from typing import Any

import koji

__all__ = ["matching", "page"]


def page(rows: list[dict[str, Any]], opts: dict[str, Any] | None) -> Any:
    """`rows` as queryOpts ask for them: order ("-id,name"), offset, limit, countOnly."""
    opts = opts or {}
    for name in reversed([part for part in (opts.get("order") or "").split(",") if part]):
        field = name.lstrip("-")
        rows = sorted(rows, key=lambda row: (row.get(field) is not None, row.get(field)), reverse=name.startswith("-"))
    if opts.get("countOnly"):
        return len(rows)
    start = opts.get("offset") or 0
    stop = None if opts.get("limit") is None else start + opts["limit"]
    return rows[start:stop]


def matching(rows: list[dict[str, Any]], clauses: list[list[Any]] | None) -> list[dict[str, Any]]:
    """Rows that satisfy every clause: [field, value] or [field, operator, value]."""
    return [row for row in rows if all(_holds(row, clause) for clause in clauses or [])]


def _holds(row: dict[str, Any], clause: list[Any]) -> bool:
    name, operator, wanted = clause if len(clause) == 3 else (clause[0], "=", clause[1])
    have = row[name]
    answers = {
        "=": have == wanted,
        "!=": have != wanted,
        "IS": have is wanted,
        "IS NOT": have is not wanted,
        "IN": isinstance(wanted, list) and have in wanted,
    }
    if operator in answers:
        return bool(answers[operator])
    if operator in {"<", "<=", ">", ">="} and have is not None:
        ordered = {"<": have < wanted, "<=": have <= wanted, ">": have > wanted, ">=": have >= wanted}
        return bool(ordered[operator])
    msg = f"Invalid operator: {operator}"
    raise koji.ParameterError(msg)
