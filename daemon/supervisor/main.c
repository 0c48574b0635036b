/* heapmark-supervisor: options, state directory, catalogue and runner are opened and checked here,
 * so that what is wrong is said before heapmarkd counts on us; then the guardian runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/supervisor/guardian.h"
#include "daemon/supervisor/supervisor.h"

static int socket_check(struct err *e)
{
    int type;
    socklen_t size = sizeof type;
    if (getsockopt(SUPERVISOR_FD, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET)
        return err_set(e, ERR_INVALID, NULL,
                       "descriptor %d is not heapmarkd's socket: this program is started by "
                       "heapmarkd",
                       SUPERVISOR_FD);
    return fcntl(SUPERVISOR_FD, F_SETFD, FD_CLOEXEC) < 0
               ? err_set_errno(e, ERR_IO, errno, "descriptor %d", SUPERVISOR_FD)
               : 0;
}

static int supervisor_open(struct supervisor *s, struct err *e)
{
    int r = socket_check(e);
    if (r < 0)
        return r;
    s->socket = SUPERVISOR_FD;
    s->runner_fd = open(s->options.runner, O_RDONLY | O_CLOEXEC);
    if (s->runner_fd < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot open the runner %s", s->options.runner);
    s->sys_fd = open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->sys_fd < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot open /sys");
    r = catalog_load(s->options.catalog_dirs, s->options.library_dirs, &s->catalog, e);
    if (r < 0)
        return r;
    r = state_open(s->options.state_dir, s->options.cgroup_name, SUPERVISOR_LOCK_WAIT_MS, &s->state,
                   e);
    if (r == 0)
        knobs_init(&s->knobs, &s->state, s->sys_fd);
    return r;
}

int main(int argc, char **argv)
{
    struct supervisor s = {0};
    struct err e = {0};
    if (supervisor_options_parse(argc, argv, geteuid() == 0, &s.options, &e) < 0) {
        log_error("%s%s%s", e.field, e.field[0] ? ": " : "", e.message);
        return SUPERVISOR_EXIT_USAGE;
    }
    if (s.options.show_version) {
        puts(ring_build_id());
        return SUPERVISOR_EXIT_OK;
    }
    log_set(s.options.log_level, s.options.log_format);
    int r = supervisor_open(&s, &e);
    if (r < 0) {
        log_error("heapmark-supervisor: %s", e.message);
        return SUPERVISOR_EXIT_FAILED;
    }
    r = guardian_run(&s);
    if (r < 0)
        log_error("heapmark-supervisor: %s", strerror(-r));
    catalog_free(s.catalog);
    state_close(&s.state);
    return r < 0 ? SUPERVISOR_EXIT_FAILED : SUPERVISOR_EXIT_OK;
}
