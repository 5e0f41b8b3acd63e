// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack install: puts the hooks, the discovery script and templates of settings
// into a host. All or nothing: everything is written beside its place first, and what was put into
// place is taken back when something fails then. Run by an operator as root, or for an image
// (--root).
#include "admin/cloudstack/install.h"

#include <string.h>
#include <unistd.h>

#include "admin/cloudstack/config.h"
#include "admin/cloudstack/host.h"
#include "admin/cloudstack/install_plan.h"
#include "admin/cloudstack/seal.h"
#include "admin/cloudstack/settings.h"
#include "admin/text.h"
#include "common/cleanup.h"

// One file of the plan.
struct step {
	const struct install_item *item;
	struct tree_file plain, found; // as it comes; what lies there
	char *sealed;
	size_t sealed_n;
	enum install_state state;
	bool moved, committed;
};

struct work {
	struct admin_call *call;
	char *root;
	struct tree to, from;
	struct install_plan plan;
	struct step step[INSTALL_MOST_ITEMS];
	bool replace, dry, groovy, groovy_moved; // groovy: there is such a script
	bool filled;				 // cloudstack.conf says something
};

static bool is_in_the_way(enum install_state s)
{
	return s == INSTALL_FOREIGN || s == INSTALL_EDITED;
}

static bool is_written(enum install_state s)
{
	return s == INSTALL_NEW || s == INSTALL_OLDER || is_in_the_way(s);
}

// ---- looking ----

static bool look_at(struct work *w, struct step *s, char **ret_why)
{
	cleanup_free char *source = text_print("/%s", s->item->source);

	if (!tree_read(&w->from, source, &s->plain, ret_why) ||
	    !tree_read(&w->to, s->item->path, &s->found, ret_why))
		return false;
	if (!s->plain.text) {
		*ret_why = text_print("%s is not there: --from names the folder with vgpu's files for "
				      "CloudStack (package vgpu-cloudstack)",
				      s->item->source);
		return false;
	}
	s->sealed = seal_add(s->plain.text, s->plain.n, &s->sealed_n);
	s->state =
	    install_judge(s->item, s->plain.text, s->plain.n, s->sealed, s->sealed_n, &s->found, geteuid());
	if (strcmp(s->item->path, CONFIG_PATH) == 0)
		w->filled = s->found.text && settings_are_said(s->found.text);
	return true;
}

static bool look(struct work *w, char **ret_why)
{
	struct tree_file properties, groovy;
	bool ok = tree_read(&w->to, INSTALL_AGENT_PROPERTIES, &properties, ret_why);

	if (ok)
		*ret_why = install_plan_make(&w->plan, properties.text);
	ok = ok && !*ret_why;
	tree_file_done(&properties);
	for (size_t i = 0; ok && i < w->plan.n; i++) {
		w->step[i].item = &w->plan.item[i];
		ok = look_at(w, &w->step[i], ret_why);
	}
	if (!ok)
		return false;
	ok = tree_read(&w->to, w->plan.groovy, &groovy, ret_why);
	w->groovy = ok && groovy.there;
	tree_file_done(&groovy);
	return ok;
}

// ---- refusing ----

static bool is_there(struct work *w, const char *path)
{
	cleanup_free char *why = NULL;
	struct tree_file f;
	bool there = !tree_read(&w->to, path, &f, &why) || f.there;

	tree_file_done(&f);
	return there;
}

// Whether what is in the way can go there, which --replace says.
static bool can_move(struct work *w, const char *what, const char *path, const char *backup)
{
	if (!w->replace)
		admin_complain("%s %s.\n--replace moves it to %s, from where uninstall puts it back; see "
			       "first what it is there for",
			       path, what, backup);
	else if (is_there(w, backup))
		admin_complain("%s is in the way, and so is what was moved before: move %s elsewhere", path,
			       backup);
	else
		return true;
	return false;
}

static bool may(struct work *w)
{
	bool ok = true;

	for (size_t i = 0; i < w->plan.n; i++) {
		const struct install_item *item = w->step[i].item;
		enum install_state state = w->step[i].state;

		if (state == INSTALL_BLOCKED) {
			admin_complain("%s is no file: move it away", item->path);
			ok = false;
		} else if (is_in_the_way(state)) {
			const char *what =
			    state == INSTALL_EDITED ? "was changed since it was installed" : "is not vgpu's";

			ok &= can_move(w, what, item->path, item->backup);
		}
	}
	if (w->groovy)
		ok &= can_move(w, "runs before ours, which would not see the agent's own XML then",
			       w->plan.groovy, w->plan.groovy_backup);
	return ok;
}

// ---- doing ----

// Back to what was there. What cannot be is said.
static void undo(struct work *w)
{
	for (size_t i = w->plan.n; i-- > 0;) {
		struct step *s = &w->step[i];
		const struct install_item *item = s->item;
		cleanup_free char *why = NULL;
		bool ok = true;

		tree_discard(&w->to, item->path);
		if (s->committed && s->state == INSTALL_OLDER)
			ok = tree_stage(&w->to, item->path, s->found.text, s->found.n,
					s->found.st.st_mode & 07777, &why) &&
			     tree_commit(&w->to, item->path, &why);
		else if (s->committed)
			ok = tree_remove(&w->to, item->path, &why);
		if (ok && s->moved)
			ok = tree_move(&w->to, item->backup, item->path, &why);
		if (!ok)
			admin_complain("%s is not as it was: %s", item->path, why);
	}
	if (w->groovy_moved) {
		cleanup_free char *why = NULL;

		if (!tree_move(&w->to, w->plan.groovy_backup, w->plan.groovy, &why))
			admin_complain("%s is not as it was: %s", w->plan.groovy, why);
	}
	tree_unmake(&w->to);
}

static bool put(struct work *w, char **ret_why)
{
	for (size_t i = 0; i < w->plan.n; i++) {
		struct step *s = &w->step[i];

		if (is_written(s->state) &&
		    !tree_stage(&w->to, s->item->path, s->sealed, s->sealed_n, s->item->mode, ret_why))
			return false;
	}
	if (w->groovy) {
		w->groovy_moved = tree_move(&w->to, w->plan.groovy, w->plan.groovy_backup, ret_why);
		if (!w->groovy_moved)
			return false;
	}
	for (size_t i = 0; i < w->plan.n; i++) {
		struct step *s = &w->step[i];

		if (is_in_the_way(s->state)) {
			s->moved = tree_move(&w->to, s->item->path, s->item->backup, ret_why);
			if (!s->moved)
				return false;
		}
		if (is_written(s->state)) {
			s->committed = tree_commit(&w->to, s->item->path, ret_why);
			if (!s->committed)
				return false;
		}
	}
	return true;
}

// The timer asks CloudStack's API, so it is of use only when there are keys.
static void enable_timer(struct work *w, json_t *report)
{
	int r;

	if (!w->filled) {
		install_add_next(report, "fill in %s, then run this again: it enables " INSTALL_TIMER,
				 CONFIG_PATH);
		return;
	}
	if (!host_has_unit(w->root, INSTALL_TIMER)) {
		install_add_next(report, "install " INSTALL_TIMER " (package vgpu-cloudstack), then run this "
					 "again");
		return;
	}
	if (host_systemctl(w->root, "is-enabled", NULL, INSTALL_TIMER) == 0)
		return;
	r = w->dry ? 0 : host_systemctl(w->root, "enable", "--now", INSTALL_TIMER);
	if (r == 0)
		install_add_row(report, w->dry ? "would enable" : "enabled", INSTALL_TIMER, 0, NULL);
	else
		install_add_next(report, "systemctl enable --now " INSTALL_TIMER " (it failed just now)");
}

// ---- saying ----

static void add_row(const struct work *w, json_t *report, const struct step *s)
{
	cleanup_free char *detail = NULL;

	switch (s->state) {
	case INSTALL_NEW: detail = text_print("new, %zu bytes", s->sealed_n); break;
	case INSTALL_SAME:
	case INSTALL_KEPT: break;
	case INSTALL_OLDER: detail = install_difference(s->found.text, s->sealed); break;
	case INSTALL_BLOCKED: detail = text_print("no file"); break;
	default: detail = text_print("what is there goes to %s", s->item->backup); break;
	}
	install_add_row(report,
			!is_written(s->state) ? INSTALL_UNCHANGED
			: w->dry	      ? "would write"
					      : "written",
			s->item->path, s->item->mode, detail);
}

static bool is_new(const struct work *w, const char *path)
{
	for (size_t i = 0; i < w->plan.n; i++) {
		if (strcmp(w->step[i].item->path, path) == 0)
			return is_written(w->step[i].state);
	}
	return false;
}

static json_t *report_on(struct work *w)
{
	json_t *report = install_report();

	if (w->groovy) {
		cleanup_free char *detail = text_print("to %s", w->plan.groovy_backup);

		install_add_row(report, w->dry ? "would move" : "moved", w->plan.groovy, 0, detail);
	}
	for (size_t i = 0; i < w->plan.n; i++)
		add_row(w, report, &w->step[i]);
	if (is_new(w, INSTALL_GUARD))
		install_add_next(report,
				 "systemctl restart libvirtd (or virtqemud): it looks for hooks when it "
				 "starts. Machines go on running");
	if (is_new(w, INSTALL_DISCOVERY))
		install_add_next(report,
				 "systemctl restart cloudstack-agent: it looks for the discovery script "
				 "when it starts");
	enable_timer(w, report);
	if (json_is_true(json_object_get(report, "changes")))
		install_add_next(report, "vgpu-admin cloudstack doctor");
	return report;
}

// ---- the action ----

static enum admin_exit work(struct work *w)
{
	cleanup_free char *why = NULL;
	bool ok = look(w, &why), allowed = ok && may(w);
	json_t *report;

	if (ok && allowed && !w->dry && !put(w, &why)) {
		undo(w);
		ok = false;
	}
	if (!ok) {
		admin_complain("%s.\nNothing was installed", why);
		return ADMIN_REFUSED;
	}
	if (allowed || w->dry) {
		report = report_on(w);
		install_print(w->call, report, "Nothing to do: all files are in place.");
		json_decref(report);
	}
	return allowed ? ADMIN_OK : ADMIN_REFUSED;
}

int cloudstack_install(struct admin_call *c)
{
	const char *from = admin_option(c, "from");
	struct work w = { .call = c,
			  .root = host_root(admin_option(c, "root")),
			  .to.fd = -1,
			  .from.fd = -1,
			  .replace = admin_flag(c, "replace"),
			  .dry = admin_flag(c, "dry-run") };
	cleanup_free char *usual = host_path(w.root, CLOUDSTACK_FILES);
	cleanup_free char *why = NULL;
	enum admin_exit e = ADMIN_REFUSED;

	if (tree_open(&w.to, w.root[0] ? w.root : "/", &why) && tree_open(&w.from, from ? from : usual, &why))
		e = work(&w);
	else
		admin_complain("%s", why);
	for (size_t i = 0; i < w.plan.n; i++) {
		tree_file_done(&w.step[i].plain);
		tree_file_done(&w.step[i].found);
		free(w.step[i].sealed);
	}
	install_plan_done(&w.plan);
	tree_close(&w.from);
	tree_close(&w.to);
	free(w.root);
	return e;
}
