"""Running a plan: one task from request to result, through protocols only (design.md section 5)."""

from engine.runner.task import run_task

__all__ = ["run_task"]
