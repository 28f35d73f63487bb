"""Tables for people, made from a document of `results` and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.question import ANY_COLUMN, BEST_PEER, Measure

BEGIN: Final = "<!-- results: begin, written by run.py -->"
END: Final = "<!-- results: end -->"

_TITLES: Final = {
    Measure.WALL: "Seconds until the data is on disk (with `sync`)",
    Measure.COMMAND: "Seconds of the command alone",
    Measure.CPU: "CPU seconds (user and system)",
    Measure.PEAK_RSS: "Peak memory, MB",
    Measure.ADDED: "Bytes added to the store, MB",
    Measure.REQUESTS: "Requests",
    Measure.MOVED: "Bytes moved, MB",
}
_SECONDS: Final = (Measure.WALL, Measure.COMMAND, Measure.CPU)
_RATIOS: Final = (Measure.WALL, Measure.COMMAND)
_FLOOR_SLACK: Final = 1.05


def markdown(document: Mapping[str, Any], *, level: int = 2) -> str:
    """All of a document: the goals, the machine, then each question with its tables.

    Args:
        level: Of the headings.
    """
    mark = "#" * level
    parts = [f"{mark} Goals", goals_table(document), f"{mark} Machine", machine_table(document)]
    for question in document["questions"].values():
        parts += [f"{mark} {question['title']}", _introduction(question)]
        for value in question["shown"]:
            measure = Measure(value)
            if rows := _Medians(question=question, measure=measure).table():
                parts += [f"**{_TITLES[measure]}**", rows]
    return "\n\n".join(parts) + "\n"


def goals_table(document: Mapping[str, Any]) -> str:
    """One line for each goal of each question."""
    rows = []
    for question in document["questions"].values():
        titles = {column["name"]: column["title"] for column in question["columns"]}
        for goal in question["goals"]:
            measure = Measure(goal["measure"])
            rows.append(
                (
                    question["title"],
                    "all steps" if goal["column"] == ANY_COLUMN else titles[goal["column"]],
                    _goal_measure(measure),
                    _goal_value(goal, goal["at_most"]),
                    _goal_value(goal, goal["measured"]),
                    {True: "yes", False: "**no**", None: "not measured"}[goal["reached"]],
                )
            )
    return table(("question", "step", "what", "at most", "measured", "reached"), rows)


def machine_table(document: Mapping[str, Any]) -> str:
    """What was measured on what, with which programs."""
    machine = document["machine"]
    rows = [
        ("processor", f"{machine['processor']}, {machine['cores']} cores"),
        ("memory", f"{machine['memory_bytes'] / 2**30:.0f} GiB"),
        ("kernel, file system", f"{machine['kernel']}, {machine['file_system']}"),
        ("Python", machine["python"]),
        ("S3 server", _distinct(document, "s3")),
        ("page cache", _distinct(document, "page_cache")),
    ]
    if document["scale"] != 1:
        rows.append(("data", f"scaled by {document['scale']:g}: **not the sizes that the goals are about**"))
    tools = dict.fromkeys(tool for question in document["questions"].values() for tool in question["versions"])
    programs = [(tool, _distinct(document, "versions", tool), _distinct(document, "settings", tool)) for tool in tools]
    return table(("", ""), rows) + "\n\n" + table(("tool", "version", "how it is called"), programs)


def _distinct(document: Mapping[str, Any], field: str, tool: str = "") -> str:
    """What the questions say about a field: one text, as a rule; all of them where it changed in between."""
    said: list[str] = []
    for question in document["questions"].values():
        value = question[field].get(tool) if tool else question[field]
        if value and value not in (*said, "none"):
            said.append(value)
    return "; ".join(said) or "none"


def _introduction(question: Mapping[str, Any]) -> str:
    runs = f"median of {question['runs']}" if question["runs"] > 1 else "one run"
    text = f"{question['note']} Measured {question['date']}, {runs}, load before {question['load_before']}."
    for tool, why in question["failed"].items():
        text += f" {tool} could not be measured: {why}."
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Medians:
    """One measure of one question, all tools."""

    question: Mapping[str, Any]
    measure: Measure

    def table(self) -> str:
        """A row for each tool, a column for each step that has values; empty if none has."""
        tools = self.question["tools"]
        columns = [
            column
            for column in self.question["columns"]
            if any(self._value(tool, column["name"]) is not None for tool in tools)
        ]
        rows = [(tool, *(self._cell(tool, column["name"]) for column in columns)) for tool in tools]
        return table(("", *(column["title"] for column in columns)), rows) if columns else ""

    def _value(self, tool: str, column: str) -> float | None:
        fields = self.question["tools"].get(tool, {}).get(column)
        value: float | None = fields["median"].get(self.measure.value) if fields else None
        return value

    def _cell(self, tool: str, column: str) -> str:
        value = self._value(tool, column)
        if value is None:
            return "–"
        floor = _FLOOR_SLACK * self.question["memory_floor_bytes"]
        if self.measure is Measure.PEAK_RSS and value <= floor:
            return f"< {_number(floor, self.measure)}"
        ratio_to = self.question["ratios_to"]
        reference = self._value(ratio_to, column)
        if self.measure in _RATIOS and reference and tool != ratio_to:
            return f"{_number(value, self.measure)} ({value / reference:.2f} ×)"
        return _number(value, self.measure)


def _number(value: float, measure: Measure) -> str:
    if measure in _SECONDS:
        return f"{value:.2f}" if value >= 1 else f"{value:.3f}"
    if measure is Measure.REQUESTS:
        return f"{value:.0f}"
    megabytes = value / 1e6
    return f"{megabytes:,.0f}" if abs(megabytes) >= 100 else f"{megabytes:.1f}"


def _goal_measure(measure: Measure) -> str:
    return {
        Measure.WALL: "time, with `sync`",
        Measure.COMMAND: "time, whole process",
        Measure.CPU: "CPU time",
        Measure.PEAK_RSS: "peak memory",
        Measure.ADDED: "bytes added",
        Measure.REQUESTS: "requests",
        Measure.MOVED: "bytes moved",
    }[measure]


def _goal_value(goal: Mapping[str, Any], value: float | None) -> str:
    if value is None:
        return "–"
    if goal["peer"]:
        return f"{value:.3g} × {'the best of the others' if goal['peer'] == BEST_PEER else goal['peer']}"
    measure = Measure(goal["measure"])
    unit = " s" if measure in _SECONDS else "" if measure is Measure.REQUESTS else " MB"
    return f"{_number(value, measure)}{unit}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def replace_section(readme: Path, text: str) -> None:
    """Put ``text`` between the markers of a Markdown file.

    Raises:
        ValueError: The file has not both markers, once each and in order.
    """
    whole = readme.read_text()
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme.name} has no section between {BEGIN} and {END}")
    readme.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
