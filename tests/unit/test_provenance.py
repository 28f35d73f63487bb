"""Who, where, and which commit: read from git's own files, never an error."""

import os
import subprocess
from pathlib import Path

import pytest

from artifactstore.transfer.provenance import git_state, provenance

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def make_git(directory: Path, head: str) -> Path:
    git = directory / ".git"
    git.mkdir(parents=True)
    (git / "HEAD").write_text(head + "\n")
    return git


def commit_of(directory: Path) -> str:
    state = git_state(directory)
    return state.commit if state else ""


def test_a_loose_branch_below_the_source(tmp_path: Path) -> None:
    git = make_git(tmp_path, "ref: refs/heads/work/topic")
    (git / "refs/heads/work").mkdir(parents=True)
    (git / "refs/heads/work/topic").write_text(COMMIT + "\n")
    (tmp_path / "a/b").mkdir(parents=True)
    state = git_state(tmp_path / "a/b")
    assert state is not None
    assert (state.commit, state.branch) == (COMMIT, "work/topic")


def test_a_packed_branch(tmp_path: Path) -> None:
    git = make_git(tmp_path, "ref: refs/heads/main")
    (git / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{'f' * 40} refs/heads/mainly\n{COMMIT} refs/heads/main\n"
    )
    assert commit_of(tmp_path) == COMMIT


def test_a_detached_head_has_no_branch(tmp_path: Path) -> None:
    make_git(tmp_path, COMMIT)
    state = git_state(tmp_path)
    assert state is not None
    assert (state.commit, state.branch) == (COMMIT, "")


def test_a_linked_work_tree(tmp_path: Path) -> None:
    git = make_git(tmp_path / "main", "ref: refs/heads/main")
    (git / "refs/heads").mkdir(parents=True)
    (git / "refs/heads/side").write_text(COMMIT)
    linked = git / "worktrees/side"
    linked.mkdir(parents=True)
    (linked / "HEAD").write_text("ref: refs/heads/side\n")
    (linked / "commondir").write_text("../..\n")
    (tmp_path / "side").mkdir()
    (tmp_path / "side/.git").write_text(f"gitdir: {linked}\n")
    assert commit_of(tmp_path / "side") == COMMIT


@pytest.mark.parametrize(
    "head",
    ["", "ref: refs/heads/none", "ref: refs/heads/.invalid", "ref: refs/../../outside", "ref: outside", "x" * 40, "\0"],
)
def test_what_is_not_known_is_nothing(tmp_path: Path, head: str) -> None:
    make_git(tmp_path, head)
    (tmp_path / "outside").write_text(COMMIT)
    (tmp_path / ".git/outside").write_text(COMMIT)
    assert git_state(tmp_path) is None


def test_a_secret_in_a_remote_is_not_looked_at(tmp_path: Path) -> None:
    git = make_git(tmp_path, COMMIT)
    (git / "config").write_text('[remote "origin"]\n\turl = https://me:canary-secret@host/x\n')
    assert "canary" not in repr(provenance(tmp_path))
    assert git_state(tmp_path).remote == ""  # type: ignore[union-attr]


def test_without_git_and_without_the_directory(tmp_path: Path) -> None:
    found = provenance(tmp_path / "not there")
    assert found.git is None
    assert found.who
    assert found.host == os.uname().nodename


def test_it_agrees_with_git_itself(tmp_path: Path) -> None:
    identity = [
        "-c",
        "user.name=n",
        "-c",
        "user.email=e@e",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "init.defaultBranch=trunk",
    ]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    try:
        git("init", "-q")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    git("commit", "-q", "--allow-empty", "-m", "one")
    for _ in range(2):
        state = git_state(tmp_path)
        assert state is not None
        assert (state.commit, state.branch) == (git("rev-parse", "HEAD"), "trunk")
        git("pack-refs", "--all")
