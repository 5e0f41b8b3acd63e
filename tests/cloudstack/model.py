# SPDX-License-Identifier: Apache-2.0
"""CloudStack's management server as far as GPU devices go, by the facts of its sources: its three tables, what it makes of an
agent's list, whom it gives a device to and when it takes it back. It believes what it is told, as CloudStack does."""
import contextlib
import uuid

import mariadb

SCHEMA = """
CREATE TABLE host (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) UNIQUE, state VARCHAR(16));
CREATE TABLE vm_instance (id BIGINT AUTO_INCREMENT PRIMARY KEY, uuid VARCHAR(40), instance_name VARCHAR(255) UNIQUE,
    state VARCHAR(16), host_id BIGINT, profile VARCHAR(255), gpu_count INT, removed INT NOT NULL DEFAULT 0);
CREATE TABLE gpu_card (id BIGINT AUTO_INCREMENT PRIMARY KEY, uuid VARCHAR(40), device_id VARCHAR(4), device_name VARCHAR(255),
    name VARCHAR(255), vendor_name VARCHAR(255), vendor_id VARCHAR(4), UNIQUE (vendor_id, device_id));
CREATE TABLE vgpu_profile (id BIGINT AUTO_INCREMENT PRIMARY KEY, uuid VARCHAR(40), name VARCHAR(255), description VARCHAR(255),
    card_id BIGINT REFERENCES gpu_card (id), video_ram BIGINT, max_heads BIGINT, max_resolution_x BIGINT, max_resolution_y BIGINT,
    max_vgpu_per_pgpu BIGINT, UNIQUE (name, card_id));
CREATE TABLE gpu_device (id BIGINT AUTO_INCREMENT PRIMARY KEY, uuid VARCHAR(40), card_id BIGINT REFERENCES gpu_card (id),
    vgpu_profile_id BIGINT REFERENCES vgpu_profile (id), bus_address VARCHAR(255), type VARCHAR(16), host_id BIGINT, vm_id BIGINT,
    numa_node VARCHAR(16), pci_root VARCHAR(64), parent_gpu_device_id BIGINT, state VARCHAR(32), managed_state VARCHAR(16),
    UNIQUE (bus_address, host_id))
"""


class Cloud:
    """Hosts are told of by name. detach: gpu.detach.on.stop."""

    def __init__(self, socket, detach=False):
        self.detach, self.name = detach, "cloud_" + uuid.uuid4().hex
        self.db = mariadb.connect(socket)
        self.do(f"CREATE DATABASE {self.name}")
        self.db.select_db(self.name)
        for table in SCHEMA.split(";"):
            self.do(table)

    def do(self, sql, *values):
        """The rows."""
        with self.db.cursor() as cursor:
            cursor.execute(sql, values)
            self.last = cursor.lastrowid
            return cursor.fetchall()

    def one(self, sql, *values):
        return (self.do(sql, *values) or [None])[0]

    @contextlib.contextmanager
    def transaction(self):
        self.db.begin()
        try:
            yield
        except BaseException:
            self.db.rollback()
            raise
        self.db.commit()

    def close(self):
        self.do(f"DROP DATABASE {self.name}")
        self.db.close()

    # ---- what there is

    def add_host(self, name):
        self.do("INSERT INTO host (name, state) VALUES (%s, 'Up')", name)

    def deploy(self, profile, count=1):
        """A VM that is stopped."""
        self.do("INSERT INTO vm_instance (uuid, state, profile, gpu_count) VALUES (%s, 'Stopped', %s, %s)", str(uuid.uuid4()),
                profile, count)
        number = self.last
        self.do("UPDATE vm_instance SET instance_name = %s WHERE id = %s", f"i-2-{number}-VM", number)
        return number

    def vm(self, number):
        return self.one("SELECT v.*, h.name host FROM vm_instance v LEFT JOIN host h ON h.id = v.host_id WHERE v.id = %s", number)

    def devices(self, host):
        return {d["bus_address"]: d for d in self.do("SELECT d.*, v.instance_name vm, p.name profile FROM gpu_device d "
                                                     "JOIN vgpu_profile p ON p.id = d.vgpu_profile_id JOIN host h ON h.id = d.host_id "
                                                     "LEFT JOIN vm_instance v ON v.id = d.vm_id WHERE h.name = %s", host)}

    # ---- what an agent's list does

    def card(self, d):
        key = d["vendor_id"], d["device_id"]
        row = self.one("SELECT id FROM gpu_card WHERE vendor_id = %s AND device_id = %s", *key)
        if row:
            return row["id"]
        self.do("INSERT INTO gpu_card (uuid, vendor_id, device_id, vendor_name, device_name, name) VALUES (UUID(), %s, %s, %s, %s, %s)",
                *key, d["vendor"], d["device"], d["name"])
        card = self.last
        self.do("INSERT INTO vgpu_profile (uuid, name, card_id) VALUES (UUID(), 'passthrough', %s)", card)
        return card

    def profile(self, card, d):
        """Its numbers are copied once."""
        row = self.one("SELECT id FROM vgpu_profile WHERE name = %s AND card_id = %s", d["profile"], card)
        if row:
            return row["id"]
        self.do("INSERT INTO vgpu_profile (uuid, name, card_id, video_ram, max_heads, max_resolution_x, max_resolution_y, "
                "max_vgpu_per_pgpu) VALUES (UUID(), %s, %s, %s, %s, %s, %s, %s)", d["profile"], card, d["video_ram"], d["max_heads"],
                d["max_resolution_x"], d["max_resolution_y"], d["max_instances"])
        return self.last

    def state_of(self, row, name):
        """State and VM of a device whose owner is said to have that name."""
        if name is not None:
            vm = self.one("SELECT id FROM vm_instance WHERE instance_name = %s AND NOT removed", name)
            return ("Allocated", vm["id"]) if vm else ("Error", None)
        vm = row and row["vm_id"] and self.vm(row["vm_id"])
        if vm and vm["state"] == "Stopped" and not self.detach:
            return "Allocated", vm["id"]
        return "Free", None  # whether that VM runs or not

    def discovered(self, host, devices):
        """Both tables after a look at a host: what is missing there is broken."""
        host_id = self.one("SELECT id FROM host WHERE name = %s", host)["id"]
        with self.transaction():
            for d in devices:
                row = self.one("SELECT * FROM gpu_device WHERE bus_address = %s AND host_id = %s", d["bus_address"], host_id)
                state, vm = self.state_of(row, d["vm"])
                parent = self.one("SELECT id FROM gpu_device WHERE bus_address = %s AND host_id = %s", d["parent"], host_id)
                parent = parent and parent["id"]
                if parent:
                    self.do("UPDATE gpu_device SET type = 'VGPUOnly' WHERE id = %s", parent)
                if row:  # neither its card nor its profile
                    self.do("UPDATE gpu_device SET type = %s, parent_gpu_device_id = %s, pci_root = %s, state = %s, vm_id = %s "
                            "WHERE id = %s", d["type"], parent, d["pci_root"], state, vm, row["id"])
                    continue
                card = self.card(d)
                self.do("INSERT INTO gpu_device (uuid, card_id, vgpu_profile_id, bus_address, type, host_id, vm_id, numa_node, "
                        "pci_root, parent_gpu_device_id, state, managed_state) VALUES (UUID(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
                        "'Managed')", card, self.profile(card, d), d["bus_address"], d["type"], host_id, vm, d["numa_node"],
                        d["pci_root"], parent, state)
            seen = [d["bus_address"] for d in devices]
            for bus in set(self.devices(host)) - set(seen):
                self.do("UPDATE gpu_device SET state = 'Error' WHERE bus_address = %s AND host_id = %s", bus, host_id)

    # ---- the lives of VMs

    def allocate(self, number, host):
        """Devices of the host for a VM that is to start there, those it has first; None: there are not so many."""
        vm = self.vm(number)
        with self.transaction():
            rows = self.do(
                "SELECT d.id, d.bus_address FROM gpu_device d JOIN vgpu_profile p ON p.id = d.vgpu_profile_id JOIN host h ON "
                "h.id = d.host_id WHERE h.name = %s AND p.name = %s AND d.managed_state = 'Managed' AND d.type <> 'VGPUOnly' AND "
                "(d.state = 'Free' OR d.state = 'Allocated' AND d.vm_id = %s) ORDER BY d.vm_id <=> %s DESC, d.numa_node, d.pci_root, "
                "d.id LIMIT %s FOR UPDATE", host, vm["profile"], number, number, vm["gpu_count"])
            if len(rows) < vm["gpu_count"]:
                return None
            for row in rows:
                self.do("UPDATE gpu_device SET state = 'Allocated', vm_id = %s WHERE id = %s", number, row["id"])
            self.do("UPDATE vm_instance SET state = 'Starting', host_id = (SELECT id FROM host WHERE name = %s) WHERE id = %s",
                    host, number)
        return [row["bus_address"] for row in rows]

    def started(self, number, devices):
        """The host's answer was good: these devices are the VM's and no others."""
        with self.transaction():
            self.release(number)
            for bus in devices:
                self.do("UPDATE gpu_device d, vm_instance v SET d.state = 'Allocated', d.vm_id = v.id WHERE v.id = %s AND "
                        "d.host_id = v.host_id AND d.bus_address = %s", number, bus)
            self.do("UPDATE vm_instance SET state = 'Running' WHERE id = %s", number)

    def not_started(self, number):
        with self.transaction():
            self.release(number)
            self.do("UPDATE vm_instance SET state = 'Stopped', host_id = NULL WHERE id = %s", number)

    def stopped(self, number):
        """By an order, by itself, or with its host."""
        with self.transaction():
            if self.detach:
                self.release(number)
            self.do("UPDATE vm_instance SET state = 'Stopped', host_id = NULL WHERE id = %s", number)

    def destroyed(self, number):
        with self.transaction():
            self.release(number)
            self.do("UPDATE vm_instance SET state = 'Destroyed', host_id = NULL, removed = 1 WHERE id = %s", number)

    def release(self, number):
        self.do("UPDATE gpu_device SET state = 'Free', vm_id = NULL WHERE vm_id = %s", number)
