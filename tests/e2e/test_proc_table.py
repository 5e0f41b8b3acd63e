# SPDX-License-Identifier: Apache-2.0
"""cuGetProcAddress, both forms, for every name of the driver around each version at which it changed, with each flag:
against the rule (which symbol since when is in guest/libcuda/symbols.yaml; the rule is written out here a second time),
and, on a host with a GPU, the library of vgpu against the driver, line by line."""
import pytest
import stack
import yaml

DRIVER = 13000
LEGACY, PER_THREAD, UNKNOWN_FLAG = 1, 2, 8
PER_THREAD_SINCE = 7000
NAMES_UNKNOWN = ["!", "cuNoSuchThing", "cuMemAlloc_v2", "cuLaunchKernel_ptsz", "cuStreamGetDevResource", "cudaMalloc", "cu"]


def read_symbols():
    """name: (plain, per thread), each a list of (version, symbol), the newest first."""
    table = {}
    for base, text in yaml.safe_load((stack.SOURCE / "guest" / "libcuda" / "symbols.yaml").read_text("utf-8")).items():
        versions, _, forms = str(text).partition(";")
        plain = [(int(w.partition("_")[0]), w.partition("_")[2]) for w in versions.split()]
        kind, *which = forms.split() or [None]
        name = "cu" + base
        threaded = [(max(since, PER_THREAD_SINCE), f"{name}{'_' + suffix if suffix else ''}_{kind}") for since, suffix in plain
                    if ("_" + suffix if suffix else ".") in which]
        table[name] = ([(v, f"{name}{'_' + s if s else ''}") for v, s in plain][::-1], threaded[::-1])
    return table


def rule(table, name, version, flags):
    """The line that the driver prints."""
    asked = "" if name == "!" else name
    if version > DRIVER or flags & ~(LEGACY | PER_THREAD):
        return "1 -1 - 1 -"
    if asked not in table:
        return "0 1 - 500 -"
    plain, threaded = table[asked]
    for since, symbol in threaded if threaded and flags & PER_THREAD else plain:
        if since <= version:
            return f"0 0 {symbol} 0 {symbol}"
    return "0 2 - 500 -"


def questions(table):
    for name, (plain, threaded) in table.items():
        around = {v + d for v, _ in plain + threaded for d in (-1, 0, 1, 10)} | {0, DRIVER - 10, DRIVER}
        for version in sorted(v for v in around if v <= DRIVER):
            for flags in (0, LEGACY, PER_THREAD, LEGACY | PER_THREAD):
                yield name, version, flags
        yield name, 99999, 0
        yield name, DRIVER, UNKNOWN_FLAG
    for name in NAMES_UNKNOWN:
        for version in (0, 2000, 11030, DRIVER, 99999):
            for flags in (0, LEGACY, PER_THREAD, UNKNOWN_FLAG):
                yield name, version, flags


@pytest.fixture(scope="module")
def table():
    return read_symbols()


@pytest.fixture(scope="module")
def asked(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("proc") / "questions"
    path.write_text("".join(f"{n} {v} {f}\n" for n, v, f in questions(table)), "utf-8")
    return path


def answers(backend, asked):
    result = stack.run_program(backend, "proc_table", asked)
    assert result.status == 0, result.told()
    return result.out.splitlines()


def differences(left, right):
    assert len(left) == len(right)
    return [f"{a}   |   {b}" for a, b in zip(left, right) if a != b]


def test_rule(backend, table, asked):
    wanted = [f"{n} {v} {f}: {rule(table, n, v, f)}" for n, v, f in questions(table)]
    wrong = differences(wanted, answers(backend, asked))
    assert not wrong, f"{len(wrong)} of {len(wanted)} differ (rule | {backend}): " + "; ".join(wrong[:10])


def test_like_the_driver(asked):
    why = stack.backend_missing("native")
    if why:
        pytest.skip(why)
    wrong = differences(answers("native", asked), answers("cuda", asked))
    assert not wrong, f"{len(wrong)} differ (driver | vgpu): " + "; ".join(wrong[:10])
