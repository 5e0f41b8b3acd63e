// SPDX-License-Identifier: Apache-2.0
// The host's libnvidia-ml.so.1, found by dlopen, and the one card of it that is read. Only the sensor process
// loads it. A function that the library lacks, and one that answers an error, leaves its values not valid.
#ifndef VGPU_SENSOR_HOST_NVML_H
#define VGPU_SENSOR_HOST_NVML_H

#include <stdbool.h>
#include <stddef.h>

#include "protocol/host/device.h"
#include "protocol/nvml/nvml_abi.h"

#define HOST_NVML_ENV "VGPU_HOST_LIBNVML" // another library than libnvidia-ml.so.1

struct host_nvml {
	void *library;
	nvmlDevice_t device;
	bool fixed_read; // values of class FIXED are read once
	bool lost;	 // a call answered that the card is gone
};

// Loads the library, initialises it and finds the card: by UUID, else by its place on the bus (a MIG instance
// has a UUID of its own). 0; or -ENOENT with a reason in why.
int host_nvml_open(struct host_nvml *n, const struct device_identity *identity, char *why, size_t why_bytes);

// Reads all there is: some 60 calls, of which those for PCIe traffic take 20 ms each. -EIO: the card is gone,
// nothing was read.
int host_nvml_read(struct host_nvml *n, struct device_texts *texts, struct device_values *values);

#endif
