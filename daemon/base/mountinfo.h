/* Lines of /proc/PID/mountinfo (proc_pid_mountinfo(5)). Any thread; nothing is allocated. */
#ifndef HEAPMARK_BASE_MOUNTINFO_H
#define HEAPMARK_BASE_MOUNTINFO_H

#include <stdbool.h>

struct mountinfo_line {
    const char *root, *point; /* unescaped */
    const char *options;      /* of the mount: "rw,nosuid" */
    const char *type, *source;
    char *super_options; /* of the file system; "" when there are none */
};

/* Cut `line`, without its newline, into fields in place; *ret points into it. False, with `line`
 * changed all the same, when it is no such line. */
bool mountinfo_parse(char *line, struct mountinfo_line *ret);

#endif
