-- SPDX-License-Identifier: Apache-2.0
-- Whose programs a VM may run (any, custom, cuda). Of this and of the personality '' is from now on what nobody said of the
-- VM itself, so that its vGPU's profile says it.
ALTER TABLE vm ADD COLUMN protocol TEXT NOT NULL DEFAULT '';
UPDATE vm SET personality = '' WHERE personality = 'custom';

-- What tenants used, by the library that their programs said they have. Sums since the beginning.
CREATE TABLE use_library (
	tenant INTEGER NOT NULL REFERENCES tenant (id),
	library TEXT NOT NULL,
	channels INTEGER NOT NULL, -- that were opened
	refused INTEGER NOT NULL,  -- by the protocol of their VM
	launches INTEGER NOT NULL,
	gpu_ns INTEGER NOT NULL,
	faults INTEGER NOT NULL,
	PRIMARY KEY (tenant, library)
) STRICT, WITHOUT ROWID;

-- Which features of CUDA they used (protocol/guest/calls.yaml), by the hour.
CREATE TABLE use_feature (
	tenant INTEGER NOT NULL REFERENCES tenant (id),
	feature TEXT NOT NULL,
	first INTEGER NOT NULL, -- when the hour began in which it was first used
	last INTEGER NOT NULL,  -- and the last one
	PRIMARY KEY (tenant, feature)
) STRICT, WITHOUT ROWID;
