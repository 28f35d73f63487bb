"""What it costs to build an artifact of many files, beside a plain push of them."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from harness.measure import Command, CommandFailed, Sample, drop_page_cache, measure
from harness.question import Answer, Column, Context, Goal, Measure, S3Use
from harness.scene import isolated_environ
from harness.tools import OWN_NAME

_BUILDER: Final = Path(__file__).resolve().parent.parent / "harness" / "build_artifact.py"
_PUSH: Final = "plain push"
_WAYS: Final = {_PUSH: "push", OWN_NAME: "add-dir", "add_file each": "add-file"}
_COLUMN: Final = Column(name="build", title="build and upload")


class ArtifactQuestion:
    """A push, and two ways to build the same artifact, in turns; each into a new store, in a new process."""

    name = "artifact"
    title = "An artifact of many small files"
    s3_use = S3Use.NONE
    is_large = False

    def ask(self, context: Context) -> Answer:
        many = context.corpus("many")
        samples: dict[str, list[Sample]] = {way: [] for way in _WAYS}
        failed: dict[str, str] = {}
        with many.shown("v1") as source:
            for _ in range(context.runs):
                for way in [way for way in _WAYS if way not in failed]:
                    try:
                        samples[way].append(_built(context, _WAYS[way], source))
                    except CommandFailed as error:
                        failed[way] = str(error)
        content = many.contents["v1"]
        return Answer(
            name=self.name,
            title=self.title,
            note=f"{content.file_count:,} files of 64 to 128 bytes to a local store, through the Python API; whole "
            f"processes, start of Python included. {OWN_NAME}: one `Artifact.add_dir`.",
            columns=[_COLUMN],
            shown=(Measure.WALL, Measure.CPU, Measure.PEAK_RSS),
            ratios_to=_PUSH,
            goals=[Goal(column=_COLUMN.name, measure=Measure.WALL, at_most=1.2, peer=_PUSH)],
            samples={way: {_COLUMN.name: rows} for way, rows in samples.items() if way not in failed},
            failed=failed,
            corpora={"many v1": {"file_count": content.file_count, "content_bytes": content.content_bytes}},
        )


def _built(context: Context, way: str, source: Path) -> Sample:
    if context.drop_caches:
        drop_page_cache()
    with TemporaryDirectory(dir=context.work) as scratch:
        place = Path(scratch)
        argv = (sys.executable, str(_BUILDER), way, str(place / "store"), str(source))
        return measure([Command(argv=argv)], environ=isolated_environ(place), log=place / "output")
