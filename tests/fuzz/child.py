"""One process of the fuzzer: some examples of one seed.

    python -m tests.fuzz.child SEED EXAMPLES STEPS JOURNAL

It prints what was done as one line of JSON.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import sys

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz import base, machine


def main() -> None:
    """Run the examples."""
    number, examples, steps, path = sys.argv[1:]
    faulthandler.enable()
    logging.getLogger("pygearman_cffi").propagate = False
    base.journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        run_state_machine_as_test(
            seed(int(number))(machine.Machine),
            settings=settings(
                max_examples=int(examples),
                stateful_step_count=int(steps),
                deadline=None,
                database=None,
                # The first failure is the one to see: a server's death comes at another
                # moment when the same steps are taken again.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                verbosity=Verbosity.normal,
            ),
        )
    finally:
        if base.world is not None:
            base.world.close()
    print(json.dumps(vars(base.record)))


if __name__ == "__main__":
    main()
