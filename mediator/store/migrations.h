// SPDX-License-Identifier: Apache-2.0
// The migrations/ files, in order: number n of them takes a database from schema n - 1 to schema n
// (PRAGMA user_version). One that was ever released is never changed.
#ifndef VGPU_MEDIATOR_STORE_MIGRATIONS_H
#define VGPU_MEDIATOR_STORE_MIGRATIONS_H

struct migration {
	const char *name, *sql;
};

extern const struct migration migrations[];
extern const unsigned n_migrations;

#endif
