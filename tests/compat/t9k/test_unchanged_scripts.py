"""Scripts that say `from t9k import em`, as they are: run by the module, or in a process that called `install`."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from compat.t9k.test_upload import names, stored

from artifactstore import Store
from artifactstore.compat import t9k as compat
from artifactstore.compat.t9k import em
from artifactstore.compat.t9k.em.artifact import Artifact

SCRIPT = """
import os, subprocess, sys
from t9k import em
import t9k
from t9k.em.artifact import Artifact

os.makedirs("logs", exist_ok=True)
with open("logs/events", "w") as file:
    file.write("events of " + sys.argv[1])

em.login(ais_host="https://home.example.com/t9k/aistore/server", api_key="12345678-1234-1234-1234-123456789012")
artifact = em.create_artifact(name="tensorboard_logs", labels=["Keras"], description="A run.")
assert isinstance(artifact, Artifact)
artifact.add_dir("logs", obj_path="all/")
artifact.upload(folder="cv/mnist", make_folder=True)
print(artifact.remote[-1]["path"], t9k.__version__, __name__, len(sys.argv))
child = subprocess.run([sys.executable, "-c", "from t9k import em; print(em.__name__)"], stdout=subprocess.PIPE)
print(child.stdout.decode().strip())
em.logout()
sys.exit(3)
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "artifactstore.compat.t9k", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_script_runs_as_it_is(store: Store, place: Path, work: Path) -> None:
    (work / "train.py").write_text(SCRIPT)
    done = run("--store", str(place), "train.py", "one", "--two")
    assert (done.returncode, done.stderr) == (3, ""), done.stderr
    assert done.stdout.splitlines() == [
        "/alice/cv/mnist/tensorboard_logs 0.6.0b0 __main__ 3",
        "artifactstore.compat.t9k.em",
    ]
    assert stored(store, "alice/cv/mnist/tensorboard_logs") == {"all/logs/events": b"events of one"}


def test_modules_and_code_run_too(work: Path) -> None:
    (work / "package.py").write_text("import sys\nfrom t9k.em import create_artifact\nprint(sys.argv[1:], __name__)\n")
    assert run("-m", "package", "a").stdout == "['a'] __main__\n"
    done = run("--store=elsewhere", "-c", "import os; print(os.environ['ARTIFACTSTORE_URL'], os.getpid() > 0)")
    assert done.stdout == "elsewhere True\n"


def test_an_existing_path_of_modules_stays(work: Path) -> None:
    (work / "mine").mkdir()
    (work / "mine" / "extra.py").write_text("value = 7\n")
    done = run("-c", "import extra, t9k; print(extra.value)", PYTHONPATH=str(work / "mine"))
    assert done.stdout == "7\n", done.stderr


def test_what_is_not_offered_says_so(work: Path) -> None:
    done = run("-c", "from t9k import em; print(hasattr(em, 'create_run')); em.create_run()")
    assert done.stdout == "False\n" and "has the Artifacts of t9k.em, and not its Runs" in done.stderr
    done = run("-c", "from t9k import ah")
    assert done.returncode == 1 and "ImportError" in done.stderr
    done = run("-c", "import t9k.session")
    assert "No module named 't9k.session'" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--store"], ["--store="], ["--store", "x"]])
def test_misuse_is_told(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2 and "usage: " in done.stderr and done.stdout == ""


def test_help_is_shown() -> None:
    done = run("--help")
    assert done.returncode == 0 and "SCRIPT" in done.stdout


# -- in this process -----------------------------------------------------------------------------------


@pytest.fixture
def modules() -> Iterator[None]:
    """Takes `t9k` away again."""
    before = {name for name in sys.modules if name.partition(".")[0] == "t9k"}
    assert before == set()
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "t9k"]:
        del sys.modules[name]


def test_install_makes_the_imports_of_scripts_work(modules: None) -> None:
    with pytest.raises(ImportError):
        import t9k
    compat.install()
    compat.install()
    import t9k
    import t9k.em.artifact
    from t9k import CONFIG
    from t9k import em as installed
    from t9k.em import load_artifact

    assert installed is em and t9k.em.artifact.Artifact is Artifact and load_artifact is em.load_artifact
    assert CONFIG is compat.CONFIG


def test_another_t9k_is_not_pushed_aside(modules: None) -> None:
    sys.modules["t9k"] = sys
    with pytest.raises(ImportError, match="another t9k"):
        compat.install()
    assert sys.modules["t9k"] is sys


def test_signatures_and_defaults_are_the_document_s() -> None:
    def parameters(function) -> dict[str, object]:
        return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}

    needed = inspect.Parameter.empty
    uploading = {"folder": "default", "make_folder": False, "conflict_strategy": "new"}
    assert parameters(em.create_artifact) == {"name": needed, "labels": None, "description": ""}
    assert parameters(em.load_artifact) == {"path": needed}
    assert parameters(em.upload) == {"path": needed, **uploading}
    assert parameters(em.login) == {"ais_host": None, "api_key": None, "timeout": None}
    assert parameters(em.logout) == {}
    assert parameters(Artifact) == {"metadata": needed, "objects": None}
    assert parameters(Artifact.upload) == {"self": needed, **uploading}
    assert parameters(Artifact.add_file) == {"self": needed, "file_path": needed, "obj_path": None}
    assert parameters(Artifact.add_dir) == {"self": needed, "dir_path": needed, "obj_path": None}
    assert parameters(Artifact.add_reference) == {"self": needed, "uri": needed, "obj_path": None}
    assert parameters(Artifact.parse_from_dict) == {"self": needed, "data": needed}
    assert parameters(Artifact.to_dict) == {"self": needed}


# -- two homes, one server -----------------------------------------------------------------------------

FIRST = """
import json, os
from t9k import em
os.makedirs("a/empty", exist_ok=True)
for number in range(40):
    with open(f"a/{number}", "wb") as file:
        file.write(bytes([number]) * 1000 * number)
em.login()
artifact = em.create_artifact("weights", labels=["good", "not so good"], description="two\\nlines")
artifact.add_dir("a/", "b/")
artifact.add_reference("s3://bucket/key", "refs/")
artifact.upload()
print(json.dumps([artifact.to_dict(), artifact.objects]))
"""
SECOND = """
import json, os, sys
from t9k import em
em.login()
artifact = em.load_artifact("/alice/default/weights")
print(json.dumps([artifact.to_dict(), artifact.objects]))
with open(artifact.local + "/more", "w") as file:
    file.write("more")
os.unlink(artifact.local + "/b/a/39")
artifact.upload(folder="/alice/default")
own = em.create_artifact("weights")
own.add_file(artifact.local + "/more")
own.upload(folder="/alice/default")
own.upload(folder="default")
try:
    em.create_artifact("weights").upload(folder="/alice/default", conflict_strategy="error")
except RuntimeError as error:
    print(json.dumps(str(error)))
"""
THIRD = """
import json
from t9k import em
em.login()
artifact = em.load_artifact("default/weights")
print(json.dumps([artifact.to_dict(), artifact.objects]))
"""


def test_an_artifact_goes_from_one_home_to_another_and_back(s3_url: str, tmp_path: Path) -> None:
    def home(name: str, user: str, script: str) -> list:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        (directory / "script.py").write_text(script)
        places = {f"XDG_{kind}_HOME": str(directory / kind) for kind in ("DATA", "CONFIG", "CACHE", "STATE")}
        done = subprocess.run(
            [sys.executable, "-m", "artifactstore.compat.t9k", "--store", s3_url, "script.py"],
            env={**os.environ, **places, "HOME": str(directory), "ARTIFACTSTORE_USER": user},
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    with compat.session.open_store(s3_url) as store:
        store.init()
    ((first, first_objects),) = home("one", "alice", FIRST)
    (second, second_objects), refused = home("two", "bob", SECOND)
    ((third, third_objects),) = home("one", "alice", THIRD)
    assert {**second, "remote": []} == {**first, "remote": []} and second_objects.keys() == first_objects.keys()
    assert all(second_objects[path] == record for path, record in first_objects.items())
    assert [record["action"] for record in second["remote"]] == ["upload", "download"]
    assert refused.startswith("Artifact already exists in Folder /alice/default: 'weights'")
    assert third["alternativeName"] == first["alternativeName"]
    assert third_objects.keys() ^ first_objects.keys() == {"more", "b/a/39"}
    with compat.session.open_store(s3_url) as store:
        assert names(store)[0] == "alice/default/weights" and names(store)[-1] == "bob/default/weights"
        assert len(names(store)) == 3
        assert [info.version for info in store.versions("alice/default/weights")] == [
            "alice/default/weights:v2",
            "alice/default/weights:v1",
        ]
