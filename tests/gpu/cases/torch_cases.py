# SPDX-License-Identifier: Apache-2.0
"""PyTorch, unmodified: what programs do with it, case by case."""
import os
import sys

try:
    import torch
    import torch.nn.functional as F
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases
from timing import sync_time

D = "cuda"


def device():
    p = torch.cuda.get_device_properties(0)
    return [p.name, p.total_memory, p.multi_processor_count, list(torch.cuda.get_device_capability()),
            torch.cuda.device_count(), torch.cuda.mem_get_info()[1]]


def products():
    out = []
    torch.manual_seed(0)
    for kind in (torch.float32, torch.float16, torch.bfloat16):
        for m, k, n in ((64, 512, 64), (256, 512, 128), (1024, 1024, 1024), (8, 4096, 8), (1, 4096, 4096)):
            a, b = torch.randn(m, k, device=D, dtype=kind), torch.randn(k, n, device=D, dtype=kind)
            out.append((a @ b).double().sum().item())
    return out


def product_tf32():
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    a = torch.randn(512, 512, device=D)
    value = (a @ a).double().sum().item()
    torch.backends.cuda.matmul.allow_tf32 = False
    return value


def product_fp8():
    torch.manual_seed(0)
    a = torch.randn(64, 128, device=D).to(torch.float8_e4m3fn)
    b = torch.randn(64, 128, device=D).to(torch.float8_e4m3fn).t()
    one = torch.tensor(1.0, device=D)
    return torch._scaled_mm(a, b, one, one, out_dtype=torch.bfloat16).double().sum().item()


def linear_algebra():
    torch.manual_seed(0)
    a = torch.randn(64, 64, device=D)
    spd = a @ a.t() + 64 * torch.eye(64, device=D)
    return [torch.linalg.cholesky(spd).sum().item(), torch.linalg.svd(a)[1].sum().item(),
            torch.linalg.qr(a)[1].abs().sum().item(), torch.linalg.eigvalsh(spd).sum().item()]


def fft():
    torch.manual_seed(0)
    return [torch.fft.fft(torch.randn(1024, device=D)).abs().sum().item(),
            torch.fft.rfft2(torch.randn(100, 100, device=D)).abs().sum().item()]


def sparse():
    return (torch.eye(32, device=D).to_sparse_csr() @ torch.ones(32, 4, device=D)).sum().item()


def random():
    torch.manual_seed(3)
    return [torch.randn(1000, device=D).sum().item(), torch.randperm(100, device=D)[:5].tolist()]


def sorting():
    torch.manual_seed(0)
    x = torch.randn(10000, device=D)
    return [x.sort()[0][5].item(), x.topk(5)[0].sum().item(), x.cumsum(0)[-1].item(), torch.unique(x.round()).numel()]


def convolution_training():
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.Flatten(),
                                torch.nn.Linear(16 * 30 * 30, 10)).to(D)
    x, y = torch.randn(16, 3, 32, 32, device=D), torch.randint(0, 10, (16,), device=D)
    optimizer, losses = torch.optim.AdamW(model.parameters()), []
    for _ in range(10):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def autocast_training():
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 8)).to(D)
    scaler, optimizer = torch.amp.GradScaler("cuda"), torch.optim.SGD(model.parameters(), lr=0.01)
    x, losses = torch.randn(128, 64, device=D), []
    for _ in range(5):
        with torch.autocast("cuda", torch.float16):
            loss = model(x).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def attention():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    torch.manual_seed(0)
    q, out = torch.randn(2, 8, 128, 64, device=D, dtype=torch.bfloat16), []
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH, SDPBackend.CUDNN_ATTENTION):
        with sdpa_kernel(backend):
            out.append(F.scaled_dot_product_attention(q, q, q, is_causal=True).double().sum().item())
    return out


def graph():
    torch.manual_seed(0)
    x, side = torch.randn(64, 64, device=D), torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            y = (x @ x).relu()
    torch.cuda.synchronize()
    g, out = torch.cuda.CUDAGraph(), []
    with torch.cuda.graph(g):
        y = (x @ x).relu()
    for scale in (1, 2):
        x.mul_(scale)
        g.replay()
        out.append(y.double().sum().item())
    return out


def compiled():
    f = torch.compile(lambda a: (a.sin() * a.cos()).sum())
    return f(torch.ones(1000, device=D)).item()


def pinned_and_events():
    host = torch.arange(1 << 20).pin_memory()
    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    a.record()
    there = host.to(D, non_blocking=True)
    b.record()
    b.synchronize()
    return [there.sum().item(), a.elapsed_time(b) > 0]


def loader():
    data = torch.utils.data.TensorDataset(torch.arange(64.0))
    batches = torch.utils.data.DataLoader(data, batch_size=8, num_workers=2, pin_memory=True)
    return sum(b[0].to(D, non_blocking=True).sum().item() for b in batches)


def out_of_memory():
    try:
        torch.empty(1 << 40, device=D)
    except torch.cuda.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        return [str(error)[:70], torch.ones(10, device=D).sum().item()]
    return "no error"


def nccl():
    import torch.distributed as distributed
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29513")
    distributed.init_process_group("nccl", rank=0, world_size=1)
    t = torch.ones(10, device=D)
    distributed.all_reduce(t)
    distributed.destroy_process_group()
    return t.sum().item()


def eager_us():
    z = torch.zeros(1, device=D)
    return {"us": sync_time(lambda: z.add_(1), 20000)}


def item_us():
    z = torch.zeros(1, device=D)
    return {"us": sync_time(z.item, 2000)}


class Block(torch.nn.Module):
    """One layer of a model shaped like GPT-2 124M."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.mlp = torch.nn.Sequential(torch.nn.Linear(width, 4 * width), torch.nn.GELU(), torch.nn.Linear(4 * width, width))

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = (p.view(b, t, self.heads, -1).transpose(1, 2) for p in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, w))
        return x + self.mlp(self.norm2(x))


def gpt2_step():
    torch.manual_seed(0)
    embed = torch.nn.Embedding(50304, 768)
    model = torch.nn.Sequential(embed, *[Block(768, 12) for _ in range(12)], torch.nn.LayerNorm(768),
                                torch.nn.Linear(768, 50304, bias=False)).to(D)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    x, losses = torch.randint(0, 50304, (4, 512), device=D), []

    def step():
        with torch.autocast("cuda", torch.bfloat16):
            loss = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    for _ in range(3):
        losses.append(step().item())
    return {"losses": losses, "us": sync_time(step, 20)}


@torch.no_grad()
def decoded_tokens():
    """Greedy, a few tokens of a model with random weights, each from all that came before it."""
    torch.manual_seed(0)
    embed, head = torch.nn.Embedding(1000, 256), torch.nn.Linear(256, 1000, bias=False)
    model = torch.nn.Sequential(embed, Block(256, 4), Block(256, 4), torch.nn.LayerNorm(256), head).to(D)
    tokens = torch.arange(1, 9, device=D)[None]
    for _ in range(8):
        tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], 1)
    return tokens[0].tolist()


cases(device, products, product_tf32, product_fp8, linear_algebra, fft, sparse, random, sorting,
      convolution_training, autocast_training, attention, graph, compiled, pinned_and_events, loader,
      out_of_memory, nccl, eager_us, item_us, gpt2_step, decoded_tokens)
