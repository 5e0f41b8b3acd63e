# SPDX-License-Identifier: Apache-2.0
"""The bench's programs on this host, through a mediator that is up before they come and stays, as an operator's does."""
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))
import stack  # noqa: E402  (found through the line above)

BETWEEN_S = 1.0  # an executor is started ahead meanwhile


class Host:
    def __init__(self, backend):
        self.backend, self.mediator = backend, None

    def run(self, words, seconds):
        if not self.mediator:
            self.mediator = stack.Mediator(self.backend, ("executor.warm=1",))
            self.mediator.__enter__()
        time.sleep(BETWEEN_S)
        command = [stack.VGPU_RUN, "--socket", self.mediator.socket, "--", stack.BUILD / "bench" / words[0], *words[1:]]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds, check=False,
                              env=stack.clean_environment(self.backend))

    def close(self):
        if self.mediator:
            self.mediator.close()
