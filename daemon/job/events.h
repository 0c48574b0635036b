/* Progress events of jobs, in memory: what SSE clients and ?wait= follow. The scheduler
 * publishes; HTTP subscribes. Never the truth (that is the database): a client that comes late
 * gets the last EVENTS_KEPT of its job, and a gap in ids tells it to read the job again.
 * All functions: any thread. */
#ifndef HEAPMARK_DAEMON_JOB_EVENTS_H
#define HEAPMARK_DAEMON_JOB_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENTS_KEPT      256  /* per job */
#define EVENTS_JOBS_KEPT 64   /* finished jobs whose events are still kept */
#define EVENT_DATA_MAX   2048 /* bytes of one event's JSON */

struct events;
struct events_subscription;

struct events *events_new(void);
void events_free(struct events *bus); /* no subscription may be left */

/* type: "state", "step" (a ring or trial finished), "discard", "end". `data_json` is one line of
 * JSON without newline. After "end" subscribers are told the stream is over. */
void events_publish(struct events *bus, const char *job_uuid, const char *type,
                    const char *data_json);

/* Follow one job after event `last_id` (0: from the oldest kept). `wake` is called, from the
 * publisher's thread and with no lock of the bus held that events_next needs, whenever
 * events_next may return something new; it must not block. NULL when out of memory. */
struct events_subscription *events_subscribe(struct events *bus, const char *job_uuid,
                                             uint64_t last_id, void (*wake)(void *ctx), void *ctx);
void events_unsubscribe(struct events_subscription *sub); /* after return, wake is never called */

/* Next event as SSE text ("id: 7\nevent: step\ndata: {...}\n\n") into buf. Returns its length, 0
 * when there is none yet, -ENODATA when the stream has ended and all was read, -EBUSY while events
 * are held back. */
int events_next(struct events_subscription *sub, char *buf, size_t buf_size);

/* Hold all events back, for a ring that leaves this process no CPU of its own: followers may have
 * until `flush_ms` from now to read what there is already; then, until released, nothing is given
 * out and nobody who reads events is woken for them. Subscribers that never called events_next
 * (?wait=) are woken as ever. Release wakes whom something was kept from. One caller at a time. */
void events_hold(struct events *bus, unsigned flush_ms);
void events_release(struct events *bus);

/* Number of live subscriptions. */
unsigned events_subscribers(struct events *bus);

#endif
