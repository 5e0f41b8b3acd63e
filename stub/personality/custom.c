// SPDX-License-Identifier: Apache-2.0
// The project's own device: a processing accelerator that only vgpu.ko binds to. A PCI Express endpoint with
// power management and MSI; layouts of the PCI specifications. One vector and no MSI-X: QEMU 11.1 aborts when
// a device with MSI-X is unplugged.
#include "protocol/guest/vgpu_pci.h"
#include "stub/personality/custom.h"

#define CAP_PM	 0x40u
#define CAP_MSI	 0x50u
#define CAP_PCIE 0x70u

static void header(struct config_space *c)
{
	config_space_put(c, 0x00, 2, VGPU_PCI_VENDOR, 0);
	config_space_put(c, 0x02, 2, VGPU_PCI_DEVICE, 0);
	// Memory, bus master, parity, SERR, interrupt disable.
	config_space_put(c, 0x04, 2, 0, 0x0002 | 0x0004 | 0x0040 | 0x0100 | 0x0400);
	config_space_put(c, 0x06, 2, 0x0010, 0); // has capabilities
	config_space_put(c, 0x08, 4, (uint32_t)VGPU_PCI_CLASS << 8 | VGPU_PCI_REVISION, 0);
	config_space_put(c, 0x0c, 1, 0, 0xff); // cache line size
	config_space_put(c, 0x10, 4, 0, ~(VGPU_BAR0_BYTES - 1u));
	config_space_put(c, 0x2c, 2, VGPU_PCI_SUBVENDOR, 0);
	config_space_put(c, 0x2e, 2, VGPU_PCI_SUBDEVICE, 0);
	config_space_put(c, 0x34, 1, CAP_PM, 0);
	config_space_put(c, 0x3c, 1, 0, 0xff); // interrupt line; pin 0x3d: none
}

static void capabilities(struct config_space *c)
{
	config_space_put(c, CAP_PM, 2, CAP_MSI << 8 | 0x01, 0);
	config_space_put(c, CAP_PM + 2, 2, 0x0003, 0);	    // version 1.2, no PME
	config_space_put(c, CAP_PM + 4, 2, 0x0008, 0x0003); // state; coming back from D3 does not reset

	config_space_put(c, CAP_MSI, 2, CAP_PCIE << 8 | 0x05, 0);
	config_space_put(c, CAP_MSI + 2, 2, 0x0080, 0x0001); // one vector, 64-bit address; enable
	config_space_put(c, CAP_MSI + 4, 4, 0, 0xfffffffcu);
	config_space_put(c, CAP_MSI + 8, 4, 0, 0xffffffffu);
	config_space_put(c, CAP_MSI + 12, 2, 0, 0xffff);

	config_space_put(c, CAP_PCIE, 2, 0x10, 0);
	config_space_put(c, CAP_PCIE + 2, 2, 0x0002, 0);      // version 2, endpoint
	config_space_put(c, CAP_PCIE + 4, 4, 0x00008000, 0);  // role-based error reporting
	config_space_put(c, CAP_PCIE + 8, 2, 0x2010, 0x7fff); // device control
	config_space_put(c, CAP_PCIE + 12, 4, 0x00000011, 0); // link: 2.5 GT/s, one lane
	config_space_put(c, CAP_PCIE + 16, 2, 0, 0x00c3);
	config_space_put(c, CAP_PCIE + 18, 2, 0x0011, 0);
	config_space_put(c, CAP_PCIE + 40, 2, 0, 0x001f);     // device control 2: completion time-out
	config_space_put(c, CAP_PCIE + 44, 4, 0x00000002, 0); // link 2: 2.5 GT/s
	config_space_put(c, CAP_PCIE + 48, 2, 0x0001, 0x000f);
}

void custom_config(struct config_space *c)
{
	header(c);
	capabilities(c);
}
