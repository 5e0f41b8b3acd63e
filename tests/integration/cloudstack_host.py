# SPDX-License-Identifier: Apache-2.0
"""A host of CloudStack as a folder: what install writes into and doctor looks at, with --root."""
import json
import os
import pathlib
import shutil
import stat

import admin

SHIPPED = pathlib.Path(os.environ.get("VGPU_SOURCE", ".")).absolute() / "packaging/cloudstack"
AGENT, HOOKS = "etc/cloudstack/agent", "etc/cloudstack/agent/hooks"
DISCOVERY, GUARD = f"{AGENT}/gpudiscovery.sh", "etc/libvirt/hooks/qemu.d/50-vgpu"
TRANSFORMER, STATE_CHANGE = f"{HOOKS}/libvirt-vm-xml-transformer.sh", f"{HOOKS}/libvirt-vm-state-change.sh"
SETTINGS, CONF = "etc/vgpu/cloudstack-hooks.env", "etc/vgpu/cloudstack.conf"
PROGRAMS = [TRANSFORMER, STATE_CHANGE, DISCOVERY, GUARD]
FILES = {TRANSFORMER: 0o755, STATE_CHANGE: 0o755, DISCOVERY: 0o755, GUARD: 0o755, SETTINGS: 0o644, CONF: 0o600}
TIMER = "vgpu-cloudstack-reconcile.timer"


class Host:
    def __init__(self, directory, socket="/nonexistent/api.sock"):
        self.root, self.source, self.socket = directory / "root", directory / "from", socket
        self.root.mkdir()
        self.env = {}
        for path in SHIPPED.rglob("*"):  # with modes that no umask has touched
            if path.is_file() and path.name != "meson.build":
                to = self.source / path.relative_to(SHIPPED)
                to.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                shutil.copy(path, to)

    def run(self, action, *args):
        more = ("--from", self.source) if action == "install" else ()
        return admin.run("cloudstack", action, "--root", self.root, *more, *args, socket=self.socket, env=self.env, timeout=60)

    def ok(self, action, *args):
        r = self.run(action, *args)
        assert (r.returncode, r.stderr) == (0, ""), r
        return r.stdout

    def refused(self, action, *args):
        r = self.run(action, *args)
        assert r.returncode == 1, r
        return r.stderr

    def report(self, action, *args):
        return json.loads(self.ok(action, "--json", *args))

    def rows(self, *args):
        """What install or uninstall says of each file."""
        return {row["path"].lstrip("/"): row["action"] for row in self.report(*args)["files"]}

    def at(self, path):
        return self.root / path

    def write(self, path, text, mode=0o644):
        to = self.at(path)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text)
        to.chmod(mode)
        return to

    def tree(self):
        """Everything below the root: its mode, and its text or where it leads."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            st = path.lstat()
            text = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(self.root))] = (stat.S_IMODE(st.st_mode), text)
        return found

    def files(self):
        return {path for path, (_, text) in self.tree().items() if text is not None}
