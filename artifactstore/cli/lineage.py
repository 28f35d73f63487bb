"""``lineage``."""

import click

from artifactstore.artifacts.lineage import DEFAULT_DEPTH, LineageDirection, LineageGraph
from artifactstore.artifacts.lineage import lineage as lineage_of
from artifactstore.artifacts.lineage_pictures import lineage_fields, lineage_graphviz, lineage_mermaid, lineage_text
from artifactstore.cli.command import command, current
from artifactstore.cli.output import json_text, print_json, printable, say
from artifactstore.cli.session import note, open_current

_FORMATS = {"text": lineage_text, "mermaid": lineage_mermaid, "graphviz": lineage_graphviz}


@command("lineage")
@click.argument("reference", metavar="NAME[:VERSION]")
@click.option("--format", "form", type=click.Choice(list(_FORMATS)), default="text", help="Text, or a picture.")
@click.option("--up", is_flag=True, help="Only what it was made from.")
@click.option("--down", is_flag=True, help="Only who used it.")
@click.option(
    "--depth", type=click.IntRange(0), default=DEFAULT_DEPTH, show_default=True, metavar="N", help="Steps each way."
)
def lineage(reference: str, form: str, up: bool, down: bool, depth: int) -> None:
    """Show what a version was made from, and who used it.

    With the jobs that made or used them. Versions that are deleted, moved or missing are shown as such.
    `--format mermaid` is for Markdown, `--format graphviz` for `dot -Tsvg`.
    """
    direction = LineageDirection.BOTH if up == down else LineageDirection.UP if up else LineageDirection.DOWN
    with open_current() as store:
        graph = lineage_of(store, reference, depth=depth, direction=direction)
    if current().json:
        print_json("lineage", {"reference": json_text(reference), **lineage_fields(graph)})
        return
    say(_FORMATS[form](graph))
    if form != "text":
        for notice in graph.notices:
            note(notice)
    _say_what_is_missing(graph, form)


def _say_what_is_missing(graph: LineageGraph, form: str) -> None:
    goes_on = sum(node.goes_on_up or node.goes_on_down for node in graph.nodes)
    if goes_on:
        title = next(node.version for node in graph.nodes if node.goes_on_up or node.goes_on_down)
        others = f" and {goes_on - 1} more" if goes_on > 1 else ""
        note(f"it goes on at {printable(title)}{others}: more with --depth, or from there")
