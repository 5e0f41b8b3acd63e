#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# libcuda.so.1 exports exactly the names of its table, under its soname, needs nothing but libc, and a program
# finds them with dlsym.
import ctypes
import re
import subprocess
import sys


def main():
    library, version_script = sys.argv[1:3]
    wanted = set(re.findall(r'^\t(cu\w+);', open(version_script).read(), re.M))
    out = subprocess.run(['nm', '-D', '--defined-only', library], check=True, capture_output=True, text=True).stdout
    found = {line.split()[-1] for line in out.splitlines()}
    assert len(wanted) > 600, len(wanted)
    assert found == wanted, sorted(found ^ wanted)
    dynamic = subprocess.run(['readelf', '-d', library], check=True, capture_output=True, text=True).stdout
    assert re.search(r'SONAME.*\[libcuda\.so\.1\]', dynamic), dynamic
    needed = set(re.findall(r'NEEDED.*\[(.*)\]', dynamic))
    assert all(n.startswith(('libc.so', 'ld-linux', 'libpthread.so')) for n in needed), needed

    cuda = ctypes.CDLL(library)
    missing = [name for name in wanted if not hasattr(cuda, name)]
    assert not missing, missing
    assert cuda.cuDeviceGetCount(ctypes.byref(ctypes.c_int())) == 3
    # a call that is not there: says so, and says first that nothing is initialised
    assert cuda.cuGraphCreate(None, 0) == 3


main()
