# SPDX-License-Identifier: Apache-2.0
"""What holds for each library of the guest: it exports exactly the names of its version script, under its soname,
needs nothing but libc, and a program finds the names with dlsym."""
import ctypes
import re
import subprocess


def check(library, version_script, prefix, soname, least):
    """The names, and the loaded library."""
    wanted = set(re.findall(rf'^\t({prefix}\w+);', open(version_script).read(), re.M))
    out = subprocess.run(['nm', '-D', '--defined-only', library], check=True, capture_output=True, text=True).stdout
    found = {line.split()[-1] for line in out.splitlines()}
    assert len(wanted) >= least, len(wanted)
    assert found == wanted, sorted(found ^ wanted)
    dynamic = subprocess.run(['readelf', '-d', library], check=True, capture_output=True, text=True).stdout
    assert re.search(rf'SONAME.*\[{re.escape(soname)}\]', dynamic), dynamic
    needed = set(re.findall(r'NEEDED.*\[(.*)\]', dynamic))
    assert all(n.startswith(('libc.so', 'ld-linux', 'libpthread.so')) for n in needed), needed

    loaded = ctypes.CDLL(library)
    missing = [name for name in wanted if not hasattr(loaded, name)]
    assert not missing, missing
    return wanted, loaded
