# SPDX-License-Identifier: Apache-2.0
"""A management server that deploys: tests/integration/cloudstack_server.py with the commands of a user's VMs and hosts whose
agents carry them out. Devices are allocated, confirmed and given back as CloudStack does (its rules: `allocate`, `finish`)."""
import base64
import hashlib
import hmac
import http.client
import json
import pathlib
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import cloudstack_server as server  # noqa: E402  (found through the line above)

USER_COMMANDS = {
    "deployVirtualMachine": ({"serviceofferingid", "name"}, set()),
    "startVirtualMachine": ({"id"}, set()),
    "stopVirtualMachine": ({"id"}, {"forced"}),
    "destroyVirtualMachine": ({"id"}, {"expunge"}),
}
NO_ROOM = 533
USER_KEY, USER_SECRET = "key-Of-A_user", "secret/Of~A user"


class Region(server.Cloud):
    """`agents`: by host id, what carries out start(vm, slots), stop(vm) and discover(), which may raise OSError with a text.
    `detach`: gpu.detach.on.stop."""

    def __init__(self):
        super().__init__()
        self.commands.update(USER_COMMANDS)
        self.users[USER_KEY] = USER_SECRET, set(USER_COMMANDS) | {"queryAsyncJobResult", "listVirtualMachines", "listServiceOfferings"}
        self.agents, self.detach = {}, False

    def connect(self, name, agent, **more):
        """A host's agent comes, with what it discovers."""
        host = self.add_host(name, **more)
        self.agents[host["id"]] = agent
        self.discoverGpuDevices({"id": host["id"]})
        return host

    def announced(self, host):
        """The agent names owners by their instances' names."""
        ids = {v["instancename"]: v["id"] for v in self.vms}
        return {slot: (profile, ids.get(owner)) for slot, (profile, owner) in self.agents[host["id"]].discover().items()}

    # ---- devices

    def held(self, vm):
        return [d for d in self.devices if d.get("virtualmachineid") == vm["id"]]

    def allocate(self, vm, profile, tried):
        """A free device of the profile on a host that was not tried yet; the VM's own first, which it kept while stopped."""
        for device in self.held(vm) + self.devices:
            usable = device["state"] == "Free" or device.get("virtualmachineid") == vm["id"]
            if usable and device["managedstate"] == "Managed" and device["vgpuprofilename"] == profile and device["hostid"] not in tried:
                for other in self.held(vm):
                    self.free(other)
                device.update(state="Allocated", virtualmachineid=vm["id"], virtualmachinename=vm["instancename"], vmstate=vm["state"])
                return device
        return None

    @staticmethod
    def free(device):
        device["state"] = "Free"
        for field in ("virtualmachineid", "virtualmachinename", "vmstate"):
            device.pop(field, None)

    # ---- commands

    def listHosts(self, p):
        for host in self.hosts:
            states = [d["state"] for d in self.devices if d["hostid"] == host["id"]]
            host.update(gputotal=len(states), gpuused=states.count("Allocated"))
        return super().listHosts(p)

    def deployVirtualMachine(self, p):
        offering, = [o for o in self.offerings if o["id"] == p["serviceofferingid"]] or [None]
        if not offering:
            raise server.Refused(431, "no such service offering")
        vm = self.add_vm(server.new_id(), p["name"], state="Starting", serviceofferingid=offering["id"], serviceofferingname=offering["name"])
        return {"id": vm["id"], "jobid": self.job(self.start, vm, offering)}

    def startVirtualMachine(self, p):
        vm = self.vm(p["id"])
        if vm["state"] != "Stopped":
            raise server.Refused(431, f"the VM is {vm['state']}")
        vm["state"] = "Starting"
        return {"jobid": self.job(self.start, vm, next(o for o in self.offerings if o["id"] == vm["serviceofferingid"]))}

    def stopVirtualMachine(self, p):
        return {"jobid": self.job(self.stop, self.vm(p["id"]))}

    def destroyVirtualMachine(self, p):
        return {"jobid": self.job(self.destroy, self.vm(p["id"]))}

    def queryAsyncJobResult(self, p):
        if p["jobid"] not in self.jobs:
            raise server.Refused(431, "no such job")
        return {"jobid": p["jobid"], "jobprocstatus": 0, "jobresultcode": 0, **self.jobs[p["jobid"]]}

    def vm(self, ident):
        vm, = [v for v in self.vms if v["id"] == ident] or [None]
        if not vm:
            raise server.Refused(431, "no such VM")
        return vm

    # ---- jobs, each in a thread of its own

    def job(self, work, *arguments):
        ident = server.new_id()
        self.jobs[ident] = {"jobstatus": 0}

        def run():
            try:
                result = {"jobstatus": 1, "jobresulttype": "object", "jobresult": work(*arguments)}
            except Exception as e:  # pylint: disable=broad-except  (whoever waits for the job is told)
                code = e.code if isinstance(e, server.Refused) else 530
                result = {"jobstatus": 2, "jobresulttype": "object", "jobresultcode": code,
                          "jobresult": {"errorcode": code, "errortext": str(e)}}
            with self.lock:
                self.jobs[ident] = result

        threading.Thread(target=run, daemon=True).start()
        return ident

    def start(self, vm, offering):
        profile = next(p["name"] for p in self.profiles if p["id"] == offering["vgpuprofileid"])
        tried, said = set(), "no host has a free vGPU of the profile"
        while True:
            with self.lock:
                device = self.allocate(vm, profile, tried)
            if not device:
                vm["state"] = "Stopped"
                raise server.Refused(NO_ROOM, f"Unable to create a deployment for VM {vm['name']}: {said}")
            try:
                self.agents[device["hostid"]].start({**vm, "offering": offering}, [device["busaddress"]])
            except OSError as e:
                said = str(e)
                tried.add(device["hostid"])
                with self.lock:
                    self.free(device)
                continue
            with self.lock:
                vm.update(state="Running", hostid=device["hostid"])
                device["vmstate"] = "Running"
            return {"virtualmachine": vm}

    def stop(self, vm):
        if vm.get("hostid"):
            try:
                self.agents[vm["hostid"]].stop(vm)
            except OSError as e:
                raise server.Refused(530, str(e)) from None
        with self.lock:
            vm["state"] = "Stopped"
            vm.pop("hostid", None)
            for device in self.held(vm):
                device["vmstate"] = "Stopped"
                if self.detach:
                    self.free(device)
        return {"virtualmachine": vm}

    def destroy(self, vm):
        self.stop(vm)
        with self.lock:
            vm["state"] = "Destroyed"
            for device in self.held(vm):
                self.free(device)
        return {"virtualmachine": vm}


class User:
    """A tenant at the API: asks, and waits for jobs."""

    def __init__(self, url):
        self.url = urllib.parse.urlsplit(url)

    def ask(self, command, **parameters):
        given = {"command": command, "response": "json", "apikey": USER_KEY, "signatureversion": "3",
                 "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600)), **parameters}
        text = "&".join(f"{name}={urllib.parse.quote(value, safe='')}" for name, value in sorted(given.items())).lower()
        given["signature"] = base64.b64encode(hmac.new(USER_SECRET.encode(), text.encode(), hashlib.sha1).digest()).decode()
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=30)
        connection.request("POST", self.url.path, urllib.parse.urlencode(given), {"Content-Type": "application/x-www-form-urlencoded"})
        answer, = json.load(connection.getresponse()).values()
        if "errorcode" in answer:
            raise OSError(f"{command}: {answer['errorcode']}: {answer['errortext']}")
        return answer

    def do(self, command, **parameters):
        """The same, to the end of its job."""
        return self.wait(self.ask(command, **parameters)["jobid"])

    def wait(self, job):
        while True:
            answer = self.ask("queryAsyncJobResult", jobid=job)
            if answer["jobstatus"] == 2:
                raise OSError(f"{answer['jobresult']['errorcode']}: {answer['jobresult']['errortext']}")
            if answer["jobstatus"] == 1:
                return answer["jobresult"]["virtualmachine"]
            time.sleep(0.2)
