// SPDX-License-Identifier: Apache-2.0
// MD2 (RFC 1319) and HMAC (RFC 2104) with it: what CUDA's runtime has the driver prove itself with. Not for
// anything that has to be secure. Pure; runs in the guest program.
#ifndef VGPU_LIBCUDA_MD2_H
#define VGPU_LIBCUDA_MD2_H

#include <stddef.h>
#include <stdint.h>

#define MD2_BYTES 16 // of a digest, of a block, and of the key here

struct md2 {
	uint8_t state[MD2_BYTES], checksum[MD2_BYTES], block[MD2_BYTES];
	size_t have; // bytes in block
};

void md2_init(struct md2 *m);
void md2_add(struct md2 *m, const void *data, size_t bytes);
void md2_end(struct md2 *m, uint8_t ret[MD2_BYTES]);

// HMAC, in the same steps.
struct md2_hmac {
	struct md2 inner;
	uint8_t key[MD2_BYTES];
};

void md2_hmac_init(struct md2_hmac *h, const uint8_t key[MD2_BYTES]);
void md2_hmac_add(struct md2_hmac *h, const void *data, size_t bytes);
void md2_hmac_end(struct md2_hmac *h, uint8_t ret[MD2_BYTES]);

#endif
