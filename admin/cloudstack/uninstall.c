// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack uninstall: removes what install wrote, by the seal in each file, and puts
// back what --replace had moved. What was changed since stays. Run by an operator as root.
#include "admin/cloudstack/install.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin/cloudstack/cloudstack.h"
#include "admin/cloudstack/host.h"
#include "admin/cloudstack/install_plan.h"
#include "admin/cloudstack/seal.h"
#include "admin/cloudstack/slots.h"
#include "admin/cloudstack/sources.h"
#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define STORE	    "/var/lib/vgpu/store.db"
#define PATIENCE_NS (10 * NSEC_PER_SEC)

struct work {
	struct admin_call *call;
	char *root;
	struct tree tree;
	json_t *report;
	bool dry;
};

// ---- who has vGPUs ----

// As the mediator says. -EIO: it does not answer.
static int count_live(struct work *w, char **ret_name, char **ret_why)
{
	struct slots slots = { 0 };
	int n = 0;

	if (!slots_list(&slots, w->call, clock_now_ns() + PATIENCE_NS, ret_why))
		n = -EIO;
	for (size_t i = 0; i < slots.n; i++) {
		if (!slots.slot[i].vm[0])
			continue;
		free(*ret_name);
		*ret_name = text_print("%s", slots.slot[i].name);
		n++;
	}
	slots_done(&slots);
	return n;
}

// As its database says. Without one there is nothing that a VM could have; -EIO: it cannot be read.
static int count_stored(const struct work *w, char **ret_name)
{
	cleanup_free char *store = host_path(w->root, STORE);
	char why[SOURCE_WHY_BYTES];
	json_t *gpus = json_array(), *gpu, *slot;
	size_t i, k;
	int n = 0;

	if (host_has("", store) && source_store(store, gpus, why) < 0)
		n = -EIO;
	json_array_foreach(gpus, i, gpu)
	{
		json_array_foreach(json_object_get(gpu, "vgpu_instances"), k, slot)
		{
			free(*ret_name);
			*ret_name = text_print("%s", cloudstack_text(slot, "used_by_vm"));
			n++;
		}
	}
	json_decref(gpus);
	return n;
}

static bool is_unused(struct work *w)
{
	cleanup_free char *why = NULL, *name = NULL, *clean = NULL;
	int n = count_live(w, &name, &why);

	if (n < 0)
		n = count_stored(w, &name);
	if (n < 0) {
		admin_complain("%s\nWhether VMs have vGPUs is not known. --force does it all the same", why);
	} else if (n > 0) {
		clean = text_clean(name);
		admin_complain("%d vGPUs are those of VMs (%s): stop these first ('vgpu-admin cloudstack "
			       "drain'), or say --force: they run on then, and nobody gives their vGPUs back",
			       n, clean);
	}
	return n == 0;
}

// ---- files ----

static bool restore(struct work *w, const char *path, const char *backup, char **ret_why)
{
	struct tree_file kept;
	bool ok = tree_read(&w->tree, backup, &kept, ret_why);

	if (ok && kept.there) {
		ok = w->dry || tree_move(&w->tree, backup, path, ret_why);
		if (ok)
			install_add_row(w->report, w->dry ? "would put back" : "put back", path,
					kept.st.st_mode & 07777, NULL);
	}
	tree_file_done(&kept);
	return ok;
}

static bool take_out(struct work *w, const struct install_item *item, char **ret_why)
{
	struct tree_file f;
	bool ok = tree_read(&w->tree, item->path, &f, ret_why);
	bool gone = ok && !f.there;

	if (ok && f.text) {
		enum seal seal = seal_check(f.text, f.n);

		if (seal == SEAL_WHOLE) {
			gone = ok = w->dry || tree_remove(&w->tree, item->path, ret_why);
			if (ok)
				install_add_row(w->report, w->dry ? "would remove" : "removed", item->path, 0,
						NULL);
		} else if (seal == SEAL_BROKEN) {
			install_add_row(w->report, "kept", item->path, 0, "changed since it was installed");
		}
	}
	if (gone)
		ok = restore(w, item->path, item->backup, ret_why);
	tree_file_done(&f);
	return ok;
}

static bool take_out_all(struct work *w, const struct install_plan *p, const struct install_plan *besides,
			 char **ret_why)
{
	struct tree_file groovy;
	bool ok;

	for (size_t i = 0; i < p->n; i++) {
		if ((!besides || !install_plan_find(besides, p->item[i].path)) &&
		    !take_out(w, &p->item[i], ret_why))
			return false;
	}
	if (besides && strcmp(besides->groovy, p->groovy) == 0)
		return true;
	ok = tree_read(&w->tree, p->groovy, &groovy, ret_why);
	if (ok && !groovy.there)
		ok = restore(w, p->groovy, p->groovy_backup, ret_why);
	tree_file_done(&groovy);
	return ok;
}

// Both where agent.properties has the hooks now and where they are without it, since it may have
// changed.
static bool work(struct work *w, char **ret_why)
{
	struct install_plan plan = { 0 }, usual;
	struct tree_file properties;
	bool ok = tree_read(&w->tree, INSTALL_AGENT_PROPERTIES, &properties, ret_why);

	install_plan_make(&usual, NULL);
	if (ok)
		*ret_why = install_plan_make(&plan, properties.text);
	ok = ok && !*ret_why && take_out_all(w, &plan, NULL, ret_why) &&
	     take_out_all(w, &usual, &plan, ret_why);
	tree_file_done(&properties);
	install_plan_done(&plan);
	install_plan_done(&usual);
	return ok;
}

static void disable_timer(struct work *w)
{
	if (host_systemctl(w->root, "is-enabled", NULL, INSTALL_TIMER) != 0)
		return;
	if (w->dry || host_systemctl(w->root, "disable", "--now", INSTALL_TIMER) == 0)
		install_add_row(w->report, w->dry ? "would disable" : "disabled", INSTALL_TIMER, 0, NULL);
	else
		install_add_next(w->report, "systemctl disable --now " INSTALL_TIMER " (it failed just now)");
}

static enum admin_exit run(struct work *w)
{
	cleanup_free char *why = NULL;
	bool ok;

	if (!tree_open(&w->tree, w->root[0] ? w->root : "/", &why)) {
		admin_complain("%s", why);
		return ADMIN_REFUSED;
	}
	if (!admin_flag(w->call, "force") && !is_unused(w))
		return ADMIN_REFUSED;
	ok = work(w, &why);
	if (ok)
		disable_timer(w);
	if (json_is_true(json_object_get(w->report, "changes")))
		install_add_next(w->report, "systemctl restart cloudstack-agent: it looks for the discovery "
					    "script when it starts");
	install_print(w->call, w->report, "Nothing to do: none of install's files is there.");
	if (!ok)
		admin_complain("%s.\nWhat is listed above was done, the rest was not", why);
	return ok ? ADMIN_OK : ADMIN_REFUSED;
}

int cloudstack_uninstall(struct admin_call *c)
{
	struct work w = { .call = c,
			  .root = host_root(admin_option(c, "root")),
			  .tree.fd = -1,
			  .report = install_report(),
			  .dry = admin_flag(c, "dry-run") };
	enum admin_exit e = admin_connect(c) ? run(&w) : ADMIN_USAGE;

	json_decref(w.report);
	tree_close(&w.tree);
	free(w.root);
	return e;
}
