"""Lets `python -m mbashara` be the same command as `mbashara`."""

from mbashara.cli import main

raise SystemExit(main())
