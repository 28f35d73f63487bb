"""Ask every question, all tools side by side, and write down what came out.

    python benchmarks/run.py                            everything that can be asked here
    python benchmarks/run.py --only local-ckpt,start    some of it
    python benchmarks/run.py --list                     what there is to ask, and the peers found

Data is generated once and kept in the work folder (5 GB; with --large 16 GB). During a run up
to 10 GB more are in use there; with --large up to 25 GB.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import Refused
from harness.machine import this_machine
from harness.measure import memory_floor_bytes
from harness.question import Context, Question, S3Use
from harness.report import markdown, replace_section
from harness.results import add_answer, continued, in_order, new_document, write_document
from harness.server import s3_server
from harness.session import clear_away
from harness.tools import OWN_NAME, Program, make_tools
from peers import PEERS, Installed, find_peers, version_of
from questions import QUESTIONS

_HERE = Path(__file__).resolve().parent


def _arguments() -> argparse.Namespace:
    today = datetime.datetime.now(datetime.UTC).date()
    parser = argparse.ArgumentParser(description="Measure artifactstore and its peers side by side.")
    parser.add_argument("--only", metavar="Q,…", type=_questions, default=(), help="ask only these questions")
    parser.add_argument("--peers", metavar="P,…", type=_peers, help="compare only with these (none: with nobody)")
    parser.add_argument("--runs", type=_positive, default=3, help="sessions of each tool; medians count (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data, 1 being what goals are about")
    parser.add_argument("--large", action="store_true", help="also the file of 10 GiB")
    parser.add_argument("--s3", choices=("auto", "env", "ceph", "none"), default="auto", help="which server")
    parser.add_argument("--bucket", default="artifactstore-bench", help="made if it is not there (%(default)s)")
    parser.add_argument("--work", type=Path, default=_HERE / ".work", help="folder for data and stores")
    parser.add_argument("--peers-dir", type=Path, help="what peers.py --install was given (WORK/peers)")
    parser.add_argument("--artifactstore", type=Path, help="the program, unless it is beside this Python")
    parser.add_argument("--drop-caches", action="store_true", help="drop the page cache before each measurement")
    parser.add_argument("--out", type=Path, default=_HERE / "results" / f"{today}.json", help="%(default)s")
    parser.add_argument("--readme", action="store_true", help="put the tables into benchmarks/README.md")
    parser.add_argument("--list", action="store_true", help="show questions and peers, measure nothing")
    return parser.parse_args()


def _questions(text: str) -> tuple[str, ...]:
    return _names(text, known=[question.name for question in QUESTIONS])


def _peers(text: str) -> tuple[str, ...]:
    return () if text == "none" else _names(text, known=[peer.name for peer in PEERS])


def _names(text: str, *, known: Sequence[str]) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def main() -> int:
    """The command line; the exit code."""
    given = _arguments()
    questions = _chosen(given.only, large=given.large)
    found = find_peers(
        given.peers_dir or given.work / "peers",
        names=[peer.name for peer in PEERS] if given.peers is None else given.peers,
    )
    if given.list:
        _show(found)
        return 0
    if given.readme and given.scale != 1:
        raise SystemExit("error: the README has numbers of scale 1 only")
    try:
        return _measure(given, questions, found)
    except Refused as error:
        raise SystemExit(f"error: {error}") from error


def _measure(given: argparse.Namespace, questions: Sequence[Question], found: Mapping[str, Installed]) -> int:
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    own = _own_program(given.artifactstore)
    programs = {name: Program(path=peer.program, version=peer.version) for name, peer in found.items()}
    wants_server = any(question.s3_use is not S3Use.NONE for question in questions)
    with s3_server(given.s3 if wants_server else "none", work=work, bucket=given.bucket) as server:
        context = Context(
            work=work,
            tools=make_tools(own, programs),
            runs=given.runs,
            scale=given.scale,
            s3=server,
            drop_caches=given.drop_caches,
        )
        try:
            is_whole = _ask(context, questions, out=given.out)
        finally:
            clear_away(work)
    if given.readme:
        replace_section(_HERE / "README.md", markdown(json.loads(given.out.read_text()), level=3))
    return 0 if is_whole else 1


def _chosen(names: Sequence[str], *, large: bool) -> list[Question]:
    if names:
        return [question for question in QUESTIONS if question.name in names]
    return [question for question in QUESTIONS if large or not question.is_large]


def _ask(context: Context, questions: Sequence[Question], *, out: Path) -> bool:
    """Ask, and write after every answer: a run that is cut off keeps what it has. Whether no tool failed."""
    order = [question.name for question in QUESTIONS]
    document = new_document(this_machine(context.work), scale=context.scale)
    if out.exists():
        document = continued(json.loads(out.read_text()), document)
    asked = [question for question in questions if context.s3 or question.s3_use is not S3Use.NEEDED]
    for question in questions:
        if question not in asked:
            print(f"{question.name}: left out, there is no S3 server (--s3)", file=sys.stderr)
    for question in asked:
        print(f"{question.name}: {question.title}", file=sys.stderr, flush=True)
        load = os.getloadavg()[0]
        answer = question.ask(context)
        floor = memory_floor_bytes(environ=dict(os.environ), log=Path(os.devnull))
        add_answer(document, answer, context, load=load, memory_floor_bytes=floor)
        document = in_order(document, order)
        write_document(out, document, private=[str(context.work)])
        out.with_suffix(".md").write_text(markdown(document))
    print(markdown(document))
    return not any(document["questions"][question.name]["failed"] for question in asked)


def _show(found: Mapping[str, Installed]) -> None:
    for question in QUESTIONS:
        print(f"{question.name:14} {question.title}")
    for name, peer in found.items():
        print(f"{name:14} {peer.version}")


def _own_program(given: Path | None) -> Program:
    beside = Path(sys.executable).parent / OWN_NAME
    found = given or (beside if beside.exists() else None) or shutil.which(OWN_NAME)
    if found is None:
        raise Refused("artifactstore is not installed: pip install .")
    path = Path(os.path.abspath(found))
    return Program(path=path, version=version_of(path, ("--version",)) + _commit())


def _commit() -> str:
    """The commit of this checkout, which the program is taken to be installed from."""

    def git(*arguments: str) -> str:
        argv = ["git", "-C", str(_HERE.parent), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "--short=12", "HEAD")
    changed = " with changes" if git("status", "--porcelain", "--", "artifactstore") else ""
    return f", commit {commit}{changed}" if commit else ""


if __name__ == "__main__":
    sys.exit(main())
