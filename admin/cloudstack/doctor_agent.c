// SPDX-License-Identifier: Apache-2.0
// Doctor's checks of CloudStack's agent: its version, our files in it, what discovery tells it. In
// vgpu-admin.
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "admin/cloudstack/doctor.h"
#include "admin/cloudstack/doctor_rules.h"
#include "admin/cloudstack/host.h"
#include "admin/cloudstack/listing.h"
#include "admin/cloudstack/program.h"
#include "admin/cloudstack/seal.h"
#include "admin/cloudstack/settings.h"
#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define JARS	     "/usr/share/cloudstack-agent/lib"
#define AGENT_CLASS  "com.cloud.agent.AgentShell"
#define AGENT_NS     (30 * NSEC_PER_SEC)
#define INSTALL_STEP "vgpu-admin cloudstack install"

static bool find_agent(const struct doctor *d, struct rules_version *ret)
{
	cleanup_free char *path = host_path(d->root, JARS);
	DIR *jars = opendir(path);
	const struct dirent *e;
	bool found = false;

	while (jars && !found && (e = readdir(jars)))
		found = rules_jar(e->d_name, ret);
	if (jars)
		closedir(jars);
	return found;
}

static enum doctor_result look_version(struct doctor *d, struct doctor_finding *f)
{
	struct rules_version v;

	doctor_next(f, "install cloudstack-agent 4.21 or later");
	if (!find_agent(d, &v))
		return doctor_say(f, DOCTOR_FAILED, "no CloudStack agent is installed (" JARS ")");
	if (!rules_at_least(v, 4, 21))
		return doctor_say(f, DOCTOR_FAILED, "the agent is %u.%u, which knows no GPUs on KVM", v.major,
				  v.minor);
	return doctor_say(f, DOCTOR_OK, "the agent is %u.%u", v.major, v.minor);
}

// What is wrong with the file, and how bad that is; NULL: nothing.
static char *judge(struct doctor *d, const struct install_item *item, enum doctor_result *ret_result)
{
	cleanup_free char *why = NULL, *packaged = text_print(CLOUDSTACK_FILES "/%s", item->source);
	size_t plain_n = 0, sealed_n = 0;
	cleanup_free char *plain = host_read(d->root, packaged, &plain_n);
	cleanup_free char *sealed = plain ? seal_add(plain, plain_n, &sealed_n) : NULL;
	struct tree_file found;
	char *wrong = NULL;

	*ret_result = DOCTOR_FAILED;
	if (!tree_read(&d->tree, item->path, &found, &why))
		wrong = take_ptr(why);
	else if (!found.there)
		wrong = text_print("%s is not there", item->path);
	else if (!found.text || seal_check(found.text, found.n) == SEAL_NONE)
		wrong = text_print("%s is not vgpu's", item->path);
	else if (!(found.st.st_mode & 0100))
		wrong = text_print("%s is not executable", item->path);
	else
		*ret_result = DOCTOR_WARNING;
	if (*ret_result == DOCTOR_WARNING && seal_check(found.text, found.n) == SEAL_BROKEN)
		wrong = text_print("%s was changed since it was installed", item->path);
	else if (*ret_result == DOCTOR_WARNING && sealed &&
		 (sealed_n != found.n || memcmp(sealed, found.text, found.n) != 0))
		wrong = text_print("%s is of another version than " CLOUDSTACK_FILES, item->path);
	tree_file_done(&found);
	return wrong;
}

static enum doctor_result look_files(struct doctor *d, struct doctor_finding *f)
{
	enum doctor_result worst = DOCTOR_OK;
	size_t n = 0;

	for (size_t i = 0; i < d->plan.n && worst != DOCTOR_FAILED; i++) {
		const struct install_item *item = &d->plan.item[i];
		enum doctor_result result;
		cleanup_free char *wrong = item->settings ? NULL : judge(d, item, &result);

		n += !item->settings;
		if (!wrong)
			continue;
		if (result == DOCTOR_FAILED) // of several that counts
			free(take_ptr(f->text));
		worst = doctor_say(f, result, "%s", wrong);
	}
	if (worst == DOCTOR_OK)
		return doctor_say(f, DOCTOR_OK,
				  "%zu files are in place, hooks where agent.properties has them", n);
	doctor_next(f, INSTALL_STEP " (--dry-run shows what it would do)");
	return worst;
}

static enum doctor_result look_groovy(struct doctor *d, struct doctor_finding *f)
{
	if (!host_has(d->root, d->plan.groovy))
		return doctor_say(f, DOCTOR_OK, "nothing runs before the transformer");
	doctor_next(f, INSTALL_STEP " --replace moves it away; see first what it is there for");
	return doctor_say(f, DOCTOR_FAILED, "%s runs before ours", d->plan.groovy);
}

// What the agent would read; NULL with what is wrong.
static char *discover(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *script = host_path(d->root, INSTALL_DISCOVERY);
	cleanup_free char *settings = text_print("VGPU_CLOUDSTACK_SETTINGS=%s" INSTALL_SETTINGS, d->root);
	const char *const env[] = { d->root[0] ? settings : NULL, NULL };
	char *argv[] = { script, NULL };
	const struct program p = { argv, env, true, AGENT_NS, LISTING_MOST_BYTES };
	char *output;
	size_t n;
	int r = program_run(&p, &output, &n);

	if (r == 0)
		return output;
	free(output);
	if (r == -ETIMEDOUT)
		doctor_say(f, DOCTOR_FAILED, "discovery takes longer than the agent waits (30 s)");
	else if (r == -E2BIG)
		doctor_say(f, DOCTOR_FAILED, "discovery prints more than %u bytes", LISTING_MOST_BYTES);
	else if (r < 0)
		doctor_say(f, DOCTOR_FAILED, INSTALL_DISCOVERY ": %s", strerror(-r));
	else
		doctor_say(f, DOCTOR_FAILED, "discovery ends with %d", r);
	return NULL;
}

static enum doctor_result look_discovery(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *output = NULL;
	json_t *list, *gpus;
	size_t n = 0, vgpus = 0, i;
	bool parsed;

	if (!host_has(d->root, INSTALL_DISCOVERY)) {
		doctor_next(f, INSTALL_STEP);
		return doctor_say(f, DOCTOR_FAILED, INSTALL_DISCOVERY " is not there");
	}
	doctor_next(f, "vgpu-admin cloudstack discover; journalctl -t vgpu-cloudstack has the reason");
	output = discover(d, f);
	if (!output)
		return DOCTOR_FAILED;
	list = json_loads(output, 0, NULL);
	gpus = json_object_get(list, "gpus");
	parsed = json_is_array(gpus);
	n = json_array_size(gpus);
	for (i = 0; i < n; i++)
		vgpus += json_array_size(json_object_get(json_array_get(gpus, i), "vgpu_instances"));
	json_decref(list);
	if (!parsed)
		return doctor_say(f, DOCTOR_FAILED, "discovery prints what is no list of GPUs");
	return doctor_say(f, DOCTOR_OK, "%zu GPUs with %zu vGPUs, %zu bytes", n, vgpus, strlen(output));
}

static enum doctor_result look_running(struct doctor *d, struct doctor_finding *f)
{
	long long started = doctor_started(d, rules_is_java, AGENT_CLASS);

	if (started < 0)
		return doctor_say(f, DOCTOR_NOT_CHECKED, "/proc cannot be read");
	doctor_next(f, "systemctl restart cloudstack-agent");
	if (!started)
		return doctor_say(f, DOCTOR_FAILED, "the agent does not run");
	if (!doctor_is_after(d, started, INSTALL_DISCOVERY))
		return doctor_say(f, DOCTOR_FAILED,
				  "the agent started before " INSTALL_DISCOVERY
				  " was there, and does not see it");
	return doctor_say(f, DOCTOR_OK, "the agent runs, and started after the discovery script was there");
}

static enum doctor_result look_ballooning(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *value = settings_property(d->properties, "vm.memballoon.disable");

	if (value && strcasecmp(value, "true") == 0)
		return doctor_say(f, DOCTOR_OK, "memory ballooning is off");
	doctor_next(f, "vm.memballoon.disable=true in " INSTALL_AGENT_PROPERTIES ", restart the agent");
	return doctor_say(f, DOCTOR_WARNING,
			  "VMs have a memory balloon, which takes pages that their vGPU uses");
}

const struct doctor_check doctor_agent_checks[] = {
	{ "agent", false, look_version },
	{ "files", true, look_files },
	{ "groovy", true, look_groovy },
	{ "discovery", true, look_discovery },
	{ "agent's start", true, look_running },
	{ "ballooning", true, look_ballooning },
	{ 0 },
};
