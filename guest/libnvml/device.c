// SPDX-License-Identifier: Apache-2.0
// Which devices there are and what the device is: handles, names, PCI, architecture. Runs in the guest
// program, any thread. What libcuda.so.1 tells as well (name, UUID, PCI address, compute capability) comes
// from the same place.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "guest/libnvml/libnvml.h"
#include "protocol/cuda/cuda_abi.h"

// ---- handles

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count)
{
	nvmlReturn_t result = nv_ready();

	if (result)
		return result;
	if (!count)
		return NVML_ERROR_INVALID_ARGUMENT;
	*count = 1;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
	nvmlReturn_t result = nv_ready();

	if (result)
		return result;
	if (!device || index)
		return NVML_ERROR_INVALID_ARGUMENT;
	*device = nv_device();
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index)
{
	return nv_constant(device, 0, index);
}

// A look for a device by something that it has; `key` and `device` are the caller's.
static nvmlReturn_t begin_search(const void *key, const nvmlDevice_t *device, struct device_state *ret)
{
	nvmlReturn_t result = nv_ready();

	if (result)
		return result;
	return key && device ? nv_look(ret) : NVML_ERROR_INVALID_ARGUMENT;
}

static nvmlReturn_t end_search(int found, nvmlDevice_t *device)
{
	if (!found)
		return NVML_ERROR_NOT_FOUND;
	*device = nv_device();
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleBySerial(const char *serial, nvmlDevice_t *device)
{
	struct device_state s;
	nvmlReturn_t result = begin_search(serial, device, &s);

	return result ? result : end_search(s.texts.serial[0] && strcmp(serial, s.texts.serial) == 0, device);
}

static int has_uuid(const struct device_state *s)
{
	static const uint8_t none[sizeof(s->identity.uuid)];

	return memcmp(s->identity.uuid, none, sizeof(none)) != 0;
}

static void uuid_text(const struct device_state *s, char ret[NVML_UUID_BYTES])
{
	const uint8_t *u = s->identity.uuid;

	snprintf(ret, NVML_UUID_BYTES,
		 "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2],
		 u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

static int is_uuid(const struct device_state *s, const char *text, size_t room)
{
	char ours[NVML_UUID_BYTES];

	uuid_text(s, ours);
	return has_uuid(s) && strnlen(text, room) == strlen(ours) && strncasecmp(text, ours, room) == 0;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
	struct device_state s;
	nvmlReturn_t result = begin_search(uuid, device, &s);

	return result ? result : end_search(is_uuid(&s, uuid, NVML_UUID_BYTES), device);
}

nvmlReturn_t nvmlDeviceGetHandleByUUIDV(const nvmlUUID_t *uuid, nvmlDevice_t *device)
{
	struct device_state s;
	nvmlReturn_t result = nv_ready();

	if (result)
		return result;
	if (!uuid || !device)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (uuid->version != NVML_VERSION(nvmlUUID_t, 1))
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (uuid->type != NVML_UUID_TYPE_ASCII && uuid->type != NVML_UUID_TYPE_BINARY)
		return NVML_ERROR_INVALID_ARGUMENT;
	result = nv_look(&s);
	if (result)
		return result;
	if (uuid->type == NVML_UUID_TYPE_ASCII)
		return end_search(is_uuid(&s, uuid->value.str, sizeof(uuid->value.str)), device);
	return end_search(
	    has_uuid(&s) && memcmp(uuid->value.bytes, s.identity.uuid, sizeof(s.identity.uuid)) == 0, device);
}

nvmlReturn_t nvmlDeviceOnSameBoard(nvmlDevice_t device1, nvmlDevice_t device2, int *same)
{
	nvmlReturn_t result = nv_ready_device(device1);

	if (!result)
		result = nv_ready_answer(device2, same);
	if (!result)
		*same = 1;
	return result;
}

// ---- names

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
	struct device_state s;
	nvmlReturn_t result = nv_look_answer(device, name, &s);

	if (result)
		return result;
	s.identity.name[NVML_NAME_BYTES - 1] = '\0';
	return nv_text(s.identity.name, name, length);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
	struct device_state s;
	nvmlReturn_t result = nv_look_answer(device, uuid, &s);
	char text[NVML_UUID_BYTES];

	if (result)
		return result;
	if (!has_uuid(&s))
		return NVML_ERROR_NOT_SUPPORTED;
	uuid_text(&s, text);
	return nv_text(text, uuid, length);
}

nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t device, nvmlBrandType_t *brand)
{
	struct device_state s;
	nvmlReturn_t result = nv_look_answer(device, brand, &s);

	if (!result && nv_known(&s, DEVICE_BRAND, brand))
		*brand = NVML_BRAND_UNKNOWN;
	return result;
}

// The caller's buffer has 64 bytes.
nvmlReturn_t nvmlDeviceGetGspFirmwareVersion(nvmlDevice_t device, char *version)
{
	return nv_device_text(device, offsetof(struct device_texts, gsp_firmware), version,
			      sizeof(((struct device_texts *)0)->gsp_firmware));
}

// ---- PCI

struct address {
	unsigned int domain, bus, device;
};

static nvmlReturn_t pci_address(const struct device_state *s, struct address *ret)
{
	const int32_t *a = s->identity.attributes;

	if (s->identity.attribute_count <= CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)
		return NVML_ERROR_NOT_SUPPORTED;
	*ret = (struct address){ (unsigned int)a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID],
				 (unsigned int)a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID],
				 (unsigned int)a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID] };
	return NVML_SUCCESS;
}

// Takes "DDDDDDDD:BB:DD.F", any number of digits of the domain, and "BB:DD.F"; the function may be left out.
static int parse_address(const char *text, struct address *ret, unsigned int *function)
{
	*function = 0;
	if (sscanf(text, "%8x:%2x:%2x.%1x", &ret->domain, &ret->bus, &ret->device, function) >= 3)
		return 1;
	ret->domain = 0;
	*function = 0;
	return sscanf(text, "%2x:%2x.%1x", &ret->bus, &ret->device, function) >= 2;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device)
{
	struct address ours, asked;
	struct device_state s;
	unsigned int function;
	nvmlReturn_t result = nv_ready();

	if (result)
		return result;
	if (!bus_id || !device || !parse_address(bus_id, &asked, &function))
		return NVML_ERROR_INVALID_ARGUMENT;
	result = nv_look(&s);
	if (result)
		return result;
	return end_search(!pci_address(&s, &ours) && asked.domain == ours.domain && asked.bus == ours.bus &&
			      asked.device == ours.device && !function,
			  device);
}

// What the host does not tell (without a card there are no ids) stays 0.
static nvmlReturn_t pci_info(nvmlDevice_t device, const void *answer, nvmlPciInfo_t *ret)
{
	struct device_state s;
	struct address at;
	nvmlReturn_t result = nv_look_answer(device, answer, &s);

	if (!result)
		result = pci_address(&s, &at);
	if (result)
		return result;
	*ret = (nvmlPciInfo_t){ .domain = at.domain, .bus = at.bus, .device = at.device };
	nv_known(&s, DEVICE_PCI_ID, &ret->pciDeviceId);
	nv_known(&s, DEVICE_PCI_SUBSYSTEM_ID, &ret->pciSubSystemId);
	snprintf(ret->busIdLegacy, sizeof(ret->busIdLegacy), "%04X:%02X:%02X.0", at.domain & 0xffff,
		 at.bus & 0xff, at.device & 0xff);
	snprintf(ret->busId, sizeof(ret->busId), "%08X:%02X:%02X.0", at.domain, at.bus & 0xff,
		 at.device & 0xff);
	return NVML_SUCCESS;
}

// Earlier versions have less of the structure: nothing behind it may be written.
static nvmlReturn_t pci_info_upto(nvmlDevice_t device, nvmlPciInfo_t *pci, size_t bytes)
{
	nvmlPciInfo_t info;
	nvmlReturn_t result = pci_info(device, pci, &info);

	if (!result)
		memcpy(pci, &info, bytes);
	return result;
}

nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
	return pci_info_upto(device, pci, offsetof(nvmlPciInfo_t, pciSubSystemId));
}

nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
	return pci_info_upto(device, pci, offsetof(nvmlPciInfo_t, busId));
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
	return pci_info_upto(device, pci, sizeof(*pci));
}

nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t device, nvmlPciInfoExt_t *pci)
{
	nvmlPciInfo_t info;
	nvmlReturn_t result = nv_ready_answer(device, pci);

	if (!result && pci->version != NVML_VERSION(nvmlPciInfoExt_t, 1))
		result = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (!result)
		result = pci_info(device, pci, &info);
	if (result)
		return result;
	*pci = (nvmlPciInfoExt_t){ .version = pci->version,
				   .domain = info.domain,
				   .bus = info.bus,
				   .device = info.device,
				   .pciDeviceId = info.pciDeviceId,
				   .pciSubSystemId = info.pciSubSystemId,
				   .baseClass = 3,  // display controller
				   .subClass = 2 }; // 3D controller
	memcpy(pci->busId, info.busId, sizeof(pci->busId));
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetBusType(nvmlDevice_t device, nvmlBusType_t *type)
{
	struct device_state s;
	nvmlReturn_t result = nv_look_answer(device, type, &s);

	if (!result)
		*type = device_value_known(&s.values, DEVICE_PCIE_WIDTH_MAX) ? NVML_BUS_TYPE_PCIE
									     : NVML_BUS_TYPE_UNKNOWN;
	return result;
}

// ---- architecture

static nvmlReturn_t capability(const struct device_state *s, int *major, int *minor)
{
	if (s->identity.attribute_count <= CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
		return NVML_ERROR_NOT_SUPPORTED;
	*major = s->identity.attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR];
	*minor = s->identity.attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR];
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
	struct device_state s;
	nvmlReturn_t result = nv_ready_answer(device, major);

	if (!result)
		result = nv_look_answer(device, minor, &s);
	return result ? result : capability(&s, major, minor);
}

// By the compute capability, so that both answers agree.
static nvmlDeviceArchitecture_t architecture(int major, int minor)
{
	switch (major) {
	case 3: return NVML_DEVICE_ARCH_KEPLER;
	case 5: return NVML_DEVICE_ARCH_MAXWELL;
	case 6: return NVML_DEVICE_ARCH_PASCAL;
	case 7: return minor == 5 ? NVML_DEVICE_ARCH_TURING : NVML_DEVICE_ARCH_VOLTA;
	case 8: return minor == 9 ? NVML_DEVICE_ARCH_ADA : NVML_DEVICE_ARCH_AMPERE;
	case 9: return NVML_DEVICE_ARCH_HOPPER;
	case 10:
	case 12: return NVML_DEVICE_ARCH_BLACKWELL;
	default: return NVML_DEVICE_ARCH_UNKNOWN;
	}
}

nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, nvmlDeviceArchitecture_t *arch)
{
	struct device_state s;
	nvmlReturn_t result = nv_look_answer(device, arch, &s);
	int major, minor;

	if (!result)
		result = capability(&s, &major, &minor);
	if (!result)
		*arch = architecture(major, minor);
	return result;
}
