# SPDX-License-Identifier: Apache-2.0
"""PyTorch: training steps of whole models, and what a program waits for before its first result."""
import sys

try:
    import torch
    import torch.nn.functional as F
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases, in_child
from timing import sync_time

D = "cuda"
torch.backends.cudnn.deterministic = True


class Bottleneck(torch.nn.Module):
    """A block of ResNet-50."""

    def __init__(self, width_in, width, stride):
        super().__init__()
        def layer(a, b, size, step=1):
            return [torch.nn.Conv2d(a, b, size, step, size // 2, bias=False), torch.nn.BatchNorm2d(b)]
        relu = torch.nn.ReLU(inplace=True)
        self.body = torch.nn.Sequential(*layer(width_in, width, 1), relu, *layer(width, width, 3, stride), relu,
                                        *layer(width, 4 * width, 1))
        same = stride == 1 and width_in == 4 * width
        self.short = torch.nn.Identity() if same else torch.nn.Sequential(*layer(width_in, 4 * width, 1, stride))

    def forward(self, x):
        return F.relu(self.body(x) + self.short(x))


def resnet50():
    """torchvision's, or the same layers where it is not installed."""
    try:
        from torchvision.models import resnet50 as model
        return model(weights=None)
    except ImportError:
        blocks, width_in = [], 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for i in range(count):
                blocks.append(Bottleneck(width_in, width, stride if i == 0 else 1))
                width_in = 4 * width
        return torch.nn.Sequential(torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(64), torch.nn.ReLU(),
                                   torch.nn.MaxPool2d(3, 2, 1), *blocks, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                                   torch.nn.Linear(2048, 1000))


def train_resnet50(kind, layout, batch):
    torch.manual_seed(0)
    model = resnet50().to(D, memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x = torch.randn(batch, 3, 224, 224, device=D).contiguous(memory_format=layout)
    y, losses = torch.randint(0, 1000, (batch,), device=D), []

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", kind, enabled=kind != torch.float32):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        losses.append(step().item())
    return {"losses": losses, "us": sync_time(step, 20)}


def resnet50_float32():
    return train_resnet50(torch.float32, torch.contiguous_format, 32)


def resnet50_bfloat16():
    return train_resnet50(torch.bfloat16, torch.channels_last, 64)


def transformer_encoder():
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).to(D)
    optimizer, x, losses = torch.optim.Adam(model.parameters(), lr=1e-4), torch.randn(8, 64, 256, device=D), []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def lstm():
    torch.manual_seed(0)
    model, x = torch.nn.LSTM(64, 128, 2, batch_first=True).to(D), torch.randn(16, 50, 64, device=D, requires_grad=True)
    out, _ = model(x)
    out.sum().backward()
    return [out.abs().sum().item(), x.grad.abs().sum().item()]


def compiled_training():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.LayerNorm(128), torch.nn.GELU(),
                                torch.nn.Linear(128, 8)).to(D)
    compiled, x, losses = torch.compile(model), torch.randn(256, 64, device=D), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss = compiled(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


FIRST = """
import json, time
start = time.perf_counter()
import torch
loaded = time.perf_counter()
value = torch.zeros(1).cuda().item()
print(json.dumps([value, loaded - start, time.perf_counter() - loaded]))
"""


def first_result():
    """From nothing to the first number that comes back from the GPU; the median of three processes."""
    runs = [in_child(FIRST) for _ in range(3)]
    cuda = sorted(line[2] for line, _ in runs)[1]
    return {"values": [line[0] for line, _ in runs], "status": [status for _, status in runs], "us": cuda * 1e6,
            "_import_s": round(min(line[1] for line, _ in runs), 2)}


cases(first_result, resnet50_float32, resnet50_bfloat16, transformer_encoder, lstm, compiled_training)
