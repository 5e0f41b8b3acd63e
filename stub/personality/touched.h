// SPDX-License-Identifier: Apache-2.0
// Which registers a guest touched, in the order of first touch. A fixed table: what does not fit any more is
// counted together.
#ifndef VGPU_STUB_PERSONALITY_TOUCHED_H
#define VGPU_STUB_PERSONALITY_TOUCHED_H

#include <stdint.h>

#define TOUCHED_ROWS  512u
#define TOUCHED_INDEX (2 * TOUCHED_ROWS)

struct touched_row {
	uint32_t offset;	  // of the word, in BAR0
	uint32_t answer, written; // the last ones
	uint64_t reads, writes;
};

struct touched {
	unsigned n;
	struct touched_row rows[TOUCHED_ROWS];
	uint16_t index[TOUCHED_INDEX];		  // by offset: row + 1; 0: free
	uint64_t more_reads, more_writes;	  // of registers without a row
	uint64_t aperture_reads, aperture_writes; // of the BARs without registers
	uint64_t odd;				  // accesses that no processor makes; not looked at
};

void touched_read(struct touched *t, uint32_t offset, uint32_t answer);
void touched_write(struct touched *t, uint32_t offset, uint32_t value);

#endif
