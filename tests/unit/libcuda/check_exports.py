#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# libcuda.so.1's names, and what it answers before it is initialised.
import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import exports  # noqa: E402  (found through the line above)


def main():
    _, cuda = exports.check(*sys.argv[1:3], 'cu', 'libcuda.so.1', 601)
    assert cuda.cuDeviceGetCount(ctypes.byref(ctypes.c_int())) == 3
    # a call that is not there: says so, and says first that nothing is initialised
    assert cuda.cuGraphCreate(None, 0) == 3


main()
