#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# libnvidia-ml.so.1's names: as many as the library of driver 580 has, and each answers that nothing is initialised.
import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import exports  # noqa: E402  (found through the line above)

NOT_ABOUT_STATE = {'nvmlErrorString', 'nvmlInternalGetExportTable', 'nvmlInit', 'nvmlInit_v2', 'nvmlInitWithFlags'}


def main():
    names, nvml = exports.check(*sys.argv[1:3], 'nvml', 'libnvidia-ml.so.1', 404)
    assert len(names) == 404, len(names)
    for name in sorted(names - NOT_ABOUT_STATE):
        assert getattr(nvml, name)(*[ctypes.c_void_p(None)] * 6) == 1, name
    # no mediator: as without a driver
    os.environ['VGPU_SOCKET'] = '/nonexistent/socket'
    assert nvml.nvmlInit_v2() == 9
    assert nvml.nvmlShutdown() == 1


main()
