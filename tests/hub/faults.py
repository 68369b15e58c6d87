"""Errors a hub lets through from its database: they reach a client as fault 1 with the hub's traceback."""

from __future__ import annotations

import traceback

import koji
from koji.xmlrpcplus import Fault

__all__ = ["ForeignKeyViolation", "UniqueViolation", "as_fault"]


class ForeignKeyViolation(Exception):
    def __init__(self, table: str, constraint: str, column: str, value: object, target: str) -> None:
        super().__init__(
            f'insert or update on table "{table}" violates foreign key constraint "{constraint}"\n'
            f'DETAIL:  Key ({column})=({value}) is not present in table "{target}".\n'
        )


class UniqueViolation(Exception):
    def __init__(self, constraint: str, columns: str, values: str) -> None:
        super().__init__(
            f'duplicate key value violates unique constraint "{constraint}"\n'
            f"DETAIL:  Key ({columns})=({values}) already exists.\n"
        )


# a hub's traceback names its database driver's classes; people match on the last line
ForeignKeyViolation.__module__ = UniqueViolation.__module__ = "psycopg2.errors"


def as_fault(error: Exception) -> Fault:
    """The fault a client gets for `error`: the class's code and its text, or 1 and a traceback."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, koji.GenericError):
        return Fault(error.faultCode, str(error))
    return Fault(1, "".join(traceback.format_exception(error)))
