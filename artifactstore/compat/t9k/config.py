"""`t9k.CONFIG`: what scripts set instead of passing it to `em.login`."""

from collections.abc import ItemsView, Mapping
from typing import Final

_ITEMS: Final = ("api_key", "aistore_host", "asset_hub_host")


class Config:
    """Three items: ``aistore_host`` (a store's URL), ``asset_hub_host`` and ``api_key``.

    An API key is taken and forgotten at once: reading it gives None. No file is read: those of t9k name servers that
    this package does not talk to.
    """

    def __init__(self) -> None:
        self._values: dict[str, str | None] = dict.fromkeys(_ITEMS)

    def __getitem__(self, key: str) -> str | None:
        return self._values[_checked(key)]

    def __setitem__(self, key: str, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{key}: a text or None, not a {type(value).__name__}")
        self._values[_checked(key)] = None if key == "api_key" else value

    def __delitem__(self, key: str) -> None:
        self._values[_checked(key)] = None

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __repr__(self) -> str:
        return repr(self._values)

    def get(self, key: str, default: str | None = None) -> str | None:
        """An item, or ``default`` where there is no such item."""
        return self._values.get(key, default)

    def update(self, new_config: Mapping[str, str | None]) -> None:
        """Set several items."""
        for key, value in new_config.items():
            self[key] = value

    def to_dict(self) -> dict[str, str | None]:
        """A copy of all items."""
        return dict(self._values)

    def items(self) -> ItemsView[str, str | None]:
        """All items."""
        return self.to_dict().items()


def _checked(key: str) -> str:
    if key not in _ITEMS:
        raise ValueError(f"Invalid SDK config item: {key}")
    return key


CONFIG: Final = Config()
