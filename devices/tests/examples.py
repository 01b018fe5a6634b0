"""How many examples long tests take: a part of them in `make test`, all in `make test-all`."""

import os

# Set by `.ci/test slow` and `.ci/test-citus`.
ALL = "ALL_EXAMPLES" in os.environ


def examples(few: int, *, of: int) -> int:
    """`few` in the quick suite, else `of`. Mark the test with `examples`, so that the slow suite runs it again."""
    return of if ALL else few
