"""Content-addressed artifact and directory store over nothing but a bucket or a folder.

    import artifactstore

    with artifactstore.open_store() as store:
        store.push("runs/1", "models/resnet")
        store.pull("models/resnet:v1", "elsewhere")

Everything named here is public. It is imported when it is first used: ``import artifactstore`` alone costs nothing.
"""

from typing import TYPE_CHECKING

from artifactstore._version import __version__

if TYPE_CHECKING:
    from artifactstore.errors import ArtifactStoreError as ArtifactStoreError

_EXPORTS = {
    "errors": ("ArtifactStoreError",),
}
_MODULES = {name: f"artifactstore.{module}" for module, names in _EXPORTS.items() for name in names}

__all__ = ["__version__", *sorted(_MODULES)]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
