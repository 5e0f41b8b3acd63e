// SPDX-License-Identifier: GPL-2.0-only
/*
 * vgpu.ko: the PCI driver of the virtual GPU.
 */
#include <linux/dma-mapping.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "vgpu_drv.h"

unsigned int vgpu_arena_mib = 8;
unsigned int vgpu_timeout = 30;
unsigned int vgpu_user_channels = 48;
bool vgpu_memlock = true;

static int set_in_range(const char *value, const struct kernel_param *kp, unsigned int low, unsigned int high)
{
	return param_set_uint_minmax(value, kp, low, high);
}

static int set_arena(const char *value, const struct kernel_param *kp)
{
	return set_in_range(value, kp, 4, 128);
}

static int set_timeout(const char *value, const struct kernel_param *kp)
{
	return set_in_range(value, kp, 1, 3600);
}

static int set_user_channels(const char *value, const struct kernel_param *kp)
{
	return set_in_range(value, kp, 1, VGPU_MAX_VM_CHANNELS);
}

static const struct kernel_param_ops arena_ops = { .set = set_arena, .get = param_get_uint };
static const struct kernel_param_ops timeout_ops = { .set = set_timeout, .get = param_get_uint };
static const struct kernel_param_ops user_channels_ops = { .set = set_user_channels, .get = param_get_uint };

module_param_cb(arena_mib, &arena_ops, &vgpu_arena_mib, 0644);
MODULE_PARM_DESC(arena_mib, "MiB for copies of each process, 4 to 128 (8)");
module_param_cb(timeout, &timeout_ops, &vgpu_timeout, 0644);
MODULE_PARM_DESC(timeout, "seconds that the host may take for a command (30)");
module_param_cb(user_channels, &user_channels_ops, &vgpu_user_channels, 0644);
MODULE_PARM_DESC(user_channels, "channels of one user at a time, 1 to 64 (48); not for CAP_SYS_RESOURCE");
module_param_named(memlock, vgpu_memlock, bool, 0644);
MODULE_PARM_DESC(memlock, "count pinned memory against RLIMIT_MEMLOCK (Y)");

struct workqueue_struct *vgpu_workqueue;
static DEFINE_IDA(minors);

void vgpu_device_free(struct kref *ref)
{
	struct vgpu_device *vdev = container_of(ref, struct vgpu_device, ref);

	pci_dev_put(vdev->pdev);
	kfree(vdev);
}

static int read_identity(struct vgpu_device *vdev)
{
	struct device *dev = &vdev->pdev->dev;
	u32 magic, low, high;

	if (vgpu_device_read(vdev, VGPU_REG_MAGIC, &magic) || magic != VGPU_DEVICE_MAGIC)
		return dev_err_probe(dev, -ENODEV, "not a virtual GPU\n");
	if (vgpu_device_read(vdev, VGPU_REG_VERSION, &vdev->version))
		return -ENODEV;
	if (vdev->version != VGPU_DEVICE_VERSION)
		return dev_err_probe(dev, -ENODEV, "the device has version %u, this driver %u\n", vdev->version,
				     VGPU_DEVICE_VERSION);
	if (vgpu_device_read(vdev, VGPU_REG_FEATURES, &vdev->features) ||
	    vgpu_device_read(vdev, VGPU_REG_VM_ID, &vdev->tenant_id) ||
	    vgpu_device_read(vdev, VGPU_REG_WEIGHT, &vdev->weight) ||
	    vgpu_device_read(vdev, VGPU_REG_MEMORY, &low) ||
	    vgpu_device_read(vdev, VGPU_REG_MEMORY + 4, &high) ||
	    vgpu_device_read(vdev, VGPU_REG_CHANNELS, &vdev->max_channels))
		return -ENODEV;
	vdev->memory_quota = (u64)high << 32 | low;
	vdev->max_channels = min_t(u32, vdev->max_channels, VGPU_MAX_VM_CHANNELS);
	return 0;
}

static struct vgpu_device *device_new(struct pci_dev *pdev)
{
	struct vgpu_device *vdev = kzalloc(sizeof(*vdev), GFP_KERNEL);

	if (!vdev)
		return NULL;
	kref_init(&vdev->ref);
	vdev->pdev = pci_dev_get(pdev);
	spin_lock_init(&vdev->lock);
	init_waitqueue_head(&vdev->command_wait);
	mutex_init(&vdev->list_lock);
	INIT_LIST_HEAD(&vdev->channels);
	INIT_LIST_HEAD(&vdev->files);
	pci_set_drvdata(pdev, vdev);
	return vdev;
}

static int map_device(struct vgpu_device *vdev)
{
	struct pci_dev *pdev = vdev->pdev;
	int r;

	r = pci_enable_device_mem(pdev);
	if (r < 0)
		return r;
	if (pci_resource_len(pdev, 0) < VGPU_BAR0_BYTES || PAGE_SIZE != 0x1000) {
		r = dev_err_probe(&pdev->dev, -ENODEV, "BAR 0 is too small, or pages are not of 4 KiB\n");
		goto out_disable;
	}
	r = pci_request_region(pdev, 0, "vgpu");
	if (r < 0)
		goto out_disable;
	vdev->bar = pci_iomap(pdev, 0, VGPU_BAR0_CHANNEL(0));
	vdev->bar_phys = pci_resource_start(pdev, 0);
	if (vdev->bar)
		return 0;
	r = -ENOMEM;
	pci_release_region(pdev, 0);
out_disable:
	pci_disable_device(pdev);
	return r;
}

static void unmap_device(struct vgpu_device *vdev)
{
	pci_iounmap(vdev->pdev, vdev->bar);
	pci_release_region(vdev->pdev, 0);
	pci_disable_device(vdev->pdev);
}

static int set_up_dma(struct vgpu_device *vdev)
{
	struct pci_dev *pdev = vdev->pdev;
	int r;

	r = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (r < 0)
		return r;
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	vdev->admin = dma_alloc_coherent(&pdev->dev, sizeof(*vdev->admin), &vdev->admin_dma, GFP_KERNEL);
	if (!vdev->admin)
		return -ENOMEM;
	pci_set_master(pdev);
	return 0;
}

static void free_admin(struct vgpu_device *vdev)
{
	dma_free_coherent(&vdev->pdev->dev, sizeof(*vdev->admin), vdev->admin, vdev->admin_dma);
}

static int set_up_interrupt(struct vgpu_device *vdev)
{
	struct pci_dev *pdev = vdev->pdev;
	int r;

	r = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI);
	if (r < 0)
		return r;
	r = request_irq(pci_irq_vector(pdev, 0), vgpu_interrupt, 0, "vgpu", vdev);
	if (r < 0)
		pci_free_irq_vectors(pdev);
	return r;
}

static void take_down_interrupt(struct vgpu_device *vdev)
{
	free_irq(pci_irq_vector(vdev->pdev, 0), vdev);
	pci_free_irq_vectors(vdev->pdev);
}

static int register_node(struct vgpu_device *vdev)
{
	int r;

	vdev->minor = ida_alloc(&minors, GFP_KERNEL);
	if (vdev->minor < 0)
		return vdev->minor;
	snprintf(vdev->name, sizeof(vdev->name), "vgpu%d", vdev->minor);
	vdev->misc = (struct miscdevice){ .minor = MISC_DYNAMIC_MINOR, .name = vdev->name, .fops = &vgpu_fops,
					  .mode = 0660, .parent = &vdev->pdev->dev };
	r = misc_register(&vdev->misc);
	if (r < 0)
		goto out_minor;
	r = vgpu_names_add(vdev);
	if (!r)
		return 0;
	misc_deregister(&vdev->misc);
out_minor:
	ida_free(&minors, vdev->minor);
	return r;
}

/* A reset after an error comes without a warning: what it loses must have been saved before. */
static int start(struct vgpu_device *vdev)
{
	int r = vgpu_device_start(vdev);

	return r < 0 ? r : pci_save_state(vdev->pdev);
}

static int vgpu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct vgpu_device *vdev = device_new(pdev);
	int r;

	if (!vdev)
		return -ENOMEM;
	r = map_device(vdev);
	if (r < 0)
		goto out_free;
	r = read_identity(vdev);
	if (r < 0)
		goto out_unmap;
	r = set_up_dma(vdev);
	if (r < 0)
		goto out_unmap;
	r = set_up_interrupt(vdev);
	if (r < 0)
		goto out_admin;
	r = start(vdev);
	if (r < 0)
		goto out_interrupt;
	r = register_node(vdev);
	if (r < 0)
		goto out_stop;
	dev_info(&pdev->dev, "%s: tenant %u, %u channels\n", vdev->name, vdev->tenant_id, vdev->max_channels);
	return 0;

out_stop:
	vgpu_device_stop(vdev, VGPU_DOWN);
out_interrupt:
	take_down_interrupt(vdev);
out_admin:
	pci_clear_master(pdev);
	free_admin(vdev);
out_unmap:
	unmap_device(vdev);
out_free:
	kref_put(&vdev->ref, vgpu_device_free);
	return r;
}

/* Open files may outlive it: they find the device gone. */
static void vgpu_remove(struct pci_dev *pdev)
{
	struct vgpu_device *vdev = pci_get_drvdata(pdev);
	bool let_go;

	vgpu_names_remove(vdev);
	misc_deregister(&vdev->misc);
	ida_free(&minors, vdev->minor);
	let_go = vgpu_device_stop(vdev, VGPU_GONE);
	vgpu_device_drain(vdev);
	vgpu_unmap_doorbells(vdev);
	flush_workqueue(vgpu_workqueue);
	take_down_interrupt(vdev);
	pci_clear_master(pdev);
	if (let_go)
		free_admin(vdev);
	unmap_device(vdev);
	kref_put(&vdev->ref, vgpu_device_free);
}

/* Before a reboot or another kernel: nobody may write into memory that will be somebody else's. */
static void vgpu_shutdown(struct pci_dev *pdev)
{
	vgpu_device_stop(pci_get_drvdata(pdev), VGPU_DOWN);
}

static int vgpu_suspend(struct device *dev)
{
	vgpu_device_stop(dev_get_drvdata(dev), VGPU_DOWN);
	return 0;
}

static int vgpu_resume(struct device *dev)
{
	return start(dev_get_drvdata(dev));
}

static DEFINE_SIMPLE_DEV_PM_OPS(vgpu_pm, vgpu_suspend, vgpu_resume);

static void vgpu_reset_prepare(struct pci_dev *pdev)
{
	vgpu_device_stop(pci_get_drvdata(pdev), VGPU_DOWN);
}

static void vgpu_reset_done(struct pci_dev *pdev)
{
	int r = start(pci_get_drvdata(pdev));

	if (r < 0)
		dev_err(&pdev->dev, "does not come back after its reset: %d\n", r);
}

static pci_ers_result_t vgpu_error_detected(struct pci_dev *pdev, pci_channel_state_t state)
{
	vgpu_device_stop(pci_get_drvdata(pdev), VGPU_DOWN);
	return state == pci_channel_io_perm_failure ? PCI_ERS_RESULT_DISCONNECT : PCI_ERS_RESULT_NEED_RESET;
}

static pci_ers_result_t vgpu_slot_reset(struct pci_dev *pdev)
{
	pci_restore_state(pdev);
	return start(pci_get_drvdata(pdev)) ? PCI_ERS_RESULT_DISCONNECT : PCI_ERS_RESULT_RECOVERED;
}

static const struct pci_error_handlers vgpu_errors = {
	.error_detected = vgpu_error_detected,
	.slot_reset = vgpu_slot_reset,
	.reset_prepare = vgpu_reset_prepare,
	.reset_done = vgpu_reset_done,
};

static const struct pci_device_id vgpu_ids[] = {
	{ PCI_DEVICE_SUB(VGPU_PCI_VENDOR, VGPU_PCI_DEVICE, VGPU_PCI_SUBVENDOR, VGPU_PCI_SUBDEVICE) },
	{}
};
MODULE_DEVICE_TABLE(pci, vgpu_ids);

static struct pci_driver vgpu_driver = {
	.name = "vgpu",
	.id_table = vgpu_ids,
	.probe = vgpu_probe,
	.remove = vgpu_remove,
	.shutdown = vgpu_shutdown,
	.err_handler = &vgpu_errors,
	.driver.pm = pm_sleep_ptr(&vgpu_pm),
};

static int __init vgpu_init(void)
{
	int r;

	vgpu_workqueue = alloc_workqueue("vgpu", WQ_UNBOUND, VGPU_MAX_VM_CHANNELS);
	if (!vgpu_workqueue)
		return -ENOMEM;
	r = vgpu_names_init();
	if (r < 0)
		goto out_workqueue;
	r = pci_register_driver(&vgpu_driver);
	if (!r)
		return 0;
	vgpu_names_exit();
out_workqueue:
	destroy_workqueue(vgpu_workqueue);
	return r;
}
module_init(vgpu_init);

static void __exit vgpu_exit(void)
{
	pci_unregister_driver(&vgpu_driver);
	vgpu_names_exit();
	destroy_workqueue(vgpu_workqueue);
	ida_destroy(&minors);
}
module_exit(vgpu_exit);

MODULE_DESCRIPTION("Virtual GPU of vgpu");
MODULE_LICENSE("GPL");
