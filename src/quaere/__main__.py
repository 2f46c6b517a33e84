"""`python -m quaere`, which is how launchers of several processes start the command."""

from quaere.cli import main

if __name__ == "__main__":
    main()
