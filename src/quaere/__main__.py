"""`python -m quaere`, which is how launchers of several processes start the command."""

from quaere.cli import main

main()
