-- SPDX-License-Identifier: Apache-2.0
-- Times are seconds since 1970 (UTC) unless a name says otherwise. Names that people chose are keys, so that a
-- row can be read without looking anything up; usage alone names tenants by number, to be small.

CREATE TABLE gpu (
	uuid TEXT NOT NULL PRIMARY KEY,
	name TEXT NOT NULL,
	memory_bytes INTEGER NOT NULL CHECK (memory_bytes >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE pool (
	name TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	gpu TEXT REFERENCES gpu (uuid) -- NULL: any
) STRICT, WITHOUT ROWID;

CREATE TABLE profile (
	name TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	memory_bytes INTEGER NOT NULL CHECK (memory_bytes >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE vm (
	uuid TEXT NOT NULL PRIMARY KEY CHECK (uuid <> ''),
	name TEXT NOT NULL,
	pool TEXT REFERENCES pool (name),
	profile TEXT REFERENCES profile (name)
) STRICT, WITHOUT ROWID;

CREATE TABLE slot (
	uuid TEXT NOT NULL PRIMARY KEY CHECK (uuid <> ''),
	gpu TEXT NOT NULL REFERENCES gpu (uuid),
	profile TEXT NOT NULL REFERENCES profile (name),
	number INTEGER NOT NULL CHECK (number >= 0), -- among those of its profile
	vm TEXT REFERENCES vm (uuid),                -- NULL: free
	UNIQUE (gpu, profile, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE tenant (
	id INTEGER NOT NULL PRIMARY KEY,
	name TEXT NOT NULL UNIQUE CHECK (name <> ''), -- "uid-1000", "name-blue", "vm-" and a uuid
	pool TEXT REFERENCES pool (name),
	seen INTEGER NOT NULL                         -- when it was recorded last
) STRICT;

-- What was set by hand; what is not here is as the settings say. Names and units are those of
-- mediator/limit/policy.def.
CREATE TABLE limits (
	scope TEXT NOT NULL CHECK (scope IN ('pool', 'profile', 'tenant')),
	owner TEXT NOT NULL CHECK (owner <> ''),
	name TEXT NOT NULL,
	value INTEGER NOT NULL CHECK (value >= 0),
	PRIMARY KEY (scope, owner, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_minute (
	tenant INTEGER NOT NULL REFERENCES tenant (id),
	at INTEGER NOT NULL, -- when the minute began
	gpu_ns INTEGER NOT NULL,
	turns INTEGER NOT NULL,
	launches INTEGER NOT NULL,
	copy_bytes INTEGER NOT NULL,
	memory_byte_s INTEGER NOT NULL, -- bytes held times seconds
	faults INTEGER NOT NULL,
	PRIMARY KEY (tenant, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_hour (
	tenant INTEGER NOT NULL REFERENCES tenant (id),
	at INTEGER NOT NULL,
	gpu_ns INTEGER NOT NULL,
	turns INTEGER NOT NULL,
	launches INTEGER NOT NULL,
	copy_bytes INTEGER NOT NULL,
	memory_byte_s INTEGER NOT NULL,
	faults INTEGER NOT NULL,
	PRIMARY KEY (tenant, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_day (
	tenant INTEGER NOT NULL REFERENCES tenant (id),
	at INTEGER NOT NULL,
	gpu_ns INTEGER NOT NULL,
	turns INTEGER NOT NULL,
	launches INTEGER NOT NULL,
	copy_bytes INTEGER NOT NULL,
	memory_byte_s INTEGER NOT NULL,
	faults INTEGER NOT NULL,
	PRIMARY KEY (tenant, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE strike (
	id INTEGER NOT NULL PRIMARY KEY,
	tenant INTEGER NOT NULL REFERENCES tenant (id),
	at INTEGER NOT NULL,
	cause TEXT NOT NULL
) STRICT;
CREATE INDEX strike_by_tenant ON strike (tenant, id);

-- Kept when strikes grow old.
CREATE TABLE strike_count (
	tenant INTEGER NOT NULL REFERENCES tenant (id),
	cause TEXT NOT NULL,
	count INTEGER NOT NULL,
	PRIMARY KEY (tenant, cause)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
	id INTEGER NOT NULL PRIMARY KEY,
	tenant INTEGER NOT NULL REFERENCES tenant (id),
	cause TEXT NOT NULL,
	began INTEGER NOT NULL,
	until INTEGER, -- NULL: until released
	ended INTEGER  -- NULL: in force
) STRICT;
CREATE UNIQUE INDEX quarantine_in_force ON quarantine (tenant) WHERE ended IS NULL;
CREATE INDEX quarantine_by_tenant ON quarantine (tenant, id);

-- Written in the transaction of the change that it tells of.
CREATE TABLE audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	at_ms INTEGER NOT NULL,
	who TEXT NOT NULL,
	what TEXT NOT NULL,    -- "pool.set", "limits.set", "quarantine.begin", ...
	subject TEXT NOT NULL, -- key of what was changed
	before TEXT,           -- JSON; NULL: there was nothing
	after TEXT             -- JSON; NULL: there is nothing any more
) STRICT;
CREATE INDEX audit_by_subject ON audit (subject, id);
