"""``config`` and ``completion``: no store is opened."""

import click
from click.shell_completion import get_completion_class

from artifactstore.cli.command import command, current
from artifactstore.cli.output import human_bytes, json_text, print_json, print_table, printable, say
from artifactstore.config import Settings, load_settings, user_file_path
from artifactstore.redaction import redact_url

SHELLS = ("bash", "zsh", "fish")
PROGRAMS = ("artifactstore", "arts")


@command("config")
def config() -> None:
    """Show all settings, and which source decided each."""
    settings = load_settings(current().store)
    if current().json:
        print_json("config", _config_fields(settings))
        return
    say(f"store      {printable(redact_url(settings.store.url))}")
    say(f"because    {printable(settings.store.why)}")
    say("")
    print_table(
        [(c.where, printable(redact_url(c.url or "-")), c.note) for c in settings.store.candidates],
        header=("asked", "says", ""),
    )
    say("")
    print_table([(key, value, printable(origin)) for key, value, origin in _setting_rows(settings)])


def _setting_rows(settings: Settings) -> list[tuple[str, str, str]]:
    def size(value: int | None, otherwise: str) -> str:
        return human_bytes(value) if value else otherwise

    values = {
        "state_dir": printable(str(settings.state_path)),
        "cache_dir": printable(str(settings.cache_path)),
        "cache_size": "none" if settings.cache_bytes == 0 else size(settings.cache_bytes, "automatic"),
        "cache_sharing": settings.cache_sharing,
        "jobs": str(settings.jobs or "automatic"),
        "limit_rate": size(settings.limit_rate_bytes, "none"),
        "max_memory": size(settings.max_memory_bytes, "automatic"),
        "compression": settings.compression,
        "reference_schemes": ", ".join(settings.reference_schemes) or "none",
        "reference_roots": printable(", ".join(settings.reference_roots)) or "none",
        "allow_private_references": "yes" if settings.allow_private_references else "no",
    }
    return [(key, value, settings.origins.get(key, "default")) for key, value in values.items()]


def _config_fields(settings: Settings) -> dict[str, object]:
    def said(key: str, value: object) -> dict[str, object]:
        return {"value": value, "origin": settings.origins.get(key, "default")}

    store = settings.store
    return {
        "store": {
            "url": json_text(redact_url(store.url)),
            "source": store.source.value,
            "where": store.where,
            "why": store.why,
            "candidates": [
                {"source": c.source.value, "where": c.where, "url": c.url, "note": c.note} for c in store.candidates
            ],
        },
        "settings": {
            "state_dir": said("state_dir", json_text(str(settings.state_path))),
            "cache_dir": said("cache_dir", json_text(str(settings.cache_path))),
            "cache_size": said("cache_size", settings.cache_bytes),
            "cache_sharing": said("cache_sharing", settings.cache_sharing),
            "jobs": said("jobs", settings.jobs),
            "limit_rate": said("limit_rate", settings.limit_rate_bytes),
            "max_memory": said("max_memory", settings.max_memory_bytes),
            "compression": said("compression", settings.compression),
            "reference_schemes": said("reference_schemes", list(settings.reference_schemes)),
            "reference_roots": said("reference_roots", [json_text(root) for root in settings.reference_roots]),
            "allow_private_references": said("allow_private_references", settings.allow_private_references),
        },
        "user_file": json_text(str(user_file_path())),
    }


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    r"""Print the completion script for a shell.

    \b
    bash:  eval "$(artifactstore completion bash)"     in ~/.bashrc
    zsh:   eval "$(artifactstore completion zsh)"      in ~/.zshrc
    fish:  artifactstore completion fish | source      in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}", click.get_current_context())
    root = click.get_current_context().find_root().command
    for name in PROGRAMS:
        script = kind(root, {}, name, f"_{name.upper()}_COMPLETE")
        # Not script.source(): for bash it runs bash to look at its version.
        say(script.source_template % script.source_vars())
