"""What every test can ask for. A failed test shows the logs of the programs that were running."""

import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

from processes import Program  # noqa: E402
