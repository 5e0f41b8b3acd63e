// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names under which programs look for NVIDIA's driver without using it: /proc/driver/nvidia/version, /dev/nvidiactl,
 * /dev/nvidia-uvm and one /dev/nvidiaN for each virtual GPU. Only with the parameter nvidia_version, since a machine
 * may have the real ones as well. Nothing can be done with the nodes: opening one says that there is no such device.
 */
#include <linux/miscdevice.h>
#include <linux/moduleparam.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "vgpu_drv.h"

#define VERSION_BYTES	32	/* with its end */

static char version[VERSION_BYTES];
static struct proc_dir_entry *folder;

/* It goes into a file that others take apart: digits and dots only. */
static int set_version(const char *value, const struct kernel_param *kp)
{
	size_t n = strcspn(value, "\n");

	if (n >= VERSION_BYTES || strspn(value, "0123456789.") < n)
		return -EINVAL;
	memcpy(version, value, n);
	version[n] = 0;
	return 0;
}

static int get_version(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", version);
}

static const struct kernel_param_ops version_ops = { .set = set_version, .get = get_version };
module_param_cb(nvidia_version, &version_ops, NULL, 0444);
MODULE_PARM_DESC(nvidia_version, "version of NVIDIA's driver to show in /proc/driver/nvidia, with its device nodes (none)");

static int show_version(struct seq_file *m, void *v)
{
	seq_printf(m, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  %s  (vgpu)\n", version);
	seq_printf(m, "GCC version:  %s\n", CONFIG_CC_VERSION_TEXT);
	return 0;
}

static int open_nothing(struct inode *inode, struct file *file)
{
	return -ENXIO;
}

static const struct file_operations nothing = { .owner = THIS_MODULE, .open = open_nothing };

static struct miscdevice general[] = {
	{ .minor = MISC_DYNAMIC_MINOR, .name = "nvidiactl", .fops = &nothing, .mode = 0666 },
	{ .minor = MISC_DYNAMIC_MINOR, .name = "nvidia-uvm", .fops = &nothing, .mode = 0666 },
};

static void remove_general(unsigned int n)
{
	while (n)
		misc_deregister(&general[--n]);
}

/* Once for the module. */
int vgpu_names_init(void)
{
	unsigned int i;
	int r;

	if (!version[0])
		return 0;
	folder = proc_mkdir("driver/nvidia", NULL);
	if (!folder)
		return -EEXIST;
	r = proc_create_single("version", 0444, folder, show_version) ? 0 : -ENOMEM;
	for (i = 0; !r && i < ARRAY_SIZE(general); i++)
		r = misc_register(&general[i]);
	if (!r)
		return 0;
	remove_general(i ? i - 1 : 0);
	proc_remove(folder);
	folder = NULL;
	return r;
}

void vgpu_names_exit(void)
{
	if (!folder)
		return;
	remove_general(ARRAY_SIZE(general));
	proc_remove(folder);
}

/* A node for each device, until vgpu_names_remove(). */
int vgpu_names_add(struct vgpu_device *vdev)
{
	if (!folder)
		return 0;
	snprintf(vdev->nvidia_name, sizeof(vdev->nvidia_name), "nvidia%d", vdev->minor);
	vdev->nvidia = (struct miscdevice){ .minor = MISC_DYNAMIC_MINOR, .name = vdev->nvidia_name, .fops = &nothing,
					    .mode = 0666, .parent = &vdev->pdev->dev };
	return misc_register(&vdev->nvidia);
}

void vgpu_names_remove(struct vgpu_device *vdev)
{
	if (folder)
		misc_deregister(&vdev->nvidia);
}
