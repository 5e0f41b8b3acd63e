// SPDX-License-Identifier: Apache-2.0
// Cases of test_backend.c that lie in other files, by subject.
#ifndef VGPU_TESTS_BACKENDS_CASES_H
#define VGPU_TESTS_BACKENDS_CASES_H

#include <stdint.h>

static inline uint64_t at(const void *p)
{
	return (uintptr_t)p;
}

// memory_cases.c
void memory_is_mapped_and_given_back(void **state);
void memory_is_shown_in_places(void **state);
void parked_memory_is_free_and_comes_back(void **state);
void parked_memory_without_an_address_comes_back(void **state);
void too_much_memory_is_refused(void **state);
void lines_are_copied(void **state);
void planes_and_volumes_are_copied(void **state);
void inline_bytes_are_taken(void **state);
void memory_is_filled(void **state);

// order_cases.c
void events_are_timed(void **state);
void streams_wait_for_words_and_events(void **state);
void other_streams_pass_a_wait(void **state);
void destroyed_objects_finish_their_work(void **state);
void many_small_things_keep_their_order(void **state);

#endif
