// SPDX-License-Identifier: Apache-2.0
// SET_IRQS in the forms that monitors send, and in others.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "stub/irq.h"

#define EVENT (VFIO_USER_IRQ_DATA_EVENTFD | VFIO_USER_IRQ_TRIGGER)

static struct irq irq;

static int set(uint32_t flags, uint32_t index, uint32_t start, uint32_t count, int fd)
{
	struct vfio_user_set_irqs m = { .flags = flags, .index = index, .start = start, .count = count };
	int fds[VFIO_USER_MAX_FDS] = { fd }, r = irq_set(&irq, &m, fds, fd >= 0);

	if (fds[0] >= 0) // not taken
		close(fds[0]);
	return r;
}

static uint64_t rings(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static int set_up(void **state)
{
	(void)state;
	irq_init(&irq);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	irq_done(&irq);
	return 0;
}

static void raised(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	(void)state;
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_MSI, 0, 1, dup(fd)), 0);
	assert_int_equal(rings(fd), 0);
	irq_raise(&irq);
	irq_raise(&irq);
	assert_int_equal(rings(fd), 2);
	close(fd);
}

static void kept_until_somebody_hears(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK), other = eventfd(0, EFD_NONBLOCK);

	(void)state;
	irq_raise(&irq);
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_MSI, 0, 1, dup(fd)), 0);
	assert_int_equal(rings(fd), 1);
	assert_int_equal(set(VFIO_USER_IRQ_DATA_NONE | VFIO_USER_IRQ_TRIGGER, VFIO_USER_IRQ_MSI, 0, 0, -1),
			 0);
	irq_raise(&irq);
	assert_int_equal(rings(fd), 0);
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_MSI, 0, 1, -1), 0); // on, no vector yet
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_MSI, 0, 1, dup(other)), 0);
	assert_int_equal(rings(other), 1);
	close(fd);
	close(other);
}

static void the_old_fd_is_closed(void **state)
{
	int a = eventfd(0, 0), b = eventfd(0, 0);

	(void)state;
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_ERROR, 0, 1, a), 0);
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_ERROR, 0, 1, b), 0);
	assert_int_equal(fcntl(a, F_GETFD), -1);
	irq_done(&irq);
	assert_int_equal(fcntl(b, F_GETFD), -1);
}

static void malformed(void **state)
{
	(void)state;
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_MSI, 1, 1, eventfd(0, 0)), EINVAL);
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_MSI, 0, 2, eventfd(0, 0)), EINVAL);
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_MSI, 0, UINT32_MAX, -1), EINVAL);
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_MSIX, 0, 1, eventfd(0, 0)), EINVAL);
	assert_int_equal(set(EVENT, VFIO_USER_IRQ_MSI, 0, 0, eventfd(0, 0)), EINVAL);
	assert_int_equal(set(VFIO_USER_IRQ_DATA_EVENTFD | VFIO_USER_IRQ_MASK, VFIO_USER_IRQ_INTX, 0, 0, -1),
			 EINVAL);
	assert_int_equal(irq.fds[VFIO_USER_IRQ_MSI], -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(raised), TEST(kept_until_somebody_hears),
					    TEST(the_old_fd_is_closed), TEST(malformed) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
