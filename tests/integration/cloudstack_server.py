# SPDX-License-Identifier: Apache-2.0
"""A management server of CloudStack as far as vgpu-admin asks it: signatures and their expiry, the parameters that each command
takes, lists in pages, GPU cards, profiles, devices and offerings, VMs that a job stops; and faults that a test orders. It shares
nothing with the client: signatures are made anew here from what arrived."""
import base64
import collections
import contextlib
import datetime
import hashlib
import hmac
import http.server
import json
import socketserver
import ssl
import threading
import time
import types
import urllib.parse
import uuid

PATH = "/client/api"
KEY, SECRET = "key-Of-An_admin", "secret/Of~An admin"
EVERY = {"command", "response", "apikey", "signatureversion", "expires", "signature"}
PAGES = {"page", "pagesize", "keyword", "listall"}
MOST_ROWS = 500

# What each command takes: what it must have, what it may have besides.
COMMANDS = {
    "listHosts": (set(), PAGES | {"id", "name", "type", "hypervisor", "state", "zoneid", "clusterid"}),
    "listGpuCards": (set(), PAGES | {"id", "activeonly", "vendorid", "deviceid", "vendorname", "devicename"}),
    "listVgpuProfiles": (set(), PAGES | {"id", "name", "gpucardid", "activeonly"}),
    "listGpuDevices": (set(), PAGES | {"id", "hostid", "gpucardid", "vgpuprofileid", "virtualmachineid"}),
    "listServiceOfferings": (set(), PAGES | {"id", "name", "gpuenabled", "vgpuprofileid"}),
    "listVirtualMachines": (set(), PAGES | {"id", "ids", "name", "hostid", "projectid", "state", "account", "domainid"}),
    "createGpuCard": ({"deviceid", "devicename", "name", "vendorid", "vendorname"}, {"videoram"}),
    "createVgpuProfile": ({"name", "gpucardid"}, {"description", "maxvgpuperphysicalgpu", "videoram", "maxheads", "maxresolutionx",
                                                  "maxresolutiony"}),
    "updateVgpuProfile": ({"id"}, {"name", "description", "maxvgpuperphysicalgpu", "videoram", "maxheads", "maxresolutionx",
                                   "maxresolutiony"}),
    "createServiceOffering": ({"name", "displaytext"}, {"cpunumber", "cpuspeed", "memory", "vgpuprofileid", "gpucount", "gpudisplay",
                                                        "offerha", "hosttags"}),
    "discoverGpuDevices": ({"id"}, set()),
    "deleteGpuDevice": ({"ids"}, set()),
    "stopVirtualMachine": ({"id"}, {"forced"}),
    "queryAsyncJobResult": ({"jobid"}, set()),
}
CHANGES = {name for name in COMMANDS if not name.startswith(("list", "query"))}


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


def signature(parameters, secret):
    """Of the parameters as they arrived, without the signature itself."""
    def encode(value):
        return urllib.parse.quote(value, safe="*").replace("~", "%7E")

    text = "&".join(f"{name}={encode(value)}" for name, value in sorted(parameters.items())).lower()
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def check(parameters, now=None, secrets=types.MappingProxyType({KEY: SECRET})):
    """Whether it is really that key's, and still meant."""
    given = dict(parameters)
    said = given.pop("signature", "")
    secret = secrets.get(given.get("apikey"))
    if not secret or not hmac.compare_digest(signature(given, secret), said):
        raise Refused(401, "unable to verify user credentials and/or request signature")
    if given.get("signatureversion") != "3":
        raise Refused(401, "the signature is of another version")
    try:
        expires = datetime.datetime.strptime(given.get("expires", ""), "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        raise Refused(401, "expires is no time") from None
    left = expires - (now or datetime.datetime.now(datetime.timezone.utc))
    if not datetime.timedelta(0) < left <= datetime.timedelta(minutes=15):
        raise Refused(401, "the request has expired, or will too late")


def new_id():
    return str(uuid.uuid4())


class Cloud:
    """The objects that there are, what was asked, and faults to come."""

    def __init__(self):
        self.hosts, self.cards, self.profiles, self.devices, self.offerings, self.vms = [], [], [], [], [], []
        self.jobs, self.asked = {}, []
        self.faults = collections.defaultdict(list)  # by command: what happens to its next requests
        self.commands, self.role = dict(COMMANDS), set(COMMANDS)
        self.users = {KEY: (SECRET, self.role)}
        self.slots = None  # what this host's agent announces: a function for {uuid: (profile, vm or None)}
        self.polls = 2  # questions that a job goes on for
        self.stop_fails = {}  # by VM: the error of its job
        self.lock = threading.RLock()

    # ---- for tests

    def add_host(self, name, **more):
        host = {"id": new_id(), "name": name, "type": "Routing", "hypervisor": "KVM", "state": "Up", "resourcestate": "Enabled",
                "ipaddress": "192.0.2.7", "gputotal": 4, "gpuused": 1, **more}
        self.hosts.append(host)
        return host

    def add_vm(self, vm, name, state="Running", **more):
        row = {"id": vm, "name": name, "displayname": name, "instancename": f"i-2-{len(self.vms)}-VM", "state": state,
               "account": "labs", "domain": "ROOT/lab", "serviceofferingname": "gpu.small", **more}
        self.vms.append(row)
        return row

    def add_device(self, host, slot, profile, vm=None, **more):
        """As discovery would have made it."""
        row = {"id": new_id(), "hostid": host["id"], "hostname": host["name"], "busaddress": slot, "gpudevicetype": "MDEV",
               "vgpuprofilename": profile, "state": "Allocated" if vm else "Free", "managedstate": "Managed",
               **({"virtualmachineid": vm["id"], "virtualmachinename": vm["name"], "vmstate": vm["state"]} if vm else {}), **more}
        self.devices.append(row)
        return row

    def changes(self):
        return [name for name, _ in self.asked if name in CHANGES]

    # ---- commands

    def answer(self, name, p):
        if name not in self.commands or name not in self.users[p["apikey"]][1]:
            raise Refused(432, f"The given command '{name}' either does not exist, is not available for user")
        must, may = self.commands[name]
        for unknown in set(p) - must - may - EVERY:
            raise Refused(431, f"Unknown parameter {unknown}")
        for missing in [m for m in must if not p.get(m)]:
            raise Refused(431, f"Unable to execute API command due to missing parameter {missing}")
        return getattr(self, name)(p)

    @staticmethod
    def rows(name, rows, p):
        size, page = int(p.get("pagesize", MOST_ROWS)), int(p.get("page", 1))
        if not 1 <= size <= MOST_ROWS or page < 1:
            raise Refused(431, "Page size can not exceed max allowed list size value: 500")
        some = rows[(page - 1) * size:page * size]
        return {"count": len(rows), name: some} if some else {}

    def pick(self, name, rows, p, *fields):
        for field in fields:
            if p.get(field):
                rows = [r for r in rows if str(r.get(field)).lower() == p[field].lower()]
        return self.rows(name, rows, p)

    def listHosts(self, p):
        return self.pick("host", self.hosts, p, "id", "name", "type", "hypervisor", "state")

    def listGpuCards(self, p):
        return self.pick("gpucard", self.cards, p, "id", "vendorid", "deviceid")

    def listVgpuProfiles(self, p):
        return self.pick("vgpuprofile", self.profiles, p, "id", "name", "gpucardid")

    def listGpuDevices(self, p):
        return self.pick("gpudevice", self.devices, p, "id", "hostid", "virtualmachineid")

    def listServiceOfferings(self, p):
        return self.pick("serviceoffering", self.offerings, p, "id", "name", "vgpuprofileid")

    def listVirtualMachines(self, p):
        of_projects = p.get("projectid") == "-1"
        return self.pick("virtualmachine", [v for v in self.vms if ("project" in v) == of_projects], p, "id", "hostid", "state")

    def createGpuCard(self, p):
        if [c for c in self.cards if (c["vendorid"], c["deviceid"]) == (p["vendorid"], p["deviceid"])]:
            raise Refused(431, "a card of that vendor and device exists")
        card = {"id": new_id(), **{k: v for k, v in p.items() if k not in EVERY}}
        self.cards.append(card)
        self.profiles.append({"id": new_id(), "name": "passthrough", "gpucardid": card["id"]})
        return {"gpucard": card}

    def createVgpuProfile(self, p):
        if p["gpucardid"] not in [c["id"] for c in self.cards]:
            raise Refused(431, "no such card")
        if [x for x in self.profiles if (x["name"], x["gpucardid"]) == (p["name"], p["gpucardid"])]:
            raise Refused(431, "a profile of that name exists")
        profile = {"id": new_id(), "name": p["name"], "gpucardid": p["gpucardid"], "description": p.get("description", ""),
                   **{k: int(p[k]) for k in ("videoram", "maxvgpuperphysicalgpu") if k in p}}
        self.profiles.append(profile)
        return {"vgpuprofile": profile}

    def updateVgpuProfile(self, p):
        profile, = [x for x in self.profiles if x["id"] == p["id"]]
        profile.update({k: int(p[k]) for k in ("videoram", "maxvgpuperphysicalgpu") if k in p})
        profile.update({k: p[k] for k in ("description",) if k in p})
        return {"vgpuprofile": profile}

    def createServiceOffering(self, p):
        if p.get("vgpuprofileid") not in [x["id"] for x in self.profiles]:
            raise Refused(431, "no such profile")
        offering = {"id": new_id(), **{k: int(v) if v.isdigit() else v for k, v in p.items() if k not in EVERY}}
        self.offerings.append(offering)
        return {"serviceoffering": offering}

    def discoverGpuDevices(self, p):
        host, = [h for h in self.hosts if h["id"] == p["id"]] or [None]
        if not host or host["state"] != "Up":
            raise Refused(530, "the host is not Up")
        announced = self.announced(host)
        known = {d["busaddress"]: d for d in self.devices if d["hostid"] == host["id"]}
        for slot, (profile, vm) in announced.items():
            device = known.get(slot) or self.add_device(host, slot, profile)
            owner = next((v for v in self.vms if v["id"] == vm), None)
            for field in ("virtualmachineid", "virtualmachinename", "vmstate"):
                device.pop(field, None)
            device["state"] = "Free"
            if owner:
                device.update(state="Allocated", virtualmachineid=owner["id"], virtualmachinename=owner["name"],
                              vmstate=owner["state"])
        for slot, device in known.items():
            if slot not in announced:
                device["state"] = "Error"
        return self.listGpuDevices({"hostid": host["id"]})

    def announced(self, _host):
        return self.slots() if self.slots else {}

    def deleteGpuDevice(self, p):
        for ident in p["ids"].split(","):
            device, = [d for d in self.devices if d["id"] == ident] or [None]
            if not device:
                raise Refused(431, f"no device {ident}")
            if "virtualmachineid" in device:
                raise Refused(431, "a VM holds the device")
            self.devices.remove(device)
        return {"success": True}

    def stopVirtualMachine(self, p):
        vm, = [v for v in self.vms if v["id"] == p["id"]] or [None]
        if not vm:
            raise Refused(431, "no such VM")
        job = new_id()
        self.jobs[job] = [self.polls, vm, p]
        return {"jobid": job}

    def queryAsyncJobResult(self, p):
        if p["jobid"] not in self.jobs:
            raise Refused(431, "no such job")
        job = self.jobs[p["jobid"]]
        vm = job[1]
        answer = {"jobid": p["jobid"], "jobprocstatus": 0, "jobstatus": 0, "jobresultcode": 0, "cmd": "StopVMCmdByAdmin"}
        if job[0] > 0:
            job[0] -= 1
            return answer
        failure = self.stop_fails.get(vm["id"])
        if failure:
            return {**answer, "jobstatus": 2, "jobresulttype": "object", "jobresultcode": failure[0],
                    "jobresult": {"errorcode": failure[0], "errortext": failure[1]}}
        vm["state"] = "Stopped"
        for device in self.devices:
            if device.get("virtualmachineid") == vm["id"]:
                device["vmstate"] = "Stopped"
        return {**answer, "jobstatus": 1, "jobresulttype": "object", "jobresult": {"virtualmachine": vm}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        cloud = self.server.cloud
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        pairs = urllib.parse.parse_qsl(body, keep_blank_values=True, strict_parsing=True)
        given = dict(pairs)
        name = given.get("command", "")
        with cloud.lock:
            cloud.asked.append((name, given))
            fault = cloud.faults[name].pop(0) if cloud.faults[name] else None
        if fault and self.fail(name, fault):
            return
        status, answer = 200, None
        try:
            if urllib.parse.urlsplit(self.path) != ("", "", PATH, "", ""):
                raise Refused(401, "another path, or parameters in it")
            if len(pairs) != len(given) or any(k != k.lower() for k in given):
                raise Refused(431, "a parameter is doubled, or not in lower case")
            check(given, secrets={key: secret for key, (secret, _) in cloud.users.items()})
            with cloud.lock:
                answer = cloud.answer(name, given)
        except Refused as e:
            status, answer = e.code, error(e.code, e.text)
        if fault == "lost":  # after it was done
            self.close_connection = True
            return
        text = json.dumps({f"{name.lower()}response": answer}).encode()
        self.send(status, text[:-7] if fault == "truncated" else text)

    def fail(self, name, fault):
        """Whether that was the answer."""
        if isinstance(fault, int):
            self.send(fault, json.dumps({f"{name.lower()}response": error(fault, f"fault {fault}")}).encode())
        elif isinstance(fault, float):
            time.sleep(fault)
            return False
        elif fault == "closed":
            self.close_connection = True
        elif fault == "oversized":
            self.send(200, b'{"x": "' + b"x" * (17 << 20) + b'"}')
        elif fault == "page":
            self.send(200, b"<html>A proxy</html>")
        else:
            return False
        return True

    def send(self, status, data):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json;charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_):
        pass


def error(code, text):
    return {"uuidList": [], "errorcode": code, "cserrorcode": 9999, "errortext": text}


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_):
        """A client that did not trust the certificate."""


@contextlib.contextmanager
def serving(tls=None, cloud=None):
    """A Cloud with .url; tls: files of a certificate for localhost and its key."""
    cloud = cloud or Cloud()
    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        cloud.url = f"{'https' if tls else 'http'}://localhost:{server.server_address[1]}{PATH}"
        server.cloud = cloud
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()
