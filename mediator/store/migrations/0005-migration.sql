-- SPDX-License-Identifier: Apache-2.0
-- The host's one run that moves VMs from one personality to the other, and its VMs. A VM that is forgotten meanwhile stays a
-- row, for the run's report.
CREATE TABLE migration (
	key TEXT NOT NULL PRIMARY KEY CHECK (key = 'run'),
	target TEXT NOT NULL,
	state TEXT NOT NULL,
	began INTEGER NOT NULL,
	ended INTEGER NOT NULL, -- 0: it goes on
	groups INTEGER NOT NULL,
	begun INTEGER NOT NULL, -- of them
	why TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE migration_vm (
	vm TEXT NOT NULL PRIMARY KEY CHECK (vm <> ''), -- its uuid
	was TEXT NOT NULL,             -- what was said of its personality before; "": its profile said it
	group_number INTEGER NOT NULL, -- 0: the canary
	state TEXT NOT NULL,
	since INTEGER NOT NULL,
	moved INTEGER NOT NULL,        -- when the personality was set; 0: it was not
	started INTEGER NOT NULL,      -- when it was seen to start with it; 0: it was not
	strikes_before INTEGER NOT NULL,
	strikes_at_start INTEGER NOT NULL,
	report TEXT NOT NULL,          -- none, passed, failed, waived
	report_at INTEGER NOT NULL,
	machine TEXT NOT NULL,
	report_why TEXT NOT NULL,
	why TEXT NOT NULL
) STRICT, WITHOUT ROWID;
