"""`python -m gollem` is the `gollem` command."""

from gollem.cli import main

if __name__ == "__main__":
    main()
