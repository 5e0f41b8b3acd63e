// SPDX-License-Identifier: Apache-2.0
// The table of files and its rules; see the header. Used by install, uninstall and doctor, in
// vgpu-admin.
#include "admin/cloudstack/install_plan.h"

#include <string.h>

#include "admin/cloudstack/config.h"
#include "admin/cloudstack/seal.h"
#include "admin/cloudstack/settings.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define HOOKS	"agent.hooks."
#define BASEDIR "/etc/cloudstack/agent/hooks"
#define BACKUP	".before-vgpu"

// What the agent looks for in its folder of hooks.
static const struct {
	const char *source, *property, *otherwise;
} hooks[] = {
	{ "libvirt-vm-xml-transformer.sh", HOOKS "libvirt_vm_xml_transformer.shell_script",
	  "libvirt-vm-xml-transformer.sh" },
	{ "libvirt-vm-state-change.sh", HOOKS "libvirt_vm_on_start.shell_script",
	  "libvirt-vm-state-change.sh" },
	{ "libvirt-vm-state-change.sh", HOOKS "libvirt_vm_on_stop.shell_script",
	  "libvirt-vm-state-change.sh" },
};

// libvirt runs all programs that are in its qemu.d, whatever their names: backups lie beside that
// folder.
static const struct {
	const char *source, *path, *backup;
	mode_t mode;
	bool settings;
} files[] = {
	{ "gpudiscovery.sh", INSTALL_DISCOVERY, INSTALL_DISCOVERY BACKUP, 0755, false },
	{ "qemu.d/50-vgpu", INSTALL_GUARD, "/etc/libvirt/hooks/50-vgpu" BACKUP, 0755, false },
	{ "cloudstack-hooks.env", INSTALL_SETTINGS, INSTALL_SETTINGS BACKUP, 0644, true },
	{ "cloudstack.conf", CONFIG_PATH, CONFIG_PATH BACKUP, 0600, true },
};

// The property or what the agent has without it; to be freed.
static char *property(const char *properties, const char *name, const char *otherwise)
{
	char *value = properties ? settings_property(properties, name) : NULL;

	if (value && value[0])
		return value;
	free(value);
	return text_print("%s", otherwise);
}

static char *check_name(const char *name, const char *value)
{
	if (value[0] != '.' && !strchr(value, '/'))
		return NULL;
	return text_print(INSTALL_AGENT_PROPERTIES ": %s=%s is not a file's name: change it, or remove the "
						   "line",
			  name, value);
}

static void add(struct install_plan *p, struct install_item item)
{
	if (!install_plan_find(p, item.path)) {
		p->item[p->n++] = item;
		return;
	}
	free(item.path);
	free(item.backup);
}

static char *add_hooks(struct install_plan *p, const char *properties, const char *folder)
{
	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
		cleanup_free char *name = property(properties, hooks[i].property, hooks[i].otherwise);
		char *wrong = check_name(hooks[i].property, name);

		if (wrong)
			return wrong;
		add(p, (struct install_item){ .source = hooks[i].source,
					      .path = text_print("%s/%s", folder, name),
					      .backup = text_print("%s/%s" BACKUP, folder, name),
					      .mode = 0755 });
	}
	return NULL;
}

char *install_plan_make(struct install_plan *p, const char *properties)
{
	const char *script = HOOKS "libvirt_vm_xml_transformer.script";
	cleanup_free char *folder = property(properties, HOOKS "basedir", BASEDIR);
	cleanup_free char *groovy = property(properties, script, "libvirt-vm-xml-transformer.groovy");
	char *wrong;

	*p = (struct install_plan){ 0 };
	if (folder[0] != '/')
		return text_print(INSTALL_AGENT_PROPERTIES ": " HOOKS "basedir=%s does not begin with /",
				  folder);
	for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/'; n--)
		folder[n - 1] = 0;
	wrong = check_name(script, groovy);
	if (!wrong)
		wrong = add_hooks(p, properties, folder);
	if (wrong)
		return wrong;
	p->groovy = text_print("%s/%s", folder, groovy);
	p->groovy_backup = text_print("%s" BACKUP, p->groovy);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		add(p, (struct install_item){ .source = files[i].source,
					      .path = text_print("%s", files[i].path),
					      .backup = text_print("%s", files[i].backup),
					      .mode = files[i].mode,
					      .settings = files[i].settings });
	return NULL;
}

void install_plan_done(struct install_plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->item[i].path);
		free(p->item[i].backup);
	}
	free(p->groovy);
	free(p->groovy_backup);
	*p = (struct install_plan){ 0 };
}

const struct install_item *install_plan_find(const struct install_plan *p, const char *path)
{
	for (size_t i = 0; i < p->n; i++) {
		if (strcmp(p->item[i].path, path) == 0)
			return &p->item[i];
	}
	return NULL;
}

// ---- rules ----

static bool is_text(const struct tree_file *found, const char *text, size_t n)
{
	return found->n == n && memcmp(found->text, text, n) == 0;
}

enum install_state install_judge(const struct install_item *item, const char *plain, size_t plain_n,
				 const char *sealed, size_t sealed_n, const struct tree_file *found,
				 uid_t owner)
{
	enum seal seal;

	if (!found->there)
		return INSTALL_NEW;
	if (!S_ISREG(found->st.st_mode) && !S_ISLNK(found->st.st_mode))
		return INSTALL_BLOCKED;
	if (item->settings)
		return INSTALL_KEPT;
	if (!found->text)
		return INSTALL_FOREIGN;
	if (is_text(found, sealed, sealed_n))
		return (found->st.st_mode & 07777) == item->mode && found->st.st_uid == owner ? INSTALL_SAME
											      : INSTALL_OLDER;
	seal = seal_check(found->text, found->n);
	if (seal == SEAL_WHOLE || is_text(found, plain, plain_n))
		return INSTALL_OLDER;
	return seal == SEAL_BROKEN ? INSTALL_EDITED : INSTALL_FOREIGN;
}

static size_t count_lines(const char *p, const char *end)
{
	size_t n = 0;

	for (; p < end; p++)
		n += *p == '\n' || p + 1 == end;
	return n;
}

char *install_difference(const char *old, const char *new)
{
	const char *old_end = old + strlen(old), *new_end = new + strlen(new), *a = old, *b = new;
	const char *same_a = old, *same_b = new; // behind the last line that both begin with
	size_t first, gone, come;

	for (; a < old_end && b < new_end && *a == *b; a++, b++) {
		if (*a == '\n') {
			same_a = a + 1;
			same_b = b + 1;
		}
	}
	if (a == old_end && b == new_end)
		return text_print("mode or owner");
	for (a = old_end, b = new_end; a > same_a && b > same_b && a[-1] == b[-1];) {
		a--;
		b--;
		if (*a == '\n') {
			old_end = a + 1;
			new_end = b + 1;
		}
	}
	// All that is left of one ends the other as whole lines.
	if ((a == same_a && b > same_b && b[-1] == '\n') || (b == same_b && a > same_a && a[-1] == '\n')) {
		old_end = a;
		new_end = b;
	}
	first = count_lines(old, same_a) + 1;
	gone = count_lines(same_a, old_end);
	come = count_lines(same_b, new_end);
	if (!gone)
		return text_print("%zu lines more before line %zu", come, first);
	return text_print("lines %zu-%zu of %zu become %zu", first, first + gone - 1,
			  count_lines(old, old + strlen(old)), come);
}
