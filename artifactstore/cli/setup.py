"""``init`` and ``doctor``."""

import click

from artifactstore.backend.doctor import Verdict
from artifactstore.cli.command import command, current
from artifactstore.cli.failures import ExitCode
from artifactstore.cli.output import print_json, printable, say, styled
from artifactstore.cli.session import showing_progress
from artifactstore.cli.views import doctor_fields
from artifactstore.examination import examine
from artifactstore.store import open_store
from artifactstore.transaction.records import Writers

_COLORS = {Verdict.GOOD: "green", Verdict.NOTE: "blue", Verdict.WARNING: "yellow", Verdict.BAD: "red"}


@command("init")
@click.argument("url", required=False, metavar="[URL]")
def init(url: str | None) -> None:
    """Make a store at a URL, and prove what it can be relied on for.

    A store that is there already is left as it is. A local directory needs no init: the first push makes it.
    """
    with open_store(url or current().store, single_writer=current().single_writer) as store:
        is_new = store.init()
        record = store.record
    if current().json:
        fields = {"url": store.url, "is_new": is_new, "store_id": record.store_id, "writers": record.writers.value}
        print_json("init", fields)
    elif not current().quiet:
        made = "made a store" if is_new else "there is a store already, left as it is"
        writers = "many writers at once" if record.writers is Writers.MANY else "one writer at a time (--single-writer)"
        say(f"{made}: {printable(store.url)} ({writers})")


@command("doctor")
@click.argument("url", required=False, metavar="[URL]")
def doctor(url: str | None) -> None:
    """Probe a store: what can be relied on, and how fast it is.

    Some 200 MB go back and forth, below doctor/ there, and are removed again. Ends with 6 if something is bad.
    """
    with showing_progress() as progress:
        report = examine(
            url or current().store, on_probe=lambda probe: progress.phase(probe, total_files=None, total_bytes=None)
        )
    if current().json:
        print_json("doctor", doctor_fields(report))
    else:
        for finding in report.findings:
            label = styled(f"{finding.verdict.value:7}", _COLORS[finding.verdict])
            say(f"{label}  {finding.probe:14}  {printable(finding.text)}")
        say(printable(f"{report.url}: {report.advice_text}"))
    if any(finding.verdict is Verdict.BAD for finding in report.findings):
        click.get_current_context().exit(ExitCode.STORAGE)
