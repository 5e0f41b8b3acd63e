# SPDX-License-Identifier: Apache-2.0
"""One JSON line a case: its name, what came out, seconds a run (the median), or the error. One failed case does not
hide the others, unless the device's context is lost."""
import json
import statistics
import sys
import time

ONLY = sys.argv[1:]


def case(function, repeat=1, warm=0):
    name = function.__name__
    if ONLY and name not in ONLY:
        return
    line = {"case": name}
    try:
        for _ in range(warm):
            function()
        seconds = []
        for _ in range(repeat):
            start = time.perf_counter()
            line["value"] = function()
            seconds.append(time.perf_counter() - start)
        line["seconds"] = statistics.median(seconds)
    except Exception as error:  # pylint: disable=broad-except
        line["error"] = f"{type(error).__name__}: {error}"[:400]
    print(json.dumps(line), flush=True)
