/* What this host can run: the checks a job passes before it is accepted. */
#ifndef HEAPMARK_DAEMON_HEAPMARKD_HOST_H
#define HEAPMARK_DAEMON_HEAPMARKD_HOST_H

#include "daemon/catalog/catalog.h"
#include "daemon/job/job.h"
#include "daemon/node/node.h"
#include "daemon/topo/fingerprint.h"
#include "daemon/topo/topo.h"

struct host {
    struct topo *topo;
    struct catalog *catalog; /* borrowed */
    struct node *node;       /* borrowed */
    char key[HOST_KEY_SIZE]; /* at start; knobs may change later: host_key_now */
    char name[65];
    struct job_limits limits; /* its ctx is this host */
};

/* Load topology and facts; node and catalog are set by the caller before limits are used. */
int host_init(struct host *h, struct err *e);
void host_done(struct host *h);

/* The key as the host's knobs stand now. Only while no launch has changed them. */
int host_key_now(const struct host *h, char ret_key[HOST_KEY_SIZE], struct err *e);

/* JSON of the facts that the host key is made of, for the store: malloc'ed. */
char *host_facts_json(const struct host *h);

#endif
