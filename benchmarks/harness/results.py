"""Results as a document: JSON that tables are made from, and that later runs add to.

A document belongs to one machine and one scale. Each question in it was answered in one go, all
tools side by side; asking it again replaces its answer.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from harness import Refused
from harness.machine import Machine
from harness.question import ANY_COLUMN, BEST_PEER, Answer, Context, Goal, Measure, median
from harness.tools import OWN_NAME

FORMAT: Final = 1


def new_document(machine: Machine, *, scale: float) -> dict[str, Any]:
    """A document without answers."""
    return {"format": FORMAT, "machine": asdict(machine), "scale": scale, "questions": {}}


def add_answer(
    document: dict[str, Any], answer: Answer, context: Context, *, load: float, memory_floor_bytes: int
) -> None:
    """Put an answer into a document, and how it was come by.

    Args:
        load: Processes that wanted to run, on average over the minute before the first measurement.
        memory_floor_bytes: Peaks of less can't be told.
    """
    document["questions"][answer.name] = {
        "title": answer.title,
        "note": answer.note,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load_before": round(load, 2),
        "memory_floor_bytes": memory_floor_bytes,
        "runs": max((len(rows) for columns in answer.samples.values() for rows in columns.values()), default=0),
        "page_cache": "dropped before each measurement" if context.drop_caches else "left as it is",
        "s3": context.s3.description if context.s3 else "none",
        "versions": {tool.name: tool.version for tool in context.tools if tool.name in answer.samples},
        "settings": {
            tool.name: answer.settings.get(tool.name, tool.settings)
            for tool in context.tools
            if tool.name in answer.samples
        },
        "corpora": answer.corpora,
        "columns": [asdict(column) for column in answer.columns],
        "shown": [measure.value for measure in answer.shown],
        "ratios_to": answer.ratios_to,
        "tools": {name: _tool_fields(answer, name) for name in answer.samples},
        "failed": dict(answer.failed),
        "goals": [_goal_fields(answer, goal) for goal in answer.goals],
    }


def _tool_fields(answer: Answer, tool: str) -> dict[str, Any]:
    return {
        column: {
            "median": {measure.value: median(samples, measure) for measure in Measure},
            "samples": [asdict(sample) for sample in samples],
        }
        for column, samples in answer.samples[tool].items()
    }


def _goal_fields(answer: Answer, goal: Goal) -> dict[str, Any]:
    value = _value(answer, OWN_NAME, goal)
    if goal.peer:
        reference = _best_of_peers(answer, goal) if goal.peer == BEST_PEER else _value(answer, goal.peer, goal)
        value = value / reference if value is not None and reference else None
    return {
        "column": goal.column,
        "measure": goal.measure.value,
        "peer": goal.peer,
        "at_most": goal.at_most,
        "measured": value,
        "reached": None if value is None else value <= goal.at_most,
    }


def _best_of_peers(answer: Answer, goal: Goal) -> float | None:
    values = [_value(answer, tool, goal) for tool in answer.samples if tool != OWN_NAME]
    return min((value for value in values if value is not None), default=None)


def _value(answer: Answer, tool: str, goal: Goal) -> float | None:
    columns = answer.samples.get(tool, {})
    if goal.column == ANY_COLUMN:
        every = [getattr(sample, goal.measure.value) for samples in columns.values() for sample in samples]
        return max((value for value in every if value is not None), default=None)
    return median(columns.get(goal.column, ()), goal.measure)


def continued(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``new`` with the answers of ``old``, to be replaced or added to.

    Raises:
        Refused: They are of different machines or scales, and can't stand in one table.
    """
    for key in ("format", "machine", "scale"):
        if old.get(key) != new[key]:
            raise Refused(f"the results there are of another {key}: choose another file")
    return {**new, "questions": dict(old["questions"])}


def in_order(document: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The same with its answers in the order of ``names``."""
    questions = document["questions"]
    return {**document, "questions": {name: questions[name] for name in names if name in questions}}


def write_document(path: Path, document: Mapping[str, Any], *, private: Sequence[str]) -> None:
    """Write JSON, unless something in it names a local path.

    Args:
        private: Text that must not occur, beside the home directory.

    Raises:
        ValueError: It does occur.
    """
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    for secret in (str(Path.home()), *private):
        if len(secret) > 1 and secret in text:
            raise ValueError(f"results must not hold {secret!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
