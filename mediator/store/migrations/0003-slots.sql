-- SPDX-License-Identifier: Apache-2.0
-- What a slot is doing, as it was told last, and in which boot of the host slot.reserve gave it away (NULL: it is free,
-- or was assigned by hand). with_vm: its VM was made for that, and goes with it.
ALTER TABLE slot ADD COLUMN state TEXT NOT NULL DEFAULT '';
ALTER TABLE slot ADD COLUMN boot TEXT;
ALTER TABLE slot ADD COLUMN with_vm INTEGER NOT NULL DEFAULT 0 CHECK (with_vm IN (0, 1));
-- Where the GPU is (domain:bus:device.function) and what (device id << 16 | vendor id); NULL and 0: not known.
ALTER TABLE gpu ADD COLUMN pci TEXT;
ALTER TABLE gpu ADD COLUMN pci_id INTEGER NOT NULL DEFAULT 0;
