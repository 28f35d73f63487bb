"""Which job the environment of a process says that it belongs to. One table: `SCHEDULERS`, docs/jobs.md.

The first row whose variables are set decides. Rows nearer to the process stand first: what
runs under Slurm may have been submitted from a CI job, and inherited its variables.
An id is made only from what tells this job from every other one: a number that another
cluster, or the next start, gives out again would make one job of two.
This module reads a mapping that it is given. It does no I/O.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from artifactstore.digest import USER_CONTEXT, digest_of
from artifactstore.errors import InvalidName
from artifactstore.names import encode_job_text

JOB_VARIABLES: Final = ("ARTIFACTSTORE_JOB_ID", "FOUNDATIONS_JOB_ID")
_RANKS: Final = ("RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")
_GENERATED_POD: Final = re.compile(r".+-[bcdfghjklmnpqrstvwxz2456789]{5}", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_RAY_NUMBER: Final = re.compile(r"[0-9a-f]{8}", re.ASCII)

Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """What a scheduler says of a job.

    Attributes:
        id: The same for all ranks of the job, and after a requeue.
        scheduler: Which row of the table.
        project, user: Empty where it does not say.
        attempt: Counts from 1, where the scheduler counts requeues. rank: of this process.
    """

    id: str
    scheduler: str
    project: str = ""
    user: str = ""
    attempt: int | None = None
    rank: int | None = None


def scheduled_job(environment: Environment) -> Scheduled | None:
    """The job that a scheduler started this process for, None where none says so."""
    for row in SCHEDULERS:
        if (found := row(environment)) is not None:
            return found
    return None


def environment_job(environment: Environment) -> str:
    """Id of the job that the environment names, or a scheduler started; empty where there is none.

    What can't be an id is none: `jobs.identity.identify` says so aloud.
    """
    named = next((text for name in JOB_VARIABLES if (text := environment.get(name, "").strip())), "")
    if not named:
        scheduled = scheduled_job(environment)
        return scheduled.id if scheduled is not None else ""
    try:
        encode_job_text(named)
    except InvalidName:
        return ""
    return named


def rank_of(environment: Environment) -> int | None:
    """The rank of this process among those of its job, as launchers say it."""
    return next((rank for name in _RANKS if (rank := _number(environment, name)) is not None), None)


def plain_text(text: str, *, max_characters: int = 128) -> str:
    """``text`` fit for records and terminals: one line, bounded, nothing that can't be printed."""
    return "".join(c if c.isprintable() else "?" for c in text.strip()[:max_characters])


def _slurm(env: Environment) -> Scheduled | None:
    array, task = _text(env, "SLURM_ARRAY_JOB_ID"), _text(env, "SLURM_ARRAY_TASK_ID")
    # The parts of a heterogeneous job have ids of their own, and are one job.
    number = f"{array}_{task}" if array and task else _text(env, "SLURM_HET_JOB_ID") or _text(env, "SLURM_JOB_ID")
    if not number:
        return None
    restarts = _number(env, "SLURM_RESTART_COUNT")
    return Scheduled(
        id=_id("slurm", _text(env, "SLURM_CLUSTER_NAME"), number),
        scheduler="slurm",
        user=_text(env, "SLURM_JOB_USER"),
        attempt=(restarts or 0) + 1,
        rank=rank_of(env),
    )


def _pbs(env: Environment) -> Scheduled | None:
    number = _text(env, "PBS_JOBID")
    return Scheduled(id=_id("pbs", number), scheduler="pbs", rank=rank_of(env)) if number else None


def _sagemaker(env: Environment) -> Scheduled | None:
    name = _text(env, "TRAINING_JOB_NAME") or _field(env, "SM_TRAINING_ENV", "job_name")
    if not name:
        return None
    host = re.fullmatch(r"algo-([0-9]{1,6})", _text(env, "SM_CURRENT_HOST"), re.ASCII)
    rank = int(host.group(1)) - 1 if host else None
    return Scheduled(id=_id("sagemaker", name), scheduler="sagemaker", rank=_first(rank_of(env), rank))


def _aws_batch(env: Environment) -> Scheduled | None:
    number = _text(env, "AWS_BATCH_JOB_ID").partition("#")[0]  # nodes of one job: `<id>#<node>`
    if not number:
        return None
    return Scheduled(
        id=_id("awsbatch", number),
        scheduler="awsbatch",
        attempt=_counted(env, "AWS_BATCH_JOB_ATTEMPT"),
        rank=_first(rank_of(env), _number(env, "AWS_BATCH_JOB_NODE_INDEX")),
    )


def _azureml(env: Environment) -> Scheduled | None:
    run = _text(env, "AZUREML_RUN_ID")
    if not run:
        return None
    project = _text(env, "AZUREML_ARM_PROJECT_NAME")
    return Scheduled(id=_id("azureml", run), scheduler="azureml", project=project, rank=rank_of(env))


def _vertex(env: Environment) -> Scheduled | None:
    number = _text(env, "CLOUD_ML_JOB_ID")
    return Scheduled(id=_id("vertex", number), scheduler="vertex", rank=rank_of(env)) if number else None


def _polyaxon(env: Environment) -> Scheduled | None:
    instance = _text(env, "POLYAXON_RUN_INSTANCE").split(".")  # owner.project.runs.<uuid>
    run = _text(env, "POLYAXON_RUN_UUID") or (instance[-1] if len(instance) == 4 else "")
    run = run or _field(env, "POLYAXON_EXPERIMENT_INFO", "experiment_name")
    if not run:
        return None
    project = instance[1] if len(instance) == 4 else _field(env, "POLYAXON_EXPERIMENT_INFO", "project_name")
    return Scheduled(
        id=_id("polyaxon", run), scheduler="polyaxon", project=project.rpartition(".")[2], rank=rank_of(env)
    )


def _argo(env: Environment) -> Scheduled | None:
    node = _text(env, "ARGO_NODE_ID")  # a step of a workflow; `argo retry` runs it under the same id
    if not node:
        return None
    return Scheduled(
        id=_id("argo", node), scheduler="argo", project=_text(env, "ARGO_WORKFLOW_NAME"), rank=rank_of(env)
    )


def _ray(env: Environment) -> Scheduled | None:
    cluster = _text(env, "RAY_CLUSTER_NAME")
    submitted = _text(env, "RAY_JOB_SUBMISSION_ID") or _field(
        env, "RAY_JOB_CONFIG_JSON_ENV_VAR", "metadata", "job_submission_id"
    )
    number = submitted or _text(env, "RAY_JOB_ID")
    if not number or (_RAY_NUMBER.fullmatch(number) and not cluster):
        return None  # every cluster gives its first job the number 01000000
    return Scheduled(id=_id("ray", cluster, number), scheduler="ray", rank=rank_of(env))


def _github(env: Environment) -> Scheduled | None:
    run = _text(env, "GITHUB_RUN_ID")
    if not run:
        return None
    attempt = _text(env, "GITHUB_RUN_ATTEMPT") or "1"
    host = _text(env, "GITHUB_SERVER_URL").partition("://")[2].strip("/")
    return Scheduled(
        id=_id("github", "" if host == "github.com" else host, run, attempt, _text(env, "GITHUB_JOB")),
        scheduler="github",
        project=_text(env, "GITHUB_REPOSITORY").rpartition("/")[2],
        user=_text(env, "GITHUB_ACTOR"),
        rank=rank_of(env),
    )


def _gitlab(env: Environment) -> Scheduled | None:
    number = _text(env, "CI_JOB_ID") if env.get("GITLAB_CI") else ""
    if not number:
        return None
    return Scheduled(
        id=_id("gitlab", _text(env, "CI_SERVER_HOST"), number),
        scheduler="gitlab",
        project=_text(env, "CI_PROJECT_NAME"),
        user=_text(env, "GITLAB_USER_LOGIN"),
        rank=rank_of(env),
    )


def _kubernetes(env: Environment) -> Scheduled | None:
    pod = _text(env, "HOSTNAME") if env.get("KUBERNETES_SERVICE_HOST") else ""
    index = _number(env, "JOB_COMPLETION_INDEX")
    if pod and index is not None and pod.endswith(f"-{index}"):
        # The pods of an indexed job are called after it.
        job = pod.removesuffix(f"-{index}")
        return Scheduled(id=_id("kubernetes", job), scheduler="kubernetes", rank=_first(rank_of(env), index))
    if _GENERATED_POD.fullmatch(pod):
        # A name that was made for this pod alone; those of stateful sets come again.
        return Scheduled(id=_id("kubernetes", pod), scheduler="kubernetes", rank=rank_of(env))
    return None


def _torchrun(env: Environment) -> Scheduled | None:
    run = _text(env, "TORCHELASTIC_RUN_ID")
    if not _UUID.fullmatch(run):
        return None  # chosen by people: `none`, `100`
    attempt = _number(env, "TORCHELASTIC_RESTART_COUNT")
    return Scheduled(id=_id("torchrun", run), scheduler="torchrun", attempt=(attempt or 0) + 1, rank=rank_of(env))


SCHEDULERS: Final[tuple[Callable[[Environment], Scheduled | None], ...]] = (
    *(_slurm, _pbs, _sagemaker, _aws_batch, _azureml, _vertex, _polyaxon, _argo, _ray, _github, _gitlab),
    *(_kubernetes, _torchrun),
)


def _id(*parts: str) -> str:
    """The parts that are not empty, joined; shortened by a digest where no job could be called so."""
    text = "-".join(part for part in parts if part)
    try:
        encode_job_text(text)
    except InvalidName:
        return f"{parts[0]}-{digest_of(USER_CONTEXT, text.encode('utf-8', 'surrogateescape')).hex()[:32]}"
    return text


def _text(env: Environment, name: str) -> str:
    return plain_text(env.get(name, ""), max_characters=256)


def _number(env: Environment, name: str) -> int | None:
    text = env.get(name, "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else None


def _counted(env: Environment, name: str) -> int | None:
    return _number(env, name) or None


def _first(*numbers: int | None) -> int | None:
    return next((number for number in numbers if number is not None), None)


def _field(env: Environment, name: str, *path: str) -> str:
    """A text inside a variable that holds JSON; empty where there is none."""
    try:
        value: object = msgspec.json.decode(env.get(name, "")[: 1 << 20])
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return ""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return plain_text(value, max_characters=256) if isinstance(value, str) else ""
