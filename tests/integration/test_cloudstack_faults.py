# SPDX-License-Identifier: Apache-2.0
"""What vgpu-admin's client makes of a management server that refuses, is slow, cuts answers off or is none; what it asks again
and what never; its configuration; and that the server the other tests ask checks what it says it does."""
import datetime
import os
import pathlib
import time

import admin
import cloudstack_server
import pytest
from inventory import VM1
from test_admin_answers import certificate  # noqa: F401
from test_cloudstack import opened, site  # noqa: F401

SOURCE = pathlib.Path(os.environ.get("VGPU_SOURCE", pathlib.Path(__file__).parents[2]))
LISTS = "listHosts"


def asked(site, name):
    return [p for n, p in site.cloud.asked if n == name]


# ---- the server's own checks

def signed(now, **more):
    p = {"command": "listHosts", "apikey": cloudstack_server.KEY, "signatureversion": "3", "response": "json",
         "expires": (now + datetime.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S%z"), **more}
    return {**p, "signature": cloudstack_server.signature(p, cloudstack_server.SECRET)}


def test_the_server_checks_signatures_and_times():
    now = datetime.datetime(2026, 11, 29, 10, tzinfo=datetime.timezone.utc)
    cloudstack_server.check(signed(now), now)
    late = [{**signed(now), "command": "listhosts2"}, {**signed(now), "x": ""}, signed(now, apikey="x"),
            signed(now, signatureversion="2"), signed(now, expires="2026-11-29T09:59:59+0000"),
            signed(now, expires="2026-11-29T10:05:00"), signed(now, expires="2027-11-29T10:00:00+0000")]
    for parameters in late:
        with pytest.raises(cloudstack_server.Refused) as e:
            cloudstack_server.check(parameters, now)
        assert e.value.code == 401
    # The example of CloudStack's documentation.
    key = "plgWJfZK4gyS3mOMTVmjUVg-X-jlWlnfaUJ9GAbBbf9EdM-kAYMmAiLqzzq1ElZLYq_u38zCm0bewzGUdP66mg"
    secret = "VDaACYb0LV9eNjTetIOElcVQkvJck_J_QljX_FcHRj87ZKiy0z0ty0ZsYBkoXkY9b7eq1EhwJaw7FF3akA3KBQ"
    assert cloudstack_server.signature({"response": "json", "command": "listUsers", "apikey": key}, secret) == \
        "TTpdDq/7j/J58XCRHomKoQXEQds="


def test_every_request_is_signed_and_expires(site):
    site.ok("status")
    now = datetime.datetime.now(datetime.timezone.utc)
    for _, p in site.cloud.asked:
        left = datetime.datetime.strptime(p["expires"], "%Y-%m-%dT%H:%M:%S%z") - now
        assert datetime.timedelta(minutes=9) < left <= datetime.timedelta(minutes=10)
        assert p["signatureversion"] == "3" and p["response"] == "json"


def test_values_of_all_kinds_are_signed(site):
    site.configure("[offering small]\nname = a b+c*d~e&f=g/h%é\ncpunumber = 1\ncpuspeed = 1\nmemory = 1\n")
    site.ok("setup")
    assert site.cloud.offerings[0]["name"] == "a b+c*d~e&f=g/h%é"


# ---- refusals and their next steps

@pytest.mark.parametrize("code, step", [(401, "compare apikey and secretkey"), (431, "4.21 or later"), (432, "docs/cloudstack.md"),
                                        (533, "no room")])
def test_refusals_are_not_asked_again(site, code, step):
    site.cloud.faults[LISTS] = [code]
    said = site.refused("status")
    assert f"listHosts ({code}): fault {code}" in said and step in said
    assert len(asked(site, LISTS)) == 1


@pytest.mark.parametrize("fault", [429, 500, 503, 530, "closed", "truncated", "page"])
def test_queries_are_asked_again(site, fault):
    site.cloud.faults[LISTS] = [fault, fault]
    assert "kvm1" in site.ok("status")
    assert len(asked(site, LISTS)) >= 3


@pytest.mark.parametrize("fault, code, said", [
    (429, admin.REFUSED, "try again later"), (530, admin.REFUSED, "management-server.log"), ("closed", admin.NO_CONNECTION, "no answer"),
    ("truncated", admin.NO_CONNECTION, "cut off"), ("page", admin.NO_CONNECTION, "Is that CloudStack's API")])
def test_but_not_for_ever(site, fault, code, said):
    site.cloud.faults[LISTS] = [fault] * 9
    assert said in site.refused("status", code=code)
    assert len(asked(site, LISTS)) == 3


def test_an_answer_without_end(site):
    site.cloud.faults[LISTS] = ["oversized"]
    assert "longer than 16 MiB" in site.refused("status", code=admin.NO_CONNECTION)
    assert len(asked(site, LISTS)) == 1


def test_a_slow_answer(site):
    site.configure(timeout=1, tries=1)
    site.cloud.faults[LISTS] = [3.0]
    assert "no answer" in site.refused("status", code=admin.NO_CONNECTION)


def test_waits_grow(site):
    site.configure(wait_ms=100, tries=4)
    site.cloud.faults[LISTS] = [503] * 9
    begun = time.monotonic()
    site.refused("status")
    assert time.monotonic() - begun >= 0.35  # at least half of 100, 200 and 400 ms


# ---- changes

@pytest.mark.parametrize("fault", [429, 503])
def test_changes_that_were_not_done_are_asked_again(site, fault):
    site.cloud.faults["createGpuCard"] = [fault, fault]
    site.ok("setup")
    assert len(asked(site, "createGpuCard")) == 3 and len(site.cloud.cards) == 1


@pytest.mark.parametrize("fault", ["lost", "truncated", "closed", "oversized", 530])
def test_changes_that_may_have_been_done_are_not(site, fault):
    site.cloud.faults["createGpuCard"] = [fault]
    r = site.run("setup")
    assert r.returncode in (admin.REFUSED, admin.NO_CONNECTION) and "may have been done or not" in r.stderr
    assert len(asked(site, "createGpuCard")) == 1
    site.ok("setup")  # and the next run finds out
    assert len(site.cloud.cards) == 1 and [p["name"] for p in site.cloud.profiles] == ["passthrough", "small"]


def test_a_job_that_cannot_be_asked_for_a_while(site):
    vm = site.cloud.add_vm(VM1, "labs's")
    site.cloud.add_device(site.host, "00000000-0000-4000-8000-000000000001", "small", vm)
    site.cloud.faults["queryAsyncJobResult"] = [530, "closed"]
    assert "VM labs's is stopped." in site.ok("drain", "--yes")
    assert len(asked(site, "stopVirtualMachine")) == 1


def test_the_role_of_the_documentation_is_enough(site):
    text = (SOURCE / "docs/cloudstack.md").read_text()
    listed = set(text.split("```role\n")[1].split("```")[0].split())
    assert listed == set(cloudstack_server.COMMANDS)
    site.cloud.role.discard("listGpuDevices")
    said = site.refused("status")
    assert "listGpuDevices (432)" in said and "docs/cloudstack.md" in said


# ---- the connection

def test_nobody_is_there(site):
    site.configure(url="http://127.0.0.1:1/client/api")
    assert "Is the management server up there" in site.refused("status", code=admin.NO_CONNECTION)


def test_tls(tmp_path, certificate):
    with opened(tmp_path, tls=certificate) as s:
        s.configure(ca=certificate[0])
        s.ok("status")
        s.cloud.asked.clear()
        s.configure()  # signed by nobody
        assert "its certificate is not trusted" in s.refused("status", code=admin.NO_CONNECTION)
        s.configure(ca=certificate[0], url=s.cloud.url.replace("localhost", "127.0.0.1"))  # for another name
        assert "certificate" in s.refused("status", code=admin.NO_CONNECTION)
        assert not s.cloud.asked


# ---- the configuration

@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_keys_that_others_can_read(site, mode):
    site.path.chmod(mode)
    assert "chmod 600" in site.refused("status", code=admin.USAGE)
    assert not site.cloud.asked


def test_systemds_copy_of_the_configuration(site, monkeypatch):
    """A credential that a user may read by an ACL looks open to a group."""
    site.path.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(site.path.parent))
    site.ok("status")
    site.path.chmod(0o444)
    assert "chmod 600" in site.refused("status", code=admin.USAGE)
    site.path.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(site.path.parent.parent))
    assert "chmod 600" in site.refused("status", code=admin.USAGE)


def test_keys_of_another_user(site):
    if os.geteuid() != 0:
        pytest.skip("needs root to give a file away")
    os.chown(site.path, 12345, 12345)
    assert "another user" in site.refused("status", code=admin.USAGE)


@pytest.mark.parametrize("settings, more, said", [
    ({"url": "http://example.org/client/api"}, "", "url: not https://"), ({"url": "https://a:b@example.org/"}, "", "url: not https://"),
    ({"apikey": None}, "", "apikey is missing"), ({"secretkey": None}, "", "secretkey is missing"),
    ({"tries": 0}, "", "tries: '0' is not a number from 1 to 20"), ({"timeout": "1x"}, "", "timeout: '1x'"),
    ({"colour": "red"}, "", "there is no 'colour' in [cloudstack]"), ({}, "[offering x]\nname = y\n", "[offering x] needs name"),
    ({}, "[offering x]\ncpunumber = -1\n", "cpunumber: '-1'"), ({}, "[offering x]\nfrob = 1\n", "no 'frob' of an offering"),
    ({}, "[offering x]\nofferha = maybe\n", "offerha: 'maybe'"), ({}, "nonsense\n", "not 'key = value'")])
def test_mistakes_in_it(site, settings, more, said):
    site.configure(more, **settings)
    text = site.refused("status", code=admin.USAGE)
    assert said in text and str(site.path) in text
    assert cloudstack_server.SECRET not in text and not site.cloud.asked


def test_none(site):
    site.path.unlink()
    assert "No such file" in site.refused("status", code=admin.USAGE)


def test_the_keys_are_told_to_nobody(site):
    site.cloud.faults[LISTS] = [401]
    r = site.run("status")
    assert cloudstack_server.SECRET not in r.stdout + r.stderr and cloudstack_server.KEY not in r.stdout + r.stderr
