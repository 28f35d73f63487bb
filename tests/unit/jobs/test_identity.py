"""Who a job is: what schedulers set, what people set, and what comes of neither."""

import re

import pytest

from artifactstore.errors import ConfigurationError, InvalidName
from artifactstore.jobs.identity import JobIdentity, identify, new_job_id
from artifactstore.names import encode_job_text
from artifactstore.schedulers import SCHEDULERS, environment_job, scheduled_job
from artifactstore.testing.clock import VirtualClock

UUID = "8f14e45f-ceea-467f-9f6d-0b1c2d3e4f50"
SLURM = {"SLURM_CLUSTER_NAME": "north", "SLURM_JOB_ID": "71", "SLURM_JOB_USER": "ada"}
GITHUB = {
    "GITHUB_RUN_ID": "9001",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_JOB": "train",
    "GITHUB_REPOSITORY": "us/shapes",
    "GITHUB_ACTOR": "ada",
    "GITHUB_SERVER_URL": "https://github.com",
}
TABLE = [
    (SLURM, "slurm-north-71"),
    ({**SLURM, "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3"}, "slurm-north-70_3"),
    ({**SLURM, "SLURM_HET_JOB_ID": "69"}, "slurm-north-69"),
    ({"SLURM_JOB_ID": "71"}, "slurm-71"),
    ({"PBS_JOBID": "12[3].head"}, "pbs-12[3].head"),
    ({"TRAINING_JOB_NAME": "shapes-2026"}, "sagemaker-shapes-2026"),
    ({"SM_TRAINING_ENV": '{"job_name": "shapes-2026"}'}, "sagemaker-shapes-2026"),
    ({"AWS_BATCH_JOB_ID": UUID}, f"awsbatch-{UUID}"),
    ({"AZUREML_RUN_ID": "red_pear_1"}, "azureml-red_pear_1"),
    ({"CLOUD_ML_JOB_ID": "3141"}, "vertex-3141"),
    ({"POLYAXON_RUN_INSTANCE": f"us.shapes.runs.{UUID}"}, f"polyaxon-{UUID}"),
    ({"POLYAXON_RUN_UUID": UUID}, f"polyaxon-{UUID}"),
    ({"POLYAXON_EXPERIMENT_INFO": '{"experiment_name": "us.shapes.7"}'}, "polyaxon-us.shapes.7"),
    ({"ARGO_NODE_ID": "hello-x7k2p-3187", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "argo-hello-x7k2p-3187"),
    ({"RAY_JOB_SUBMISSION_ID": "raysubmit_aB3"}, "ray-raysubmit_aB3"),
    (
        {"RAY_JOB_CONFIG_JSON_ENV_VAR": '{"metadata": {"job_submission_id": "raysubmit_aB3"}}'},
        "ray-raysubmit_aB3",
    ),
    ({"RAY_JOB_ID": "01000000", "RAY_CLUSTER_NAME": "blue"}, "ray-blue-01000000"),
    (GITHUB, "github-9001-2-train"),
    ({**GITHUB, "GITHUB_SERVER_URL": "https://git.us.example/"}, "github-git.us.example-9001-2-train"),
    ({"GITLAB_CI": "true", "CI_SERVER_HOST": "lab.example", "CI_JOB_ID": "55"}, "gitlab-lab.example-55"),
    (
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "train-2", "JOB_COMPLETION_INDEX": "2"},
        "kubernetes-train",
    ),
    ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "train-x7k2p"}, "kubernetes-train-x7k2p"),
    ({"TORCHELASTIC_RUN_ID": UUID}, f"torchrun-{UUID}"),
]


def who(env: dict[str, str], *, job_id: str | None = None, project: str | None = None) -> JobIdentity:
    return identify(env, job_id=job_id, project=project, directory="/home/ada/shapes", clock=VirtualClock())


@pytest.mark.parametrize(("env", "expected"), TABLE, ids=[expected for _, expected in TABLE])
def test_a_scheduler_says_who_the_job_is(env: dict[str, str], expected: str) -> None:
    found = who(env)
    assert found.id == expected
    assert expected.startswith(found.source)
    assert environment_job(env) == expected


def test_every_row_of_the_table_is_tried() -> None:
    sources = {who(env).source for env, _ in TABLE}
    assert len(sources) == len(SCHEDULERS)


@pytest.mark.parametrize("variable", ["ARTIFACTSTORE_JOB_ID", "FOUNDATIONS_JOB_ID"])
def test_what_people_set_counts_more_than_schedulers(variable: str) -> None:
    found = who({**SLURM, variable: " train-7 "})
    assert (found.id, found.source) == ("train-7", variable)


def test_of_two_variables_our_own_counts() -> None:
    assert who({"ARTIFACTSTORE_JOB_ID": "a", "FOUNDATIONS_JOB_ID": "b"}).id == "a"
    assert who({"ARTIFACTSTORE_JOB_ID": "", "FOUNDATIONS_JOB_ID": "b"}).id == "b"


def test_what_is_given_counts_more_than_everything() -> None:
    found = who({"ARTIFACTSTORE_JOB_ID": "a", "ARTIFACTSTORE_PROJECT": "p"}, job_id="given", project="q")
    assert (found.id, found.project, found.source) == ("given", "q", "given")


def test_a_job_that_nobody_names_gets_an_id_that_no_other_has() -> None:
    clock = VirtualClock()
    ids = {new_job_id(clock) for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"20270115-080000-[0-9a-f]{10}", each) for each in ids)
    assert who({}).source == "new"


@pytest.mark.parametrize(
    "env",
    [
        {**SLURM, "SLURM_PROCID": "3", "SLURM_NODEID": "1"},
        {**SLURM, "SLURM_PROCID": "3", "RANK": "17", "LOCAL_RANK": "1"},
        {**SLURM, "SLURM_RESTART_COUNT": "2"},
        {**SLURM, "SLURM_STEP_ID": "4", "SLURMD_NODENAME": "n17"},
    ],
    ids=["another rank", "a rank by torchrun", "a requeue", "another step"],
)
def test_ranks_and_requeues_are_the_same_job(env: dict[str, str]) -> None:
    assert who(env).id == who(SLURM).id


@pytest.mark.parametrize(
    ("env", "rank"),
    [
        ({"RANK": "17", "SLURM_PROCID": "3"}, 17),
        ({**SLURM, "SLURM_PROCID": "3"}, 3),
        ({"OMPI_COMM_WORLD_RANK": "5"}, 5),
        ({"KUBERNETES_SERVICE_HOST": "1", "HOSTNAME": "t-4", "JOB_COMPLETION_INDEX": "4"}, 4),
        ({"TRAINING_JOB_NAME": "s", "SM_CURRENT_HOST": "algo-2"}, 1),
        ({"AWS_BATCH_JOB_ID": f"{UUID}#3", "AWS_BATCH_JOB_NODE_INDEX": "3"}, 3),
        ({"RANK": "-1"}, None),
        ({}, None),
    ],
)
def test_the_rank_is_told_by_launchers(env: dict[str, str], rank: int | None) -> None:
    assert who(env).rank == rank


def test_requeues_are_counted_for_the_schedulers_own_job_only() -> None:
    requeued = {**SLURM, "SLURM_RESTART_COUNT": "2"}
    assert who(requeued).attempt == 3
    assert who(SLURM).attempt == 1
    assert who({**requeued, "ARTIFACTSTORE_JOB_ID": "mine"}).attempt is None  # several jobs of Slurm may be one of mine
    assert who({}).attempt is None


def test_what_was_submitted_by_a_ci_job_is_the_clusters_job() -> None:
    assert who({**GITHUB, **SLURM}).id == "slurm-north-71"


@pytest.mark.parametrize(
    "env",
    [
        {"RAY_JOB_ID": "01000000"},  # the first job of every cluster
        {"TORCHELASTIC_RUN_ID": "none"},
        {"TORCHELASTIC_RUN_ID": "100"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "jupyter-0"},  # a pod that comes again
        {"HOSTNAME": "train-x7k2p"},
        {"CI_JOB_ID": "55"},
        {"SM_TRAINING_ENV": "no json", "POLYAXON_EXPERIMENT_INFO": "[1]", "RAY_JOB_CONFIG_JSON_ENV_VAR": "3"},
        {"SLURM_JOB_ID": "", "GITHUB_RUN_ID": "  "},
    ],
)
def test_what_is_no_name_of_one_job_makes_none(env: dict[str, str]) -> None:
    assert scheduled_job(env) is None
    assert environment_job(env) == ""


@pytest.mark.parametrize(
    "text", ["x" * 201, "a\nb", "é" * 40, "\udcff"], ids=["long", "two lines", "long encoded", "no text"]
)
def test_a_variable_that_is_no_id_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="ARTIFACTSTORE_JOB_ID"):
        who({"ARTIFACTSTORE_JOB_ID": text})
    assert environment_job({"ARTIFACTSTORE_JOB_ID": text}) == ""


@pytest.mark.parametrize("bad", ["", "a\x00b", "x" * 201])
def test_an_id_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(InvalidName):
        who({}, job_id=bad)


@pytest.mark.parametrize("bad", ["", "a\nb", "x" * 129])
def test_a_project_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(InvalidName):
        who({}, project=bad)


@pytest.mark.parametrize(
    ("env", "project"),
    [
        ({"ARTIFACTSTORE_PROJECT": "a", "FOUNDATIONS_PROJECT_NAME": "b", "PROJECT_NAME": "c"}, "a"),
        ({"FOUNDATIONS_PROJECT_NAME": "b", "PROJECT_NAME": "c"}, "b"),
        ({"PROJECT_NAME": "c", **GITHUB}, "c"),
        ({**GITHUB, "GITHUB_REPOSITORY": "us/cubes"}, "cubes"),
        ({"POLYAXON_RUN_INSTANCE": f"us.cubes.runs.{UUID}"}, "cubes"),
        ({}, "shapes"),
        ({"PROJECT_NAME": "two\nlines"}, "two?lines"),
        ({"PROJECT_NAME": "x" * 500}, "x" * 128),
    ],
)
def test_the_project_is_told_in_this_order(env: dict[str, str], project: str) -> None:
    assert who(env).project == project


def test_at_the_top_of_the_file_system_there_is_a_project_too() -> None:
    assert identify({}, directory="/").project == "default"


def test_the_user_is_the_schedulers_or_whoever_runs_it() -> None:
    assert who(SLURM).user == "ada"
    assert who({}).user


@pytest.mark.parametrize("row", [env for env, _ in TABLE], ids=[expected for _, expected in TABLE])
def test_hostile_values_still_make_an_id(row: dict[str, str]) -> None:
    for name in row:
        for text in ("x" * 5000, "a\nb\x1b[31m", "\udcff\udcfe", "é" * 300, "../../etc"):
            found = who({**row, name: text})
            encode_job_text(found.id)
            assert found.project.isprintable() and len(found.project) <= 128
