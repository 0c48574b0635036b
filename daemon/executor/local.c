#include "daemon/executor/local.h"

#include <stdlib.h>

#include "daemon/node/node.h"

struct local {
    struct executor base;
    struct node *node;
};

static int local_run(struct executor *x, const struct exec_request *request,
                     const _Atomic bool *cancel, struct exec_result *ret, struct err *e)
{
    return node_run(((struct local *)x)->node, request, cancel, ret, e);
}

static void local_free(struct executor *x)
{
    free(x);
}

int executor_local_new(struct node *node, struct executor **ret, struct err *e)
{
    struct local *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    *l = (struct local){{.name = "local", .run = local_run, .free = local_free}, .node = node};
    *ret = (struct executor *)l;
    return 0;
}
