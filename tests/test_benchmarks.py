"""The benchmarks as a program: small data, no peer but cp. That numbers come out is tested, not which."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TINY = 0.0005


def run(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path / "results" / "tiny.json"
    common = ["--scale", str(TINY), "--runs", "1", "--peers", "cp", "--s3", "none"]
    places = ["--work", str(tmp_path / "work"), "--out", str(out)]
    argv = [sys.executable, str(BENCHMARKS / "run.py"), *common, *places, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=200), out


@pytest.fixture
def harness() -> Iterator[ModuleType]:
    """The harness's modules, which are found beside `run.py` and nowhere else."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        harness = importlib.import_module("harness")
        for name in ("corpora", "measure", "question", "report", "results", "session"):
            importlib.import_module(f"harness.{name}")
        yield harness
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("harness", "questions", "peers"):
            del sys.modules[name]


def test_every_question_that_needs_no_server_is_answered_side_by_side(tmp_path: Path) -> None:
    done, out = run(tmp_path, "--large")
    assert done.returncode == 0, done.stderr
    questions = json.loads(out.read_text())["questions"]
    small = ["local-ckpt", "local-small", "start", "requests", "artifact", "find", "sync-local", "slowdown"]
    assert list(questions) == [*small, "local-large"]
    for name in ("local-ckpt", "local-small", "local-large"):
        assert set(questions[name]["tools"]) == {"artifactstore", "cp"}
        for columns in questions[name]["tools"].values():
            assert columns["push"]["median"]["wall_seconds"] > 0
            assert columns["pull"]["median"]["peak_rss_bytes"] > 0
    for question in questions.values():
        assert not question["failed"]
        assert all(goal["measured"] is not None for goal in question["goals"])
    added = questions["local-ckpt"]["tools"]["cp"]["push"]["median"]["added_bytes"]
    assert added == questions["local-ckpt"]["corpora"]["ckpt v1"]["content_bytes"]


def test_results_name_no_local_path_and_leave_nothing_behind(tmp_path: Path) -> None:
    done, out = run(tmp_path, "--only", "local-small")
    assert done.returncode == 0, done.stderr
    written = out.read_text() + out.with_suffix(".md").read_text()
    for private in (str(tmp_path), os.path.expanduser("~")):
        assert private not in written
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["data"]


def test_a_tool_that_fails_is_reported_and_the_others_are_measured(tmp_path: Path) -> None:
    done, out = run(tmp_path, "--only", "local-ckpt", "--artifactstore", "/bin/false")
    assert done.returncode == 1
    question = json.loads(out.read_text())["questions"]["local-ckpt"]
    assert question["failed"] == {"artifactstore": "false ended with 1"}
    assert set(question["tools"]) == {"cp"}
    assert all(goal["reached"] is None for goal in question["goals"])
    assert "artifactstore could not be measured" in out.with_suffix(".md").read_text()


def test_results_of_another_scale_are_not_mixed_in(tmp_path: Path) -> None:
    assert run(tmp_path, "--only", "local-ckpt")[0].returncode == 0
    before = (tmp_path / "results" / "tiny.json").read_text()
    done, out = run(tmp_path, "--only", "local-ckpt", "--scale", "0.001")
    assert done.returncode != 0
    assert "another scale" in done.stderr
    assert out.read_text() == before


def test_unknown_questions_and_peers_are_named(tmp_path: Path) -> None:
    for option in ("--only", "--peers"):
        done, _ = run(tmp_path, option, "cp,nonsense")
        assert done.returncode != 0
        assert "nonsense" in done.stderr
        assert "Traceback" not in done.stderr


def test_data_is_the_same_on_every_machine(harness: ModuleType, tmp_path: Path) -> None:
    def digests(name: str) -> dict[str, str]:
        contents = harness.corpora.corpus(name, scale=TINY, directory=tmp_path).contents
        return {version: content.digest for version, content in contents.items()}

    assert digests("ckpt") == {"v1": "1f0fedb616f17b77f7e7c98630bb0b45", "v2": "80276b78592163df4275b4351dc1525d"}
    assert digests("small") == {"v1": "8692694a625add59d8122b93a3b39c44"}
    regions = {"v1": "ee24135fab91ed4a13bff29f3a881365", "v2": "389f6dafd86fa9a36a77f23bb4c4e84b"}
    assert digests("regions") == regions
    assert digests("large") == {"v1": "0fa35b6e58fef1433520f7752a2ee3cc"}
    assert digests("many") == {"v1": "9c5fb15c91594459855fccf1456fc053"}


def test_the_second_checkpoint_is_the_first_with_a_few_edits(harness: ModuleType, tmp_path: Path) -> None:
    data = harness.corpora.corpus("ckpt", scale=TINY, directory=tmp_path)
    with data.shown("v1") as path:
        first = next(path.iterdir()).read_bytes()
    with data.shown("v2") as path:
        second = next(path.iterdir()).read_bytes()
    assert len(second) == len(first) + 37
    changed = sum(one != two for one, two in zip(first, second[37:], strict=True))
    rewritten = int((10 << 20) * TINY) + 20 * int((64 << 10) * TINY)
    assert 0.9 * rewritten < changed <= rewritten


def test_one_percent_of_each_file_differs_in_regions(harness: ModuleType, tmp_path: Path) -> None:
    data = harness.corpora.corpus("regions", scale=0.005, directory=tmp_path)
    trees = []
    for version in ("v1", "v2"):
        with data.shown(version) as path:
            trees.append({file.name: file.read_bytes() for file in path.iterdir()})
    before, after = trees
    assert before.keys() == after.keys()
    assert len(before) == 8
    for name, content in before.items():
        changed = sum(one != two for one, two in zip(content, after[name], strict=True))
        assert 0.008 * len(content) < changed <= 0.01 * len(content)


def test_goals_can_be_held_against_the_best_of_the_others(harness: ModuleType) -> None:
    question, sample = harness.question, harness.measure.Sample
    goal = question.Goal(column="up", measure=question.Measure.MOVED, at_most=0.1, peer=question.BEST_PEER)
    samples = {
        name: {"up": [sample(moved_bytes=count)]} for name, count in {"artifactstore": 20, "a": 400, "b": 100}.items()
    }
    answer = question.Answer(
        name="q", title="q", note="", columns=(), shown=(), ratios_to="", goals=(goal,), samples=samples
    )
    fields = harness.results._goal_fields(answer, goal)
    assert (fields["measured"], fields["reached"]) == (0.2, False)


def test_a_version_that_a_killed_run_left_in_place_is_put_back(harness: ModuleType, tmp_path: Path) -> None:
    data = harness.corpora.corpus("ckpt", scale=TINY, directory=tmp_path)
    data.current.with_name("v2").rename(data.current)
    again = harness.corpora.corpus("ckpt", scale=TINY, directory=tmp_path)
    with again.shown("v2") as path:
        assert path.is_dir()


def test_a_pull_of_other_bytes_is_noticed(harness: ModuleType, tmp_path: Path) -> None:
    for side in ("one", "two"):
        (tmp_path / side / "folder").mkdir(parents=True)
        (tmp_path / side / "folder" / "file").write_bytes(b"same")
    harness.session.check_equal(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "folder" / "file").write_bytes(b"some")
    with pytest.raises(harness.session.WrongContent, match="folder/file"):
        harness.session.check_equal(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "folder" / "file").write_bytes(b"same and more")
    with pytest.raises(harness.session.WrongContent):
        harness.session.check_equal(tmp_path / "one", tmp_path / "two")


def test_documents_with_private_text_are_not_written(harness: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="secret place"):
        harness.results.write_document(tmp_path / "out.json", {"x": "in a secret place"}, private=["secret place"])
    assert not (tmp_path / "out.json").exists()


def test_the_section_of_the_readme_is_replaced_and_nothing_else(harness: ModuleType, tmp_path: Path) -> None:
    report, readme = harness.report, tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.replace_section(readme, "new\n")
    report.replace_section(readme, "newer\n")
    assert readme.read_text() == f"before\n{report.BEGIN}\n\nnewer\n\n{report.END}\nafter\n"
    (tmp_path / "other.md").write_text("no markers\n")
    with pytest.raises(ValueError, match="no section"):
        report.replace_section(tmp_path / "other.md", "new\n")


def test_the_readme_has_the_section(harness: ModuleType) -> None:
    text = (BENCHMARKS / "README.md").read_text()
    assert text.index(harness.report.BEGIN) < text.index(harness.report.END)
