"""Write docs/settings.md, or with --check tell whether it is stale."""

from oneshot.cli.settings import main

if __name__ == "__main__":
    main()
