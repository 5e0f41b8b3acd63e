# SPDX-License-Identifier: Apache-2.0
"""A clean Debian system in a folder, and the packages to install there. Each command in it has a mount namespace of its own,
so nothing stays mounted, whatever happens."""
import os
import pathlib
import re
import shutil
import subprocess

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGES = pathlib.Path(os.environ.get("VGPU_PACKAGES", SOURCE / "build-package"))
# Written by apt, dpkg, depmod and the loader for all packages alike.
NOT_OURS = re.compile(r"/(proc|sys|dev|tmp|var/cache|var/log|var/lib/(apt|dpkg|ucf))/"
                      r"|/(usr/)?lib/modules/[^/]*/modules\.[a-z.]*/?$"
                      r"|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-|/etc/\.pwd\.lock|/etc/ld\.so\.cache")


def debs():
    return sorted(PACKAGES.glob("*.deb"))


def field(deb, name):
    return subprocess.run(["dpkg-deb", "-f", str(deb), name], check=True, capture_output=True, text=True).stdout.strip()


def ours(*names):
    found = [d for d in debs() if not names or field(d, "Package") in names]
    return [d for d in found if not field(d, "Package").endswith("-dbgsym")]


def names_of(files):
    return [field(f, "Package") for f in files]


def next_version(deb, folder, change=lambda tree: None):
    """The same package with a version that comes after, and with what was changed in its tree."""
    tree = folder / f"{deb.name}.d"
    subprocess.run(["dpkg-deb", "--raw-extract", str(deb), str(tree)], check=True)
    version, control = field(deb, "Version"), tree / "DEBIAN" / "control"
    text = control.read_text(encoding="utf-8")
    text = text.replace(f"Version: {version}\n", f"Version: {version}+1\n").replace(f"(= {version})", f"(= {version}+1)")
    control.write_text(text, encoding="utf-8")
    change(tree)
    file = folder / deb.name
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(file)], check=True, capture_output=True)
    return file


def missing():
    """Why no system can be made here; None if it can."""
    if not debs():
        return "there are no packages: ./dev package makes them"
    if os.geteuid() != 0:
        return "only root can make a system in a folder"
    for tool in ("debootstrap", "unshare", "dpkg-deb", "apt-get"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "no mount namespace can be made here"
    return None if mirrors() else "apt has no source of Debian's packages"


def mirrors():
    """(address, release, component) of the machine's own sources."""
    told = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
                          capture_output=True, text=True, check=False).stdout
    return sorted({tuple(line.split()) for line in told.splitlines() if len(line.split()) == 3})


class Chroot:
    def __init__(self, root):
        self.root = pathlib.Path(root)

    def bootstrap(self, release):
        """None, or why there is no such system. $VGPU_TEST_SYSTEMS names a folder with systems that debootstrap has made."""
        ready = pathlib.Path(os.environ.get("VGPU_TEST_SYSTEMS", "/nonexistent")) / release
        if ready.is_dir():
            subprocess.run(["cp", "-a", f"{ready}/.", str(self.root)], check=True)
        else:
            known = {r: a for a, r, c in mirrors()}
            address = known.get(release) or next((a for r, a in known.items() if "-" not in r), mirrors()[0][0])
            made = subprocess.run(["debootstrap", "--variant=minbase", release, str(self.root), address],
                                  capture_output=True, text=True, check=False)
            if made.returncode:
                return f"debootstrap has no {release} here: {(made.stdout + made.stderr)[-200:]}"
        lines = [f"deb {a} {r} {c}" for a, r, c in mirrors() if r.split("-")[0] == release]
        if lines:
            (self.root / "etc/apt/sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
        settings = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
        kept = [s for s in settings.splitlines() if s.startswith(("Acquire::Check-", "Acquire::http", "Acquire::Languages"))]
        (self.root / "etc/apt/apt.conf.d/90test").write_text("\n".join(kept) + "\n", encoding="utf-8")
        r = self.run("apt-get", "update", "-q")
        return None if r.returncode == 0 else f"apt finds nothing in {release}: {r.stdout[-200:]}"

    def words(self, *command):
        return ["unshare", "--mount", "sh", "-c", 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"', str(self.root),
                *map(str, command)]

    def environment(self, more):
        kept = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
        return kept | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                       "DEBIAN_FRONTEND": "noninteractive"} | more

    def run(self, *command, timeout=600, **env):
        return subprocess.run(self.words(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", env=self.environment(env), timeout=timeout, check=False)

    def done(self, *command, **env):
        """What it printed; it must have worked."""
        r = self.run(*command, **env)
        assert r.returncode == 0, f"{command}: {r.returncode}\n{r.stdout[-4000:]}"
        return r.stdout

    def start(self, log, *command, **env):
        """In the background; the child's pid is the program's. Its words go to the open file."""
        return subprocess.Popen(self.words(*command), stdout=log, stderr=subprocess.STDOUT, env=self.environment(env))

    def put(self, files):
        folder = self.root / "srv" / "packages"
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, folder)
        return [f"/srv/packages/{pathlib.Path(f).name}" for f in files]

    def files(self):
        return {path for path in self.all_files() if not NOT_OURS.match(path + "/") and not NOT_OURS.match(path)
                and not path.startswith("/srv/packages")}

    def all_files(self):
        for folder, folders, names in os.walk(self.root):
            inside = "/" + os.path.relpath(folder, self.root)
            for name in folders + names:
                yield os.path.normpath(f"{inside}/{name}")
