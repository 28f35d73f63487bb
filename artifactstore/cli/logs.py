"""What -v, -vv and --log-file show. Every line passes `artifactstore.redaction` on its way out."""

import logging
import os

from artifactstore.cli import display
from artifactstore.cli.invocation import Invocation
from artifactstore.cli.output import error_label, printable, warning_label
from artifactstore.errors import ConfigurationError
from artifactstore.redaction import redact, secrets_of

_PACKAGE = "artifactstore"
NOTICE = logging.INFO + 5
"""Between info and warning: shown as ``note:``, unless ``--quiet``. For what people should hear once."""
_FILE_LAYOUT = "%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"


class _Redacting(logging.Formatter):
    """Lines without secrets and without anything a terminal would obey."""

    def __init__(self, layout: str) -> None:
        super().__init__(layout)
        self._secrets = secrets_of(os.environ)

    def format(self, record: logging.LogRecord) -> str:
        lines = redact(super().format(record), secrets=self._secrets).split("\n")
        return "\n".join(printable(line) for line in lines)


class _Console(logging.Handler):
    """Writes to stderr, above the progress bar if one is there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            label = ""
            if record.levelno >= logging.ERROR:
                label = f"{error_label()} "
            elif record.levelno >= logging.WARNING:
                label = f"{warning_label()} "
            elif record.levelno == NOTICE:
                label = "note: "
            display.write_line(label + self.format(record))
        except (OSError, ValueError):
            self.handleError(record)


def set_up(invocation: Invocation) -> None:
    """Send the package's log where the options say; called once, before a command does anything.

    Warnings always reach stderr. ``-v`` adds steps and requests. Of other people's code only warnings are
    shown, whatever the options: botocore's debug log holds signed headers.

    Raises:
        ConfigurationError: The log file can't be written.
    """
    logging.raiseExceptions = False  # a full disk under the log must not fail the upload
    logging.captureWarnings(True)
    package, root = logging.getLogger(_PACKAGE), logging.getLogger()
    for logger in (package, root):
        for handler in list(logger.handlers):
            if isinstance(handler, _Console | logging.FileHandler) and isinstance(handler.formatter, _Redacting):
                logger.removeHandler(handler)
                handler.close()
    console = _Console()
    console.setFormatter(_Redacting("%(message)s"))
    console.setLevel(_console_level(invocation))
    root.addHandler(console)
    package.setLevel(logging.DEBUG if invocation.log_file else _console_level(invocation))
    if invocation.log_file:
        root.addHandler(_log_file(invocation.log_file))


def _console_level(invocation: Invocation) -> int:
    if invocation.verbosity:
        return logging.DEBUG
    return logging.WARNING if invocation.quiet else NOTICE


def _log_file(path: str) -> logging.Handler:
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigurationError(
            f"can't write the log file: {error.strerror}", where=path, next_step="Choose another --log-file."
        ) from error
    handler.setFormatter(_Redacting(_FILE_LAYOUT))
    handler.setLevel(logging.DEBUG)
    return handler
