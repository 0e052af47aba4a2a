"""Uses the package as its user would; nothing runs this, mypy reads it."""

from typing import assert_type

import topstitch

assert_type(topstitch.__version__, str)
