# SPDX-License-Identifier: Apache-2.0
from vgpu import *
import time
def test_open():
    with mediator() as m:
        c = m.connect()
        ch = c.open()
        ch.do("work 200 0")
        time.sleep(0.3)
        for r in c.status().values(): print(vars(r))
        print(m.log())
def test_shares():
    with mediator() as m:
        op = m.connect()
        ts = [op.tenant(name=b"w%d" % w, weight=w*100) for w in (4,2,1)]
        cs = [Client(t.path) for t in ts]
        chs = [c.open() for c in cs]
        for ch in chs: ch.do("work 200 0")
        time.sleep(1.5)
        rows = op.status()
        tot = sum(rows[t.tenant].contended_gpu_ns for t in ts)
        for t in ts: r=rows[t.tenant]; print(r.name, r.contended_gpu_ns/tot, r.turns, r.contended_ns/1e6, r.gpu_ns/1e6, r.launches)
        print(m.log()[-2000:])
