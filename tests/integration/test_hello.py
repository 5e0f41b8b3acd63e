# SPDX-License-Identifier: Apache-2.0
"""HELLO: versions, features, what the answer says, and the time there is for it."""
import os
import struct

import pytest
import vgpu


def test_answer_names_tenant_weight_and_quota(mediator):
    with mediator.connect() as c:
        assert (c.greeting.version, c.greeting.features, c.greeting.cookie) == (1, 0, 1)
        assert c.greeting.weight == 100 and c.greeting.memory == 0
        assert c.greeting.tenant == next(iter(c.status().values())).tenant


def test_defaults_of_tenants_are_settings():
    with vgpu.mediator("--set", "tenant.weight=7", "--set", "tenant.memory=3G") as m, m.connect() as c:
        assert (c.greeting.weight, c.greeting.memory) == (7, 3 << 30)


@pytest.mark.parametrize("low, high", [(1, 1), (0, 1), (1, 9), (0, 0xffffffff)])
def test_any_range_with_our_version_is_fine(mediator, low, high):
    with mediator.connect(say_hello=False) as c:
        assert c.ask(vgpu.hello(low, high)).kind == vgpu.HELLO_OK


@pytest.mark.parametrize("low, high", [(2, 2), (2, 0xffffffff), (0, 0)])
def test_no_common_version(mediator, low, high):
    with mediator.connect(say_hello=False) as c:
        answer = c.ask(vgpu.hello(low, high, cookie=77))
        assert (answer.kind, answer.code, answer.cookie) == (vgpu.ERROR, vgpu.E_VERSION, 77)
        assert c.receive() is None


def test_upside_down_range_is_malformed(mediator):
    with mediator.connect(say_hello=False) as c:
        assert c.ask(vgpu.hello(3, 1)).code == vgpu.E_PROTOCOL
        assert c.receive() is None


def test_unknown_features_are_not_taken(mediator):
    with mediator.connect(say_hello=False) as c:
        assert c.ask(vgpu.hello(features=1 << 63 | 2)).features == 0


def test_virtual_machines_are_a_feature(mediator):
    with mediator.connect(say_hello=False) as c:
        assert c.ask(vgpu.hello(features=(1 << 64) - 1)).features == vgpu.FEATURE_VM


def test_same_user_same_tenant(mediator):
    with mediator.connect() as a, mediator.connect() as b:
        assert a.greeting.tenant == b.greeting.tenant


def test_silence_is_limited(mediator):
    with mediator.connect(say_hello=False) as c:
        answer = c.receive(timeout=8)
        assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_PROTOCOL)
        assert "HELLO" in answer.text
        assert c.receive() is None


def test_credentials_are_the_kernels_word(mediator):
    # Nothing in the packet says who one is: the tenant is named after the uid of the socket's peer.
    with mediator.connect() as c:
        assert c.status()[c.greeting.tenant].name == f"uid-{os.getuid()}"


def test_layout_of_hello_is_32_bytes():
    assert len(vgpu.hello()) == 32 and struct.unpack_from("<I", vgpu.hello())[0] == 0x55504756
