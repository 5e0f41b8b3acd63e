# SPDX-License-Identifier: Apache-2.0
"""How long a call takes in a steady state."""
import time

import torch


def sync_time(function, times):
    """Microseconds of one call, enqueued one after the other."""
    for _ in range(min(times, 10)):
        function()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        function()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / times * 1e6
