-- SPDX-License-Identifier: Apache-2.0
-- The batch of usage that was booked last. A mediator that goes on after another one was killed sees by it whether
-- the batch that was on its way then is here.
CREATE TABLE usage_booked (
	id INTEGER NOT NULL PRIMARY KEY CHECK (id = 0), -- one row
	number INTEGER NOT NULL
) STRICT;
