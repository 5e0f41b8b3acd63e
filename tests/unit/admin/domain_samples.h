// SPDX-License-Identifier: Apache-2.0
// Domains in the forms that CloudStack's agent writes them, in pieces: what is between the pieces is what a
// transformation changes, everything else has to stay.
#ifndef VGPU_TESTS_UNIT_ADMIN_DOMAIN_SAMPLES_H
#define VGPU_TESTS_UNIT_ADMIN_DOMAIN_SAMPLES_H

#define VM     "6f1c4ae2-52a5-4d5c-8a45-0d2f7d6a1b9e"
#define VGPU_A "0a1b2c3d-0000-4000-8000-00000000000a"
#define VGPU_B "0a1b2c3d-0000-4000-8000-00000000000b"
#define OTHER  "99999999-0000-4000-8000-000000000009"

#define HOSTDEV(uuid)                                                                       \
	"<hostdev mode='subsystem' type='mdev' model='vfio-pci' display='off'>\n  <source>" \
	"<address uuid='" uuid "'/></source>\n</hostdev>\n"
#define PCI_HOSTDEV                                                                       \
	"<hostdev mode='subsystem' type='pci' managed='yes' display='off'>\n"             \
	"  <driver name='vfio'/><source><address domain='0x0000' bus='0x17' slot='0x00' " \
	"function='0x0'/></source></hostdev>\n"

#define QEMU_NS "http://libvirt.org/schemas/domain/qemu/1.0"
#define DEVICE(n, bus, addr, socket)                                                                    \
	"<qemu:arg value='-device'/><qemu:arg value='{\"driver\":\"vfio-user-pci\",\"id\":\"vgpu" n     \
	"\",\"bus\":\"" bus "\",\"addr\":\"" addr "\",\"socket\":{\"type\":\"unix\",\"path\":\"" socket \
	"\"}}'/>"
#define LINE(args) "<qemu:commandline xmlns:qemu='" QEMU_NS "'>" args "</qemu:commandline>"
#define SHARED	   "<source type='memfd'/><access mode='shared'/>"
#define BACKING	   "<memoryBacking>" SHARED "</memoryBacking>"
#define SOCKET_A   "/run/vgpu-stub/a.sock"
#define SOCKET_B   "/run/vgpu-stub/b.sock"

#define HEAD                                                                                              \
	"<domain type='kvm'>\n<name>i-2-33-VM</name>\n<uuid>" VM "</uuid>\n<description>Ubuntu \xc3\xa9 " \
	"&lt;64-bit&gt; &amp; more</description>\n<clock offset='utc'><timer name='kvmclock'/></clock>\n" \
	"<memory>4194304</memory>\n<currentMemory>4194304</currentMemory>\n"
#define OS_PC "<os><type arch='x86_64' machine='pc'>hvm</type><boot dev='cdrom'/><boot dev='hd'/></os>\n"
#define OS_Q35                                                                                 \
	"<os><type arch='x86_64' machine='q35'>hvm</type><loader readonly='yes' secure='no' "  \
	"type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader><nvram>/var/lib/libvirt/nvram/" VM \
	".fd</nvram></os>\n"
#define CPU "<cpu mode='host-model'/>\n<features><pae/><apic/><acpi/></features>\n"
#define DISK(name, slot)                                                                          \
	"<disk device='disk' type='file'><driver name='qemu' type='qcow2' cache='none'/><source " \
	"file='/mnt/p/" name "'/><target dev='" name "' bus='virtio'/>" slot "</disk>\n"
#define DEVICES "<devices>\n<emulator>/usr/bin/qemu-system-x86_64</emulator>\n" DISK("vda", "")
#define NIC                                                                                      \
	"<interface type='bridge'><source bridge='cloudbr0'/><mac address='02:00:51:2f:00:01'/>" \
	"<model type='virtio'/></interface>\n<graphics type='vnc' autoport='yes' passwd='p&quot;w'/>\n"
#define TAIL NIC "</devices>\n"
#define END  "</domain>\n"

#endif
