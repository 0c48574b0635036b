/* The node: plans one request on this host and drives its supervisor. Unprivileged; knows
 * topology and placement, makes tapes, checks what runners claim; no database, no HTTP. The same
 * code is meant to run on another host behind another executor. */
#ifndef HEAPMARK_DAEMON_NODE_NODE_H
#define HEAPMARK_DAEMON_NODE_NODE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "daemon/executor/executor.h"
#include "daemon/node/supervisor_client.h"
#include "daemon/topo/topo.h"

struct node;

struct node_config {
    struct supervisor_config supervisor;
    const struct topo *topo; /* borrowed */
    double steal_ratio_max;  /* a ring with more stolen time is discarded; 0: never */
    bool pin_self;           /* keep this process on the housekeeping CPU while a ring runs */
    uint32_t grace_ms;       /* after the wall limit the supervisor counts as hung; 0: usual */
    /* Called before (true) and after (false) a ring whose threads leave this process no CPU:
     * whatever can wait should. May block for a moment. NULL: nobody has to know. */
    void (*crowded)(void *ctx, bool crowded);
    void *crowded_ctx;
};

int node_start(const struct node_config *config, struct node **ret, struct err *e);
void node_stop(struct node *n);
DEFINE_CLEANUP(struct node *, node_stop)

/* As executor->run. One caller at a time. */
int node_run(struct node *n, const struct exec_request *request, const _Atomic bool *cancel,
             struct exec_result *ret, struct err *e);

void node_hello(struct node *n, struct wire_hello *ret);

#endif
