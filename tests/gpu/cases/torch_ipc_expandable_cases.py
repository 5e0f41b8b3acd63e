# SPDX-License-Identifier: Apache-2.0
"""As torch_ipc, with memory of cuMemCreate (expandable segments), which goes to other processes as file descriptors."""
import os

os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"

from report import cases  # noqa: E402  (torch reads its environment when it is imported)
from torch_ipc_cases import FUNCTIONS  # noqa: E402

if __name__ == "__main__":
    cases(*FUNCTIONS)
