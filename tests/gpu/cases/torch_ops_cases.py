# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own table of operations (it ships with PyTorch for its tests): each operation's sample inputs on the GPU,
against the processor as the reference. Compared between native and vgpu: which fail, and a sum of what the GPU gave."""
import importlib.util
import itertools
import os
import sys
import time
import types
import unittest
import warnings

# PyTorch's test utilities want it for a base class of tests that nobody here makes.
if not importlib.util.find_spec("expecttest"):
    sys.modules["expecttest"] = types.ModuleType("expecttest")
    sys.modules["expecttest"].TestCase = unittest.TestCase
try:
    import torch
    from torch.testing._internal.common_methods_invocations import op_db
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases, context_lost

D = "cuda"
SAMPLES = int(os.environ.get("VGPU_OP_SAMPLES", "16"))  # of an operation, at most; all there are take some minutes
warnings.simplefilter("ignore")
torch.set_num_threads(8)

# Results that nobody can compare: memory as it was found, drawn numbers, object identities, what a test file defines, and
# "to", whose samples draw the device that they move to.
UNDEFINED = {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided", "resize_", "resize_as_",
             "item", "tolist", "data_ptr", "to_sparse", "normal", "randint", "randint_like", "rand_like", "randn", "randn_like",
             "bernoulli", "cauchy", "exponential", "geometric", "log_normal", "uniform", "multinomial", "randperm",
             "rand", "torch.ops.aten._safe_softmax.default", "to"}
FAMILIES = ("linalg.", "fft.", "nn.functional.", "special.", "sparse.", "masked.", "signal.", "torch.ops.")


def family(op):
    return next((f for f in FAMILIES if op.name.startswith(f)), "")


def on(device):
    """What a sample's transform() is to do; it asks for tensors and for types."""
    def move(t):
        return t.detach().to(device).requires_grad_(t.requires_grad) if isinstance(t, torch.Tensor) else t
    return move


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [t for part in value for t in tensors(part)]
    return []


def magnitude(outputs):
    """One number that a wrong result changes: the sum of what is finite, without signs."""
    total = 0.0
    for t in outputs:
        t = t.detach().to_dense() if t.layout != torch.strided else t.detach()
        t = t.resolve_conj().resolve_neg()
        t = torch.view_as_real(t) if t.is_complex() else t
        total += torch.nan_to_num(t.double(), 0.0, 1.0, -1.0).abs().sum().item() if t.numel() else 0.0
    return total


def compare(want, got, loose):
    for a, b in zip(want, got, strict=True):
        torch.testing.assert_close(b.detach().cpu(), a.detach(), equal_nan=True, check_layout=False, **loose)


def try_sample(op, sample, gradients, loose):
    """The sum of what the GPU gives for one sample, and what is wrong with it, or None."""
    inputs = {}
    for device in ("cpu", D):
        torch.manual_seed(0)
        moved = sample.transform(on(device))
        if "device" in moved.kwargs:
            moved.kwargs["device"] = device
        outputs = tensors(op(moved.input, *moved.args, **moved.kwargs))
        if gradients:
            leaves = [t for t in tensors([moved.input, list(moved.args), list(moved.kwargs.values())]) if t.requires_grad]
            roots = [t for t in outputs if t.requires_grad]
            loss = sum(t.abs().sum() for t in roots)
            outputs = [g for g in torch.autograd.grad(loss, leaves, allow_unused=True) if g is not None]
        inputs[device] = outputs
    try:
        compare(inputs["cpu"], inputs[D], loose)
        wrong = None
    except (AssertionError, ValueError) as error:
        wrong = str(error).splitlines()[0]
    return magnitude(inputs[D]), wrong


def run_op(op, kind, gradients, samples):
    """What became of one operation: a sum, or a word why there is none."""
    loose = {"rtol": 2e-2, "atol": 2e-2} if kind in (torch.bfloat16, torch.float16) else {"rtol": 2e-3, "atol": 1e-3} \
        if kind.is_floating_point or kind.is_complex else {"rtol": 0, "atol": 0}
    torch.manual_seed(0)
    total, wrong = 0.0, None
    try:
        chosen = list(itertools.islice(op.sample_inputs("cpu", kind, requires_grad=gradients), samples))
    except Exception as error:  # pylint: disable=broad-except
        return f"no samples: {type(error).__name__}"
    for sample in chosen:
        try:
            part, bad = try_sample(op, sample, gradients, loose)
        except Exception as error:  # pylint: disable=broad-except
            return f"{type(error).__name__}: {error}".splitlines()[0][:90]
        total += part
        wrong = wrong or bad
    return f"wrong: {wrong}"[:90] if wrong else total


def run(kind, chosen, gradients=False, samples=SAMPLES):
    sums, failed, skipped, slowest = {}, {}, 0, []
    for op in op_db:
        name = f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name
        types = op.supported_backward_dtypes("cuda") if gradients else op.supported_dtypes("cuda")
        if not chosen(op) or op.name in UNDEFINED or kind not in types or kind not in op.supported_dtypes("cpu") \
                or gradients and not op.supports_autograd:
            skipped += 1
            continue
        start = time.perf_counter()
        result = run_op(op, kind, gradients, samples)
        slowest.append((round(time.perf_counter() - start, 2), name))
        if isinstance(result, float):
            sums[name] = result
        else:
            failed[name] = result
            if context_lost():
                raise RuntimeError(f"{name} takes the context: {result}")
    return {"passed": len(sums), "failed": failed, "skipped": skipped, "sums": sums, "_slowest": sorted(slowest)[-5:]}


def elementwise_and_others():
    return run(torch.float32, lambda op: not family(op))


def linear_algebra():
    return run(torch.float32, lambda op: family(op) == "linalg.")


def fft_and_special():
    return run(torch.float32, lambda op: family(op) in ("fft.", "special.", "signal.", "masked."))


def neural_networks():
    return run(torch.float32, lambda op: family(op) == "nn.functional.")


def sparse_and_internal():
    return run(torch.float32, lambda op: family(op) in ("sparse.", "torch.ops."))


def integers():
    return run(torch.int64, lambda op: True)


def bfloat16():
    return run(torch.bfloat16, lambda op: family(op) != "linalg.")


def complex_numbers():
    """With a quarter of the samples: on an H200 all of them took more than 200 s natively."""
    return run(torch.complex64, lambda op: family(op) in ("", "linalg.", "fft."), samples=max(1, SAMPLES // 4))


def booleans():
    return run(torch.bool, lambda op: not family(op))


def gradients_float32():
    return run(torch.float32, lambda op: True, gradients=True)


cases(elementwise_and_others, linear_algebra, fft_and_special, neural_networks, sparse_and_internal, integers, bfloat16,
      complex_numbers, booleans, gradients_float32)
