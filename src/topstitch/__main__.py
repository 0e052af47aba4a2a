"""Runs the command line: ``python -m topstitch``."""

from topstitch.cli import main

main()
