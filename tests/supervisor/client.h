/* The node's side of the launch protocol, for tests: starts a real heapmark-supervisor on a
 * socketpair, launches rings, collects the answers, and looks for what was left behind.
 * Everything fails the running cmocka test when the system does. */
#ifndef HEAPMARK_TESTS_SUPERVISOR_CLIENT_H
#define HEAPMARK_TESTS_SUPERVISOR_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "schema/wire.h"

#define CLIENT_MS_MAX 60000

struct client {
    pid_t guardian;
    int socket;
    char dir[64];  /* temporary: state, catalogue */
    char mark[64]; /* cgroup directory of this state directory */
    struct wire_hello hello;
    uint64_t next_id;
    bool is_nobody;
};

struct client_options {
    const char *runner;   /* NULL: the fake one */
    bool as_nobody;       /* an ordinary user */
    const char *extra[6]; /* more options, NULL-terminated */
};

/* A new state directory and catalogue, a supervisor on them, its HELLO. */
void client_start(struct client *c, const struct client_options *options);
/* Only the process, on the directories there are; no HELLO is awaited. */
void client_exec(struct client *c, const struct client_options *options);
void client_hello(struct client *c);
/* Close the socket, wait for exit 0, check that nothing is left, remove the directories. */
void client_stop(struct client *c);

/* A launch of `count` runners of a steady workload on the fake runner, each with its mode. */
void client_fake_launch(struct wire_launch *q, unsigned count, const char *const modes[]);

void client_send(struct client *c, uint32_t type, uint64_t id, const struct wire_launch *q,
                 const int *fds, unsigned fds_count);
/* One message within CLIENT_MS_MAX; false at end of stream. */
bool client_recv(struct client *c, struct wire_message *ret, int *ret_fds, unsigned *ret_count);
/* Launch, await STARTED and DONE. Descriptors of STARTED are closed at DONE. */
void client_run(struct client *c, const struct wire_launch *q, struct wire_done *ret_done);
/* Launch, await REFUSED. */
void client_run_refused(struct client *c, const struct wire_launch *q, int tape_fd,
                        struct wire_refused *ret);

/* The guardian's child, 0 if there is none now. */
pid_t client_worker(const struct client *c);
/* Processes below the guardian other than the worker. */
unsigned client_descendants(const struct client *c);
/* Processes that are this client's supervisor, half-started runners included: two when well. */
unsigned client_supervisors(const struct client *c);
/* Cgroup directories of this client's runners. */
unsigned client_groups(const struct client *c);
/* Living processes that carry this client's tag in their environment, or a runner's uid. */
unsigned client_tagged(const struct client *c);
/* Assert that no runner, group or state of a launch is there any more (waits a little). */
void client_assert_clean(const struct client *c);

/* Directories of this name below path, `depth` levels deep. */
unsigned client_directories(const char *path, const char *name, unsigned depth);
void client_remove_tree(const char *path);

uint64_t client_read_u64(const char *path);
void client_read_text(const char *path, char *buf, size_t size);

#endif
