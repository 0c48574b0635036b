/* Log lines on stderr: "<N>message" for a service manager that reads priorities, or one JSON
 * object a line. Control characters are escaped, so a label in a message cannot forge a line.
 * Any thread. Level and format are the only mutable file-scope state. */
#ifndef HEAPMARK_BASE_LOG_H
#define HEAPMARK_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_PRIORITY, LOG_FORMAT_JSON };

void log_set(enum log_level level, enum log_format format);
int log_level_parse(const char *text, enum log_level *ret_level);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
