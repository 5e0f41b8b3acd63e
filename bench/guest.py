# SPDX-License-Identifier: Apache-2.0
"""The bench's programs in a virtual machine with a vgpu. Where the guest is translated its own code is slow, and with it every
row; what the host's stub spends does not depend on that, and has rows of its own."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/vm"))
import machine  # noqa: E402  (found through the line above)

# Row, the channel program's row, how often: twice, so that what a channel's opening costs cancels out.
HOST_ROWS = [("host_bell", "bell", (5000, 25000)), ("host_ping_slept", "ping_slept", (500, 2500))]


def processor_ns(pid):
    """Time on a processor of all the process's threads that live."""
    spent = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                spent += int(f.read().split()[0])
        except OSError:
            pass
    return spent


class Guest:
    """A virtual machine for as long as the rounds last, in the place of a command's prefix."""

    def __init__(self, backend):
        self.backend, self.running, self.mediator = backend, None, None
        which = subprocess.run([machine.SCRIPTS / "run-guest", "--which"], capture_output=True, text=True, check=False)
        self.emulated = which.stdout.strip()

    def missing(self):
        return machine.missing() or machine.missing_device()

    def told(self):
        """How the rows are to be read."""
        how = "the guest's own code is TRANSLATED (TCG): its rows say little of hardware, the host's rows do" \
            if self.emulated.endswith("tcg") else "under KVM"
        return f"vm: {how}; {self.emulated}; backend {self.backend}"

    def start(self):
        subprocess.run([machine.SCRIPTS / "make-initramfs", "--build", machine.stack.BUILD, "--output", machine.INITRD], check=True,
                       stdout=subprocess.DEVNULL)
        self.mediator = machine.stack.Mediator(self.backend)
        self.mediator.__enter__()
        # A translated processor that polls must not keep the other from running.
        self.running = machine.Machine(self.mediator, memory="2G", cpus=4 if (os.cpu_count() or 1) > 4 else 2)

    def run(self, words, seconds):
        if not self.running:
            self.start()
        done = self.running.guest.run(" ".join(words), seconds / machine.SLOWER)
        if done.status == "timeout":
            raise subprocess.TimeoutExpired(words[0], seconds)
        return subprocess.CompletedProcess(words[0], done.status, done.out, done.err)

    def host_rows(self, seconds):
        """{row: entry} of what the stub spends on one of each."""
        rows = {}
        for name, what, counts in HOST_ROWS:
            spent = []
            for count in counts:
                before = processor_ns(self.running.stub.pid)
                if self.run(["vgpu-bench-channel", "--only", what, "--count", str(count)], seconds).returncode:
                    break
                spent.append(processor_ns(self.running.stub.pid) - before)
            if len(spent) == 2:
                rows[name] = {"row": name, "unit": "us", "value": (spent[1] - spent[0]) / (counts[1] - counts[0]) / 1e3, "rounds": 1}
        return rows

    def close(self):
        if self.running:
            self.running.close()
        if self.mediator:
            self.mediator.close()
