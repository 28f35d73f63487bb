"""``python -m artifactstore``: the command line."""

from artifactstore.cli.main import main

if __name__ == "__main__":
    main()
