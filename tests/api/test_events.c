/* The event bus: order, gaps, ends, late followers, and waking against leaving at once. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daemon/job/events.h"

#define JOB   "11111111-1111-4111-8111-111111111111"
#define OTHER "22222222-2222-4222-8222-222222222222"

static void count_wake(void *ctx)
{
    atomic_fetch_add((_Atomic unsigned *)ctx, 1);
}

static void expect(struct events_subscription *s, const char *text)
{
    char buf[EVENT_DATA_MAX + 64];
    int n = events_next(s, buf, sizeof buf);
    assert_int_equal(n, (int)strlen(text));
    assert_string_equal(buf, text);
}

static void expect_result(struct events_subscription *s, int result)
{
    char buf[EVENT_DATA_MAX + 64];
    assert_int_equal(events_next(s, buf, sizeof buf), result);
}

static void order_and_end(void **state)
{
    (void)state;
    struct events *bus = events_new();
    _Atomic unsigned wakes = 0;
    struct events_subscription *s = events_subscribe(bus, JOB, 0, count_wake, &wakes);
    expect_result(s, 0);
    events_publish(bus, OTHER, "state", "{\"state\":\"running\"}");
    expect_result(s, 0);
    assert_int_equal(wakes, 0);
    events_publish(bus, JOB, "state", "{\"state\":\"running\"}");
    events_publish(bus, JOB, "end", "{\"state\":\"succeeded\"}");
    assert_int_equal(wakes, 2);
    expect(s, "id: 1\nevent: state\ndata: {\"state\":\"running\"}\n\n");
    expect(s, "id: 2\nevent: end\ndata: {\"state\":\"succeeded\"}\n\n");
    expect_result(s, -ENODATA);
    expect_result(s, -ENODATA);
    assert_int_equal(events_subscribers(bus), 1);
    events_unsubscribe(s);
    assert_int_equal(events_subscribers(bus), 0);
    events_free(bus);
}

/* While events are held back nobody who reads is woken or given anything; then all come, in order,
 * and also who found a stream already over. */
static void held_back_and_released(void **state)
{
    (void)state;
    struct events *bus = events_new();
    _Atomic unsigned reader_wakes = 0, waiter_wakes = 0, late_wakes = 0, idle_wakes = 0;
    struct events_subscription *reader = events_subscribe(bus, JOB, 0, count_wake, &reader_wakes);
    struct events_subscription *waiter = events_subscribe(bus, JOB, 0, count_wake, &waiter_wakes);
    struct events_subscription *idle = events_subscribe(bus, OTHER, 0, count_wake, &idle_wakes);
    expect_result(reader, 0);
    expect_result(idle, 0);
    events_publish(bus, JOB, "state", "{}");
    expect(reader, "id: 1\nevent: state\ndata: {}\n\n");
    events_hold(bus, 60000); /* all is read: at once */
    events_publish(bus, JOB, "step", "{}");
    events_publish(bus, JOB, "end", "{}");
    assert_int_equal(reader_wakes, 1);
    assert_int_equal(waiter_wakes, 3); /* reads the job, not its events */
    expect_result(reader, -EBUSY);
    struct events_subscription *late = events_subscribe(bus, JOB, 3, count_wake, &late_wakes);
    expect_result(late, -EBUSY);
    events_release(bus);
    assert_int_equal(reader_wakes, 2);
    assert_int_equal(late_wakes, 1);
    assert_int_equal(idle_wakes, 0);
    expect(reader, "id: 2\nevent: step\ndata: {}\n\n");
    expect_result(late, -ENODATA);
    events_hold(bus, 1); /* one event is unread: waits for it, in vain */
    expect_result(reader, -EBUSY);
    events_release(bus);
    assert_int_equal(reader_wakes, 3);
    expect(reader, "id: 3\nevent: end\ndata: {}\n\n");
    expect_result(reader, -ENODATA);
    events_unsubscribe(reader);
    events_unsubscribe(waiter);
    events_unsubscribe(idle);
    events_unsubscribe(late);
    events_free(bus);
}

static void *hold_main(void *bus)
{
    events_hold(bus, 60000);
    return NULL;
}

/* What there is before a ring is written first. */
static void holding_waits_for_readers(void **state)
{
    (void)state;
    struct events *bus = events_new();
    _Atomic unsigned wakes = 0;
    struct events_subscription *s = events_subscribe(bus, JOB, 0, count_wake, &wakes);
    expect_result(s, 0);
    events_publish(bus, JOB, "step", "{}");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, hold_main, bus), 0);
    const struct timespec moment = {.tv_nsec = 50000000};
    nanosleep(&moment, NULL);
    expect(s, "id: 1\nevent: step\ndata: {}\n\n");
    pthread_join(thread, NULL); /* long before its minute: that read was the last */
    expect_result(s, -EBUSY);
    events_release(bus);
    events_unsubscribe(s);
    events_free(bus);
}

static void late_followers(void **state)
{
    (void)state;
    struct events *bus = events_new();
    _Atomic unsigned wakes = 0;
    for (int i = 1; i <= EVENTS_KEPT + 10; i++) {
        char data[32];
        snprintf(data, sizeof data, "{\"n\":%d}", i);
        events_publish(bus, JOB, "step", data);
    }
    struct events_subscription *s = events_subscribe(bus, JOB, 0, count_wake, &wakes);
    expect(s, "id: 11\nevent: step\ndata: {\"n\":11}\n\n"); /* the oldest kept: a gap */
    events_unsubscribe(s);
    s = events_subscribe(bus, JOB, EVENTS_KEPT + 9, count_wake, &wakes);
    expect(s, "id: 266\nevent: step\ndata: {\"n\":266}\n\n");
    expect_result(s, 0);
    events_unsubscribe(s);
    s = events_subscribe(bus, JOB, 1000000, count_wake, &wakes); /* of an earlier life */
    expect(s, "id: 11\nevent: step\ndata: {\"n\":11}\n\n");
    char small[8];
    assert_int_equal(events_next(s, small, sizeof small), -ENOBUFS);
    expect(s, "id: 12\nevent: step\ndata: {\"n\":12}\n\n"); /* nothing was skipped by that */
    events_unsubscribe(s);
    events_free(bus);
}

static void ended_jobs_are_forgotten(void **state)
{
    (void)state;
    struct events *bus = events_new();
    _Atomic unsigned wakes = 0;
    char uuid[40];
    events_publish(bus, JOB, "end", "{}");
    struct events_subscription *kept = events_subscribe(bus, JOB, 0, count_wake, &wakes);
    for (int i = 0; i < EVENTS_JOBS_KEPT + 5; i++) {
        snprintf(uuid, sizeof uuid, "%08d-0000-4000-8000-000000000000", i);
        events_publish(bus, uuid, "end", "{}");
    }
    expect(kept, "id: 1\nevent: end\ndata: {}\n\n"); /* followed: stays */
    events_unsubscribe(kept);
    struct events_subscription *s =
        events_subscribe(bus, "00000000-0000-4000-8000-000000000000", 0, count_wake, &wakes);
    expect_result(s, 0); /* gone */
    events_unsubscribe(s);
    s = events_subscribe(bus, uuid, 0, count_wake, &wakes);
    expect(s, "id: 1\nevent: end\ndata: {}\n\n");
    events_unsubscribe(s);
    events_free(bus);
}

/* The wake takes a lock that is held around events_next elsewhere: no deadlock, and after
 * events_unsubscribe it is never called. */
struct follower {
    pthread_mutex_t lock;
    struct events *bus;
    struct events_subscription *subscription;
    _Atomic bool gone, failed;
    unsigned read;
};

static void locking_wake(void *ctx)
{
    struct follower *f = ctx;
    if (atomic_load(&f->gone))
        atomic_store(&f->failed, true);
    pthread_mutex_lock(&f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void *publisher(void *bus)
{
    for (int i = 0; i < 3000; i++)
        events_publish(bus, i % 3 ? JOB : OTHER, i % 500 == 499 ? "end" : "step", "{}");
    return NULL;
}

static void *follow(void *ctx)
{
    struct follower *f = ctx;
    for (int i = 0; i < 300; i++) {
        char buf[EVENT_DATA_MAX + 64];
        atomic_store(&f->gone, false);
        f->subscription = events_subscribe(f->bus, JOB, 0, locking_wake, f);
        pthread_mutex_lock(&f->lock);
        for (int k = 0; k < 20 && events_next(f->subscription, buf, sizeof buf) > 0; k++)
            f->read++;
        pthread_mutex_unlock(&f->lock);
        events_unsubscribe(f->subscription);
        atomic_store(&f->gone, true);
    }
    return NULL;
}

static void leaving_against_waking(void **state)
{
    (void)state;
    struct events *bus = events_new();
    struct follower followers[40] = {0};
    pthread_t publishers[2], threads[40];
    for (int i = 0; i < 2; i++)
        pthread_create(&publishers[i], NULL, publisher, bus);
    for (int i = 0; i < 40; i++) {
        pthread_mutex_init(&followers[i].lock, NULL);
        followers[i].bus = bus;
        pthread_create(&threads[i], NULL, follow, &followers[i]);
    }
    for (int i = 0; i < 40; i++) {
        pthread_join(threads[i], NULL);
        assert_false(atomic_load(&followers[i].failed));
    }
    for (int i = 0; i < 2; i++)
        pthread_join(publishers[i], NULL);
    assert_int_equal(events_subscribers(bus), 0);
    events_free(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_end),
        cmocka_unit_test(held_back_and_released),
        cmocka_unit_test(holding_waits_for_readers),
        cmocka_unit_test(late_followers),
        cmocka_unit_test(ended_jobs_are_forgotten),
        cmocka_unit_test(leaving_against_waking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
