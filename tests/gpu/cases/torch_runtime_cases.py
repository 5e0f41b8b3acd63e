# SPDX-License-Identifier: Apache-2.0
"""PyTorch's CUDA runtime as its documentation describes it: streams, events, copies, generators, graphs, threads, autograd
across streams, deterministic algorithms."""
import sys
import threading

try:
    import torch
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases

D = "cuda"
LONG = 20_000_000  # cycles: some 10 ms on any GPU


def streams():
    """Work of one stream seen by another only through an event or wait_stream; what the host waits for."""
    a, b, out = torch.cuda.Stream(), torch.cuda.Stream(), []
    x = torch.zeros(1000, device=D)
    for way in ("wait_stream", "event"):
        x.zero_()
        torch.cuda.synchronize()
        with torch.cuda.stream(a):
            torch.cuda._sleep(LONG)
            x.add_(1)
            event = a.record_event()
        out.append(a.query())  # still asleep
        if way == "event":
            b.wait_event(event)
        else:
            b.wait_stream(a)
        with torch.cuda.stream(b):
            y = x * 2
        b.synchronize()
        out += [y.sum().item(), a.query(), event.query()]
    return out


def stream_objects():
    default, mine, urgent = torch.cuda.default_stream(), torch.cuda.Stream(), torch.cuda.Stream(priority=-1)
    with torch.cuda.stream(mine):
        inside = torch.cuda.current_stream() == mine
    outside = torch.cuda.ExternalStream(mine.cuda_stream)
    return [default.cuda_stream, inside, torch.cuda.current_stream() == default, urgent.priority, mine.priority,
            outside == mine, mine.query(), list(torch.cuda.Stream.priority_range())]


def events():
    start, middle, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))
    start.record()
    torch.cuda._sleep(LONG)
    middle.record()
    torch.cuda._sleep(4 * LONG)
    end.record()
    asleep = end.query()
    end.synchronize()
    first, second = start.elapsed_time(middle), middle.elapsed_time(end)
    plain = torch.cuda.Event()
    plain.record()
    plain.synchronize()
    try:
        plain.elapsed_time(end)
        said = "no error"
    except (RuntimeError, ValueError) as error:
        said = type(error).__name__
    return [asleep, end.query(), 2 < second / first < 8, said]


def event_across_threads():
    """Recorded in one thread, waited for in others, which compute on streams of their own."""
    event, x, out = torch.cuda.Event(), torch.zeros(1 << 16, device=D), [None] * 4
    torch.cuda._sleep(LONG)
    x.add_(3)
    event.record()

    def part(i):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            stream.wait_event(event)
            out[i] = (x * i).sum().item()

    threads = [threading.Thread(target=part, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out


def memory_of_another_stream():
    """record_stream keeps a block from reuse until the other stream has read it."""
    side, results = torch.cuda.Stream(), []
    for _ in range(10):
        x = torch.full((1 << 20,), 5.0, device=D)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            torch.cuda._sleep(LONG // 20)
            results.append(x.sum())
        x.record_stream(side)
        del x
        torch.full((1 << 20,), 7.0, device=D)
    side.synchronize()
    return [r.item() for r in results]


def copies_not_waited_for():
    """The host goes on while a copy is under way, both directions, and finds the bytes after the event."""
    host, back = torch.arange(1 << 22).pin_memory(), torch.empty(1 << 22, dtype=torch.int64).pin_memory()
    stream, out = torch.cuda.Stream(), []
    with torch.cuda.stream(stream):
        torch.cuda._sleep(5 * LONG)
        there = host.to(D, non_blocking=True)
        there.mul_(3)
        back.copy_(there, non_blocking=True)
        out.append(stream.query())
    stream.synchronize()
    out += [torch.equal(back, host * 3), there.sum().item()]
    pageable = torch.arange(100000)
    device = pageable.to(D, non_blocking=True)
    pageable.zero_()  # pageable memory may change as soon as the call returns
    return out + [device.sum().item(), torch.arange(1000, device=D).to("cpu", non_blocking=False).sum().item()]


def copies_between_types():
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
             torch.uint8, torch.bool, torch.complex64]
    wrong = []
    for source in kinds:
        there = torch.arange(0, 100, device=D).to(source)
        for target in kinds:
            here = torch.arange(0, 100).to(source)
            if not source.is_complex or target.is_complex:
                if not torch.equal(there.to(target).cpu(), here.to(target)):
                    wrong.append(f"{source} to {target}")
                if not torch.equal(torch.empty(100, dtype=target, device=D).copy_(here).cpu(), here.to(target)):
                    wrong.append(f"{source} of the host to {target}")
    return wrong


def strided_copies():
    x = torch.arange(120.0).view(2, 3, 4, 5)
    d = x.to(D)
    views = [lambda t: t.permute(3, 1, 0, 2), lambda t: t[:, ::2, 1:, ::3], lambda t: t.transpose(0, 3)[1:],
             lambda t: t.flip(2), lambda t: t.expand(2, 3, 4, 5).unfold(3, 2, 2), lambda t: t.as_strided((3, 4), (7, 2), 5)]
    out = [torch.equal(v(d).cpu(), v(x)) and torch.equal(v(d).contiguous().cpu(), v(x).contiguous()) for v in views]
    d[:, 1] = x[:, 2].pin_memory()
    out.append(torch.equal(d[:, 1].cpu(), x[:, 2]))
    return out


def generators():
    """The state of the random numbers: saved, set, per generator, counted in a graph, forked."""
    torch.cuda.manual_seed(5)
    first = torch.rand(4, device=D)
    state = torch.cuda.get_rng_state()
    second = torch.rand(4, device=D)
    torch.cuda.set_rng_state(state)
    again = torch.rand(4, device=D)
    mine = torch.Generator(D).manual_seed(5)
    same = torch.rand(4, device=D, generator=mine)
    with torch.random.fork_rng(["cuda:0"]):
        torch.rand(100, device=D)
    third = torch.rand(4, device=D)
    return [first.tolist(), torch.equal(second, again), torch.equal(first, same), third.tolist(), torch.cuda.initial_seed(),
            torch.randint(0, 1000, (5,), device=D).tolist(), torch.bernoulli(torch.full((20,), 0.5, device=D)).sum().item(),
            torch.empty(5, device=D).exponential_().tolist(), torch.multinomial(torch.ones(10, device=D), 3).tolist()]


def random_in_a_graph():
    """Each replay draws new numbers, the ones that would have come without a graph."""
    torch.cuda.manual_seed(9)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        x = torch.rand(4, device=D)
    torch.cuda.manual_seed(9)
    drawn = []
    for _ in range(3):
        graph.replay()
        drawn.append(x.clone())
    torch.cuda.manual_seed(9)
    plain = [torch.rand(4, device=D) for _ in range(3)]
    return [[torch.equal(a, b) for a, b in zip(drawn, plain)], [t.tolist() for t in drawn]]


def graphs():
    """Two graphs of one pool, a graph with a fork to another stream, a training step as a graph, make_graphed_callables."""
    x, pool, out = torch.ones(1000, device=D), torch.cuda.graph_pool_handle(), []
    one, two, side = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.graph(one, pool=pool):
        y = x * 2
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            z = y + 1
        torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(two, pool=pool):
        w = y + z
    for value in (1, 10):
        x.fill_(value)
        one.replay()
        two.replay()
        out.append(w.sum().item())
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Dropout(0.1), torch.nn.ReLU(), torch.nn.Linear(64, 1)).to(D)
    inputs = torch.randn(16, 32, device=D)
    graphed = torch.cuda.make_graphed_callables(model, (inputs,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        loss = graphed(inputs).square().mean()
        loss.backward()
        optimizer.step()
        out.append(loss.item())
    one.reset()
    return out


def whole_step_in_a_graph():
    torch.manual_seed(0)
    model, x = torch.nn.Linear(64, 64).to(D), torch.randn(32, 64, device=D)
    optimizer, side, out = torch.optim.Adam(model.parameters(), lr=0.01, capturable=True), torch.cuda.Stream(), []

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = (model(x) - x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    for _ in range(20):
        graph.replay()
        out.append(loss.item())
    return out


def autograd_across_streams():
    """Backward runs on the streams of forward; gradients from two streams meet in one leaf."""
    a, b = torch.cuda.Stream(), torch.cuda.Stream()
    x = torch.arange(1000.0, device=D, requires_grad=True)
    a.wait_stream(torch.cuda.current_stream())
    b.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(a):
        torch.cuda._sleep(LONG // 4)
        y = x * 3
    with torch.cuda.stream(b):
        z = x.square()
    torch.cuda.current_stream().wait_stream(a)
    torch.cuda.current_stream().wait_stream(b)
    (y + z).sum().backward()
    return [x.grad.sum().item(), x.grad[10].item()]


def autograd_in_threads():
    w, out = torch.ones(256, 256, device=D, requires_grad=True), [0.0] * 4

    def part(i):
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
            grad, = torch.autograd.grad((w * i).tanh().sum(), w)
            out[i] = grad.sum().item()

    threads = [threading.Thread(target=part, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out


def deterministic():
    """With deterministic algorithms two runs agree to the bit, and what has none is refused."""
    torch.use_deterministic_algorithms(True)
    try:
        def run():
            torch.manual_seed(1)
            x, i = torch.randn(1000, 64, device=D, requires_grad=True), torch.randint(0, 50, (1000,), device=D)
            y = torch.zeros(50, 64, device=D).index_add(0, i, x) + torch.nn.functional.embedding(i[:50], x).cumsum(0)
            y.square().sum().backward()
            return x.grad
        same = torch.equal(run(), run())
        try:
            torch.histc(torch.rand(10, device=D), 5)
            said = "no error"
        except RuntimeError as error:
            said = str(error)[:80]
        return [same, said]
    finally:
        torch.use_deterministic_algorithms(False)


def saved_and_loaded():
    import io
    buffer, x = io.BytesIO(), torch.arange(1000.0, device=D)
    torch.save({"x": x, "half": x.half()[::3]}, buffer)
    buffer.seek(0)
    there = torch.load(buffer)
    buffer.seek(0)
    here = torch.load(buffer, map_location="cpu")
    return [str(there["x"].device), there["x"].sum().item(), str(here["half"].device), here["half"].float().sum().item()]


def array_interface():
    """Another view of the same memory: __cuda_array_interface__ and DLPack."""
    x = torch.arange(10.0, device=D)
    face = x.__cuda_array_interface__
    twin = torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x))
    twin.add_(1)
    return [face["typestr"], list(face["shape"]), face["data"][0] == x.data_ptr(), x.sum().item(), list(x.__dlpack_device__())]


def compiled_source():
    """A kernel given as CUDA C++ (NVRTC), where PyTorch has that."""
    kernel = torch.cuda._compile_kernel(
        "__global__ void scale(const float *x, float *y, int n, float by) "
        "{ int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) y[i] = x[i] * by; }", "scale")
    x, y = torch.arange(1000.0, device=D), torch.zeros(1000, device=D)
    kernel((4, 1, 1), (256, 1, 1), (x, y, 1000, 2.5))
    return y.sum().item()


def jiterator():
    f = torch.cuda.jiterator._create_jit_fn("template <typename T> T f(T x, T y, T k) { return x * y + k; }", k=2.0)
    return f(torch.arange(10.0, device=D), torch.arange(10.0, device=D)).tolist()


def nvtx_and_profiler():
    with torch.cuda.nvtx.range("a range"):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            value = torch.ones(10, device=D).sum().item()
    return [value, any(e.key == "aten::sum" for e in profile.key_averages())]


cases(streams, stream_objects, events, event_across_threads, memory_of_another_stream, copies_not_waited_for,
      copies_between_types, strided_copies, generators, random_in_a_graph, graphs, whole_step_in_a_graph,
      autograd_across_streams, autograd_in_threads, deterministic, saved_and_loaded, array_interface, compiled_source,
      jiterator, nvtx_and_profiler)
