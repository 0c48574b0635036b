/* The executor that measures on this host: node code in this process, the supervisor beside it. */
#ifndef HEAPMARK_DAEMON_EXECUTOR_LOCAL_H
#define HEAPMARK_DAEMON_EXECUTOR_LOCAL_H

#include "daemon/executor/executor.h"

struct node;

/* Borrows the node. */
int executor_local_new(struct node *node, struct executor **ret, struct err *e);

#endif
