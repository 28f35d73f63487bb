"""Exit codes, and errors as people and programs read them. Both are API: docs/cli.md has the table."""

import json
import os
from enum import IntEnum

import click

from artifactstore import errors
from artifactstore.cli.output import json_path, json_text, printable

_SHOWN_PATHS = 10
_LONGEST_LINE = 2000


class ExitCode(IntEnum):
    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    CORRUPT = 5
    STORAGE = 6
    UNKNOWN_COMMIT = 7
    UNSUPPORTED = 8
    INTERRUPTED = 130
    TERMINATED = 143


# The first match counts, so that a kind stands before those it derives from.
_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (errors.SourceNotFound, ExitCode.USAGE),
    (errors.ConfigurationError, ExitCode.USAGE),
    (errors.InvalidName, ExitCode.USAGE),
    (errors.InvalidExpression, ExitCode.USAGE),
    (errors.LockFileError, ExitCode.USAGE),
    (errors.SyncPlanError, ExitCode.USAGE),
    (errors.ReferenceNotAllowed, ExitCode.USAGE),
    (errors.InvalidMetadata, ExitCode.USAGE),
    (click.ClickException, ExitCode.USAGE),
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.Conflict, ExitCode.CONFLICT),
    (errors.CorruptData, ExitCode.CORRUPT),
    (errors.UnsafeManifest, ExitCode.CORRUPT),
    (errors.BackendError, ExitCode.STORAGE),
    (errors.CommitStateUnknown, ExitCode.UNKNOWN_COMMIT),
    (errors.UnsupportedFormat, ExitCode.UNSUPPORTED),
)

_INTERNAL_SAFE = "Stored versions are not affected: nothing in a store is ever overwritten."
_INTERNAL_NEXT = "This is a fault in artifactstore: run again with -vv, and report what it prints."


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code for ``error``; `ExitCode.FAILURE` for all without a code of their own."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILURE)


def as_store_error(error: Exception) -> errors.ArtifactStoreError:
    """``error`` in the four parts every message has: what, where, whether data is safe, what to do next."""
    if isinstance(error, errors.ArtifactStoreError):
        return error
    nothing_done = "Nothing was done."
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        command = context.command_path if isinstance(context, click.Context) else "artifactstore"
        what = error.format_message().rstrip(".")
        return errors.ArtifactStoreError(what, data_safe=nothing_done, next_step=f"See `{command} --help`.")
    if isinstance(error, errors.InvalidName):
        return errors.ArtifactStoreError(str(error), data_safe=nothing_done, next_step="Correct the name.")
    if isinstance(error, errors.InvalidMetadata):
        return errors.ArtifactStoreError(str(error), data_safe=nothing_done, next_step="Correct it, and run it again.")
    if isinstance(error, errors.InvalidExpression):
        next_step = "Correct the condition (docs/find.md has the grammar)."
        return errors.ArtifactStoreError(str(error), data_safe=nothing_done, next_step=next_step)
    if isinstance(error, OSError):
        where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        return errors.ArtifactStoreError(error.strerror or str(error), where=where, data_safe=_INTERNAL_SAFE)
    if isinstance(error, MemoryError):
        return errors.ArtifactStoreError(
            "out of memory", data_safe=_INTERNAL_SAFE, next_step="Run again with a lower --max-memory or -j."
        )
    what = f"internal error: {type(error).__name__}: {error}"
    return errors.ArtifactStoreError(what, data_safe=_INTERNAL_SAFE, next_step=_INTERNAL_NEXT)


def error_text(error: Exception, *, label: str) -> str:
    """The error as it is printed: one line, and under it the paths in conflict, if there are some."""
    lines = [f"{label} {_shortened(printable(str(as_store_error(error))))}"]
    paths = error.paths if isinstance(error, errors.DownloadConflict | errors.PlanOutdated) else ()
    lines += [f"  {printable(os.fsdecode(path))}" for path in paths[:_SHOWN_PATHS]]
    if len(paths) > _SHOWN_PATHS:
        lines.append(f"  … and {len(paths) - _SHOWN_PATHS} more")
    return "\n".join(lines)


def _shortened(text: str) -> str:
    # A path may have 65,535 bytes: its end is what tells it from others. The JSON has all of it.
    return text if len(text) <= _LONGEST_LINE else f"{text[: _LONGEST_LINE // 2]} … {text[-_LONGEST_LINE // 2 :]}"


def error_document(error: Exception) -> str:
    """The error as one line of JSON (schema ``artifactstore/error/1``)."""
    known = as_store_error(error)
    code = exit_code_of(error)
    body: dict[str, object] = {
        "kind": "UsageError" if isinstance(error, click.ClickException) else type(error).__name__,
        "exit_code": int(code),
        "what": known.what,
        "where": known.where,
        "data_safe": known.data_safe,
        "next_step": known.next_step,
    }
    if isinstance(error, errors.PlanOutdated):
        body["side"] = error.side
    if isinstance(error, errors.DownloadConflict | errors.PlanOutdated):
        body["paths"] = [json_path(path) for path in error.paths]
    if isinstance(error, errors.AliasProtected):
        body["aliases"] = list(error.aliases)
    if isinstance(error, errors.VersionExpired):
        body |= {"version": error.version, "expires": error.expires}
    if isinstance(error, errors.ReferenceChanged):
        body |= {"old": error.old, "new": error.new}
    if isinstance(error, errors.CorruptData):
        body |= {"key": error.key, "byte_range": error.byte_range, "versions": list(error.versions)}
    # Arguments that are not UTF-8 come in as lone surrogates, which JSON readers refuse.
    return json.dumps({"schema": "artifactstore/error/1", "error": _without_surrogates(body)})


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return json_text(value)
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    return value
