"""Run the command line as `python -m coun`."""

import sys

from coun.cli import main

sys.exit(main())
