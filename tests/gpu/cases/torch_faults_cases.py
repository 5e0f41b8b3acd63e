# SPDX-License-Identifier: Apache-2.0
"""PyTorch: errors that end a process's use of the GPU. Each happens in a process of its own; compared are the error's
class, its first line, what the next calls say, how the process ends, and that others go on."""
import sys

try:
    import torch
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases, in_child

# Runs the words after it as statements; then asks again, twice, and says what came out of each.
FAULT = """
import json, sys, torch
import torch.nn.functional as F
def told(f):
    try:
        return ["no error", str(f())]
    except Exception as error:
        return [type(error).__name__, str(error).splitlines()[0]]
def fault():
    exec(sys.argv[1], globals())
    torch.cuda.synchronize()
x = torch.arange(10.0, device="cuda")
torch.cuda.synchronize()
out = {"fault": told(fault), "next": told(lambda: x.sum().item()), "alloc": told(lambda: torch.ones(5, device="cuda").sum().item()),
       "capability": told(lambda: torch.cuda.get_device_capability()), "available": torch.cuda.is_available()}
print(json.dumps(out), flush=True)
"""


def after(statement, env=None):
    """What a process says that does so, and whether this one still computes."""
    said, status = in_child(FAULT, statement, env=env)
    return [said, status, torch.arange(10.0, device="cuda").sum().item()]


def index_out_of_range():
    return after("x[torch.tensor([1000], device='cuda')]")


def index_out_of_range_blocking():
    """Launches wait, so the error belongs to the call that made it."""
    return after("x[torch.tensor([1000], device='cuda')]", {"CUDA_LAUNCH_BLOCKING": "1"})


def embedding_out_of_range():
    return after("F.embedding(torch.tensor([12], device='cuda'), torch.ones(4, 4, device='cuda'))")


def bad_class():
    return after("F.nll_loss(torch.randn(3, 5, device='cuda').log_softmax(1), torch.tensor([1, 2, 77], device='cuda'))")


def bad_probabilities():
    return after("torch.multinomial(torch.tensor([-1.0, 2.0], device='cuda'), 1)")


def scatter_out_of_range():
    return after("torch.zeros(4, device='cuda').scatter_(0, torch.tensor([9], device='cuda'), 1.0)")


def asserted():
    return after("torch._assert_async(torch.zeros(1, device='cuda'))")


def no_fault():
    """What only Python finds leaves the GPU alone: the comparison for the others."""
    return after("x.view(3, 4)")


def not_positive_definite():
    """An error that cuSOLVER finds: the GPU goes on."""
    return after("torch.linalg.cholesky(-torch.eye(3, device='cuda'))")


def caught_in_a_graph():
    """An operation that a capture forbids: the capture is lost, the process goes on."""
    return after("g = torch.cuda.CUDAGraph()\nwith torch.cuda.graph(g):\n    x.sum().item()")


cases(no_fault, not_positive_definite, caught_in_a_graph, index_out_of_range, index_out_of_range_blocking,
      embedding_out_of_range, bad_class, bad_probabilities, scatter_out_of_range, asserted)
