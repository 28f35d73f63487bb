"""``init`` and ``doctor``."""

import click

from artifactstore.cli.command import command, current
from artifactstore.cli.output import print_json, printable, say
from artifactstore.store import open_store
from artifactstore.transaction.records import Writers


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
