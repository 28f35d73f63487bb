"""A project: the folder of a store where jobs share files, models and data sets."""

from typing import Final, Self

from artifactstore.jobs.identity import identify
from artifactstore.jobs.job import open_job
from artifactstore.jobs.project_folder import project_folder
from artifactstore.jobs.releases import ReleaseKind, Releases
from artifactstore.jobs.shared_files import SharedArtifacts
from artifactstore.jobs.single_files import PathLike
from artifactstore.store import Store, open_store


class Project:
    """What the jobs of one project share. Made by `project`; use it as a context manager, or `close` it.

    Attributes:
        name: Its folder in the store.
        shared: Files. models, datasets: directories and files with semantic versions.
    """

    def __init__(self, name: str, store: Store, *, job_id: str = "", owns_store: bool = False) -> None:
        self.name: Final = project_folder(name)
        self.store: Final = store
        self.shared: Final = SharedArtifacts(store, name, job_id=job_id)
        self.models: Final = Releases(store, name, ReleaseKind.MODELS, job_id=job_id)
        self.datasets: Final = Releases(store, name, ReleaseKind.DATASETS, job_id=job_id)
        self._owns_store = owns_store

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.store.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store if `project` opened it. Calling it twice is fine."""
        if self._owns_store:
            self.store.close()


def project(name: str | None = None, store: Store | PathLike | None = None) -> Project:
    """A project by its name.

    Args:
        name: One part of a name, or several with slashes (``team/vision``), at most six. By default that of the job
            that this code works for, or would.
        store: An open store or where it is; by default the job's, else the one that the settings name.

    Raises:
        InvalidName: It can't be a folder of a store; the message says why, and what to do.
    """
    job = open_job()
    if name is None:
        name = job.project if job is not None else identify().project
    project_folder(name)
    if store is None and job is not None:
        store = job.store
    if isinstance(store, Store):
        return Project(name, store)
    return Project(name, open_store(store), owns_store=True)
