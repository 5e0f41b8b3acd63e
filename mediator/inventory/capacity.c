// SPDX-License-Identifier: Apache-2.0
// See the header. Called by the inventory in the mediator's loop, and by the unit tests. Sums stop at
// UINT64_MAX instead of coming round.
#include "mediator/inventory/capacity.h"

static uint64_t product(uint64_t a, uint64_t b)
{
	uint64_t r;

	return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	uint64_t r;

	return __builtin_add_overflow(a, b, &r) ? UINT64_MAX : r;
}

uint64_t capacity_limit(const struct capacity_card *card)
{
	// Hundreds first: a card's bytes times a percentage can be too much for 64 bits, and bytes are exact.
	return sum(product(card->bytes / 100, card->overcommit), card->bytes % 100 * card->overcommit / 100);
}

uint64_t capacity_bytes(const struct capacity_card *card, uint64_t profile_bytes)
{
	return profile_bytes ? profile_bytes : card->bytes;
}

void capacity_add(const struct capacity_card *card, uint64_t profile_bytes, uint32_t n,
		  struct capacity_use *use)
{
	use->bytes = sum(use->bytes, product(capacity_bytes(card, profile_bytes), n));
	use->vgpus += n;
}

uint32_t capacity_fit(const struct capacity_card *card, const struct capacity_use *use,
		      uint64_t profile_bytes)
{
	uint64_t bytes = capacity_bytes(card, profile_bytes), limit = capacity_limit(card), n;

	// Also with overcommit no vGPU can be larger than the card: its quota could never be had.
	if (!card->bytes || bytes > card->bytes || use->bytes >= limit || use->vgpus >= card->most)
		return 0;
	n = (limit - use->bytes) / bytes;
	return n < card->most - use->vgpus ? (uint32_t)n : card->most - use->vgpus;
}

bool capacity_holds(const struct capacity_card *card, const struct capacity_use *use)
{
	return use->bytes <= capacity_limit(card) && use->vgpus <= card->most;
}
