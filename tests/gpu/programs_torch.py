# SPDX-License-Identifier: Apache-2.0
"""PyTorch: eager operators, a product, a few training steps, pinned copies; checked against its own CPU side."""
import sys

try:
    import torch
except ImportError as missing:
    print(missing)
    sys.exit(77)
if not torch.cuda.is_available():
    # On a machine with a GPU this is a failure of what lies below, no reason to skip.
    print("torch finds no CUDA device")
    sys.exit(1)


def eager():
    a = torch.arange(10_000, dtype=torch.float64)
    d = a.cuda()
    assert torch.equal((d * 2 + 1).cpu(), a * 2 + 1)
    assert abs(d.sum().item() - a.sum().item()) < 1e-6


def product():
    torch.manual_seed(1)
    a, b = torch.randn(256, 512), torch.randn(512, 128)
    torch.testing.assert_close((a.cuda() @ b.cuda()).cpu(), a @ b, rtol=1e-2, atol=1e-2)


def training():
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)).cuda()
    x = torch.randn(512, 20, device="cuda")
    y = x.sum(dim=1, keepdim=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2, losses[::10]


def pinned_copies():
    host = torch.arange(1 << 20, dtype=torch.int32).pin_memory()
    device = host.to("cuda", non_blocking=True)
    back = torch.empty_like(host, pin_memory=True)
    back.copy_(device + 1, non_blocking=True)
    torch.cuda.synchronize()
    assert torch.equal(back, host + 1)


done = []
for program in (eager, product, training, pinned_copies):
    program()
    done.append(program.__name__)
print("right:", ", ".join(done))
