// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack setup: the card, our profiles and a service offering for each that the configuration
// names. Every step looks first whether it is done, so a second run changes nothing.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/cloudstack/card.h"
#include "admin/cloudstack/cloudstack.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define MIB (1024.0 * 1024)

struct setup {
	struct cloudstack *cs;
	json_t *steps; // what was done, or would be
	bool dry;
};

// ---- steps ----

static void note(struct setup *s, const char *what, const char *name)
{
	cleanup_free char *clean = text_clean(name);

	json_array_append_new(s->steps, json_pack("{s:s, s:s}", "step", what, "name", clean));
	if (!s->cs->call->json)
		fprintf(s->cs->call->output.out, "%s: %s %s\n", s->dry ? "would do" : "done", what, clean);
}

// The request is done unless it is only to be said. *ret_id is that of the object made, NULL when none was.
static enum admin_exit change(struct setup *s, const char *command, struct api_request *r, const char *object,
			      const char *what, const char *name, char **ret_id)
{
	json_t *answer;
	enum admin_exit e;

	*ret_id = NULL;
	if (s->dry) {
		api_request_done(r);
		note(s, what, name);
		return ADMIN_OK;
	}
	e = api_ask(s->cs->api, command, r, &answer);
	if (e != ADMIN_OK)
		return e;
	*ret_id = text_print("%s", cloudstack_text(json_object_get(answer, object), "id"));
	json_decref(answer);
	note(s, what, name);
	if ((*ret_id)[0])
		return ADMIN_OK;
	admin_complain("%s: CloudStack's answer names no %s", command, object);
	free(take_ptr(*ret_id));
	return ADMIN_NO_CONNECTION;
}

// The list's object with that name, exactly; to be given back.
static enum admin_exit find(struct setup *s, const char *command, struct api_request *r, const char *object,
			    const char *field, const char *value, json_t **ret)
{
	json_t *list, *one;
	size_t i;
	enum admin_exit e = api_list(s->cs->api, command, r, object, &list);

	*ret = NULL;
	if (e != ADMIN_OK)
		return e;
	json_array_foreach(list, i, one)
	{
		if (!*ret && strcasecmp(cloudstack_text(one, field), value) == 0)
			*ret = json_incref(one);
	}
	json_decref(list);
	return ADMIN_OK;
}

// ---- the card ----

static enum admin_exit set_up_card(struct setup *s, const struct card *card, char **ret_id)
{
	struct api_request r = { 0 };
	json_t *found;
	enum admin_exit e;

	*ret_id = NULL;
	api_set(&r, "vendorid", "%s", card->vendorid);
	api_set(&r, "deviceid", "%s", card->deviceid);
	e = find(s, "listGpuCards", &r, "gpucard", "deviceid", card->deviceid, &found);
	if (e != ADMIN_OK)
		return e;
	if (found) {
		*ret_id = text_print("%s", cloudstack_text(found, "id"));
		json_decref(found);
		return ADMIN_OK;
	}
	api_set(&r, "vendorid", "%s", card->vendorid);
	api_set(&r, "vendorname", "%s", card->vendorname);
	api_set(&r, "deviceid", "%s", card->deviceid);
	api_set(&r, "devicename", "%s", card->devicename);
	api_set(&r, "name", "%s %s", card->vendorname, card->devicename);
	return change(s, "createGpuCard", &r, "gpucard", "card", card->devicename, ret_id);
}

// ---- profiles ----

static json_int_t number(const json_t *object, const char *field)
{
	return (json_int_t)json_number_value(json_object_get(object, field));
}

static void set_sizes(struct api_request *r, json_int_t video_ram, json_int_t most)
{
	api_set(r, "videoram", "%lld", (long long)video_ram);
	api_set(r, "maxvgpuperphysicalgpu", "%lld", (long long)most);
}

#define OUR_TEXT "a share of a GPU, profile "

// What CloudStack's operators read of a profile: what a VM with it sees, where that is not the usual.
static char *describe(const json_t *ours)
{
	const char *personality = cloudstack_text(ours, "personality"),
		   *protocol = cloudstack_text(ours, "protocol");
	bool nvidia = strcmp(personality, "nvidia") == 0, custom = strcmp(protocol, "custom") == 0,
	     cuda = strcmp(protocol, "cuda") == 0;

	return text_print(OUR_TEXT "%s%s%s%s", cloudstack_text(ours, "profile"),
			  nvidia ? "; seen as an NVIDIA GPU as well" : "",
			  custom ? "; for programs of libvgpu only" : "",
			  cuda ? "; for CUDA programs only" : "");
}

// One that somebody wrote there stays.
static bool is_outdated(const char *theirs, const char *ours)
{
	return strncmp(theirs, OUR_TEXT, strlen(OUR_TEXT)) == 0 && strcmp(theirs, ours) != 0;
}

// CloudStack copies a profile's size once, so what was changed here since has to be told.
static enum admin_exit correct_profile(struct setup *s, const json_t *theirs, const json_t *ours,
				       json_int_t video_ram, json_int_t most, char **ret_id)
{
	const char *name = cloudstack_text(ours, "profile");
	cleanup_free char *text = describe(ours);
	struct api_request r = { 0 };
	cleanup_free char *id = text_print("%s", cloudstack_text(theirs, "id"));
	cleanup_free char *made = NULL;
	enum admin_exit e = ADMIN_OK;

	if (is_outdated(cloudstack_text(theirs, "description"), text)) {
		api_set(&r, "id", "%s", id);
		api_set(&r, "description", "%s", text);
		e = change(s, "updateVgpuProfile", &r, "vgpuprofile", "description of profile", name, &made);
		free(take_ptr(made));
	}
	if (e == ADMIN_OK &&
	    (number(theirs, "videoram") != video_ram || number(theirs, "maxvgpuperphysicalgpu") != most)) {
		api_set(&r, "id", "%s", id);
		set_sizes(&r, video_ram, most);
		e = change(s, "updateVgpuProfile", &r, "vgpuprofile", "size of profile", name, &made);
	}
	if (e == ADMIN_OK)
		*ret_id = take_ptr(id);
	return e;
}

static enum admin_exit set_up_profile(struct setup *s, const json_t *card, const char *card_id,
				      const json_t *ours, char **ret_id)
{
	const char *name = cloudstack_text(ours, "profile");
	double memory = json_number_value(json_object_get(ours, "memory"));
	json_int_t video_ram = (json_int_t)(memory / MIB), most;
	struct api_request r = { 0 };
	json_t *found = NULL;
	enum admin_exit e = ADMIN_OK;

	*ret_id = NULL;
	if (strcasecmp(name, "passthrough") == 0) {
		admin_complain("the profile passthrough is CloudStack's own: ours needs another name");
		return ADMIN_REFUSED;
	}
	most =
	    memory > 0 ? (json_int_t)(json_number_value(json_object_get(card, "memory_most")) / memory) : 1;
	if (card_id) {
		api_set(&r, "gpucardid", "%s", card_id);
		e = find(s, "listVgpuProfiles", &r, "vgpuprofile", "name", name, &found);
	}
	if (e == ADMIN_OK && found) {
		e = correct_profile(s, found, ours, video_ram, most, ret_id);
	} else if (e == ADMIN_OK) {
		cleanup_free char *text = describe(ours);

		api_set(&r, "name", "%s", name);
		api_set(&r, "description", "%s", text);
		api_set(&r, "gpucardid", "%s", card_id ? card_id : "");
		set_sizes(&r, video_ram, most);
		e = change(s, "createVgpuProfile", &r, "vgpuprofile", "profile", name, ret_id);
	}
	json_decref(found);
	return e;
}

// ---- offerings ----

static void offer(struct api_request *r, const struct config_offering *o, const char *profile_id)
{
	api_set(r, "name", "%s", o->name);
	api_set(r, "displaytext", "%s", o->displaytext ? o->displaytext : o->name);
	api_set(r, "cpunumber", "%lu", o->cpunumber);
	api_set(r, "cpuspeed", "%lu", o->cpuspeed);
	api_set(r, "memory", "%lu", o->memory);
	api_set(r, "vgpuprofileid", "%s", profile_id ? profile_id : "");
	api_set(r, "gpucount", "1");
	api_set(r, "gpudisplay", "false");
	api_set(r, "offerha", o->offerha ? "true" : "false");
	if (o->hosttags)
		api_set(r, "hosttags", "%s", o->hosttags);
}

// profile_id is NULL of a profile that would only be made.
static enum admin_exit set_up_offering(struct setup *s, const struct config_offering *o,
				       const char *profile_id)
{
	struct api_request r = { 0 };
	cleanup_free char *id = NULL;
	json_t *found;
	enum admin_exit e;

	api_set(&r, "name", "%s", o->name);
	e = find(s, "listServiceOfferings", &r, "serviceoffering", "name", o->name, &found);
	if (e != ADMIN_OK)
		return e;
	if (found) {
		bool same = profile_id && strcmp(cloudstack_text(found, "vgpuprofileid"), profile_id) == 0;

		json_decref(found);
		if (same)
			return ADMIN_OK;
		admin_complain("CloudStack has an offering '%s' already, and it is not of the profile %s.\n"
			       "Give [offering %s] in %s another name",
			       o->name, o->profile, o->profile, s->cs->config.path);
		return ADMIN_REFUSED;
	}
	offer(&r, o, profile_id);
	return change(s, "createServiceOffering", &r, "serviceoffering", "offering", o->name, &id);
}

// ---- all of it ----

static const struct config_offering *offering_of(const struct config *c, const char *profile)
{
	for (size_t i = 0; i < c->n_offerings; i++) {
		if (strcmp(c->offering[i].profile, profile) == 0)
			return &c->offering[i];
	}
	return NULL;
}

static enum admin_exit check_offerings(const struct config *c, const json_t *profiles)
{
	for (size_t i = 0; i < c->n_offerings; i++) {
		const char *name = c->offering[i].profile;
		bool there = false;
		json_t *p;
		size_t k;

		json_array_foreach(profiles, k, p) there |= strcmp(cloudstack_text(p, "profile"), name) == 0;
		if (there)
			continue;
		admin_complain(
		    "%s: the mediator has no profile '%s'.\n'vgpu-admin profile list' shows those it has",
		    c->path, name);
		return ADMIN_REFUSED;
	}
	return ADMIN_OK;
}

static enum admin_exit set_up_profiles(struct setup *s, const json_t *card, const char *card_id)
{
	const json_t *profiles = json_object_get(card, "profiles");
	enum admin_exit e = check_offerings(&s->cs->config, profiles);
	json_t *p;
	size_t i;

	json_array_foreach(profiles, i, p)
	{
		const struct config_offering *o = offering_of(&s->cs->config, cloudstack_text(p, "profile"));
		cleanup_free char *id = NULL;

		if (e == ADMIN_OK)
			e = set_up_profile(s, card, card_id, p, &id);
		if (e == ADMIN_OK && o)
			e = set_up_offering(s, o, id);
	}
	return e;
}

static enum admin_exit set_up(struct setup *s)
{
	cleanup_free char *card_id = NULL;
	json_t *cards = NULL, *gpus = NULL;
	struct card card = { 0 };
	enum admin_exit e = cloudstack_mediator_list(s->cs, "/v1/gpus", "gpus", &gpus);

	if (e == ADMIN_OK)
		e = cloudstack_mediator_list(s->cs, "/v1/capacity", "gpus", &cards);
	if (e == ADMIN_OK)
		e = card_find(&card, &s->cs->config, json_array_get(gpus, 0), !s->cs->call->target.url);
	if (e == ADMIN_OK)
		e = set_up_card(s, &card, &card_id);
	if (e == ADMIN_OK)
		e = set_up_profiles(s, json_array_get(cards, 0), card_id);
	card_done(&card);
	json_decref(cards);
	json_decref(gpus);
	return e;
}

int cloudstack_setup(struct admin_call *c)
{
	struct cloudstack cs;
	struct setup s = { &cs, json_array(), admin_flag(c, "dry-run") };
	enum admin_exit e = cloudstack_begin(&cs, c);

	if (e == ADMIN_OK)
		e = set_up(&s);
	if (c->json)
		cloudstack_print_json(&cs, s.steps);
	else if (e == ADMIN_OK && !json_array_size(s.steps))
		fputs("CloudStack has it all already.\n", c->output.out);
	json_decref(s.steps);
	cloudstack_end(&cs);
	return e;
}
