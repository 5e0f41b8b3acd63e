# SPDX-License-Identifier: Apache-2.0
"""The last minutes of all tenants, for the plot: what they were to have and what they had, step by step."""
import time

import control
import vgpu
from test_turns import crowd


def test_shares_step_by_step(mediator):
    with mediator.connect() as operator, control.connect(mediator) as ctl:
        tenants, *_ = crowd(mediator, operator, (300, 100))
        idle = operator.tenant(name=b"idle").tenant
        first = ctl.do("history")
        step_s = first["step_ns"] / 1e9
        # A step in which both worked from beginning to end.
        vgpu.wait_for(lambda: len(ctl.do("history")["tenants"]) == 2, 3 * step_s)
        begun = ctl.do("history")
        time.sleep(2 * step_s)
        now = ctl.do("history")
        rows = {t["tenant"]: t for t in now["tenants"]}
        assert sorted(rows) == sorted(tenants) and idle not in rows
        whole = begun["from_step"] + len(begun["tenants"][0]["target"]) - now["from_step"]  # began after `begun`
        for tenant, target in zip(tenants, (7500, 2500)):
            row = rows[tenant]
            assert len(row["target"]) == len(row["achieved"]) == 299
            assert abs(row["target"][whole] - target) < 1200, row["target"][-5:]
            assert abs(row["achieved"][whole] - target) < 1200, row["achieved"][-5:]
        assert 0 <= now["age_ns"] < now["step_ns"]
        assert [len(t["target"]) for t in ctl.do("history", most=2)["tenants"]] == [2, 2]


def test_bad_most(mediator):
    with control.connect(mediator) as ctl:
        for most in (0, -1, 300, 1 << 40):
            assert ctl.refused("history", most=most) == ("value", "most: not 1 to 299")
