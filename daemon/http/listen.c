/* Listen addresses: parsing and opening. Called at start, one thread. */
#include "daemon/http/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/base/text.h"

#define LISTEN_BACKLOG 128

bool address_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_UNIX)
        return true;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    return false;
}

/* The socket address of an INET listener; its size, or 0 when the address is no number. */
static socklen_t listen_address(const struct http_listen *l, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof *ret);
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    if (inet_pton(AF_INET, l->address, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(l->port);
        return sizeof *in;
    }
    if (inet_pton(AF_INET6, l->address, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(l->port);
        return sizeof *in6;
    }
    return 0;
}

static int listen_parse_inet(const char *text, struct http_listen *l, struct err *e)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || text_parse_u64(colon + 1, &port) < 0 || port > 65535)
        return err_set(e, ERR_INVALID, "listen",
                       "\"%.100s\" is not ADDRESS:PORT or unix:PATH (port 0-65535)", text);
    size_t size = (size_t)(colon - text);
    bool bracketed = size >= 2 && text[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        text++;
        size -= 2;
    }
    if (size == 0 || size >= sizeof l->address)
        return err_set(e, ERR_INVALID, "listen", "\"%.100s\" has no address", text);
    memcpy(l->address, text, size);
    l->port = (uint16_t)port;
    if (strcmp(l->address, "localhost") == 0)
        text_copy(l->address, sizeof l->address, "127.0.0.1");
    struct sockaddr_storage address;
    if (!listen_address(l, &address) || bracketed != (address.ss_family == AF_INET6))
        return err_set(e, ERR_INVALID, "listen",
                       "\"%.100s\" is not a numeric address (IPv6 in brackets)", l->address);
    l->loopback = address_is_loopback((struct sockaddr *)&address);
    return 0;
}

int http_listen_parse(const char *text, struct http_listen *ret, struct err *e)
{
    struct http_listen l = {.kind = HTTP_LISTEN_INET};
    if (strncmp(text, "unix:", 5) == 0) {
        l.kind = HTTP_LISTEN_UNIX;
        l.loopback = true;
        if (text[5] != '/' || !text_copy(l.address, sizeof l.address, text + 5))
            return err_set(e, ERR_INVALID, "listen",
                           "unix:PATH needs an absolute path of at most %zu bytes",
                           sizeof l.address - 1);
    } else {
        int r = listen_parse_inet(text, &l, e);
        if (r < 0)
            return r;
    }
    *ret = l;
    return 0;
}

static int listen_bind(int fd, const struct sockaddr *address, socklen_t size, const char *name,
                       struct err *e)
{
    if (bind(fd, address, size) < 0) {
        int errno_value = errno;
        if (errno_value == EADDRINUSE)
            return err_set(e, ERR_CONFLICT, "listen",
                           "%s is in use: stop the program that has it, or choose another port",
                           name);
        if (errno_value == EACCES)
            return err_set(e, ERR_FORBIDDEN, "listen", "no right to listen on %s", name);
        return err_set_errno(e, ERR_IO, errno_value, "cannot listen on %s", name);
    }
    if (listen(fd, LISTEN_BACKLOG) < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot listen on %s", name);
    return 0;
}

static int listen_open_inet(const struct http_listen *config, int fd, uint16_t *ret_port,
                            struct err *e)
{
    struct sockaddr_storage address;
    socklen_t size = listen_address(config, &address);
    const int one = 1;
    char name[160];
    snprintf(name, sizeof name, "%s port %u", config->address, (unsigned)config->port);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (address.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    int r = listen_bind(fd, (struct sockaddr *)&address, size, name, e);
    if (r < 0)
        return r;
    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot read the address of %s", name);
    *ret_port =
        ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
                                            : ((struct sockaddr_in *)(void *)&address)->sin_port);
    return 0;
}

/* A socket file that nobody answers on is left over from a killed daemon and in the way. */
static void unlink_stale(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED)
        (void)unlink(address->sun_path);
    close(fd);
}

static int listen_open_unix(const struct http_listen *config, int fd, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    text_copy(address.sun_path, sizeof address.sun_path, config->address);
    unlink_stale(&address);
    int r = listen_bind(fd, (struct sockaddr *)&address, sizeof address, config->address, e);
    if (r == 0 && chmod(config->address, 0660) < 0)
        r = err_set_errno(e, ERR_IO, errno, "cannot set the mode of %s", config->address);
    return r;
}

int listen_open(const struct http_listen *config, int *ret_fd, uint16_t *ret_port, struct err *e)
{
    struct sockaddr_storage address;
    int family = AF_UNIX;
    if (config->kind == HTTP_LISTEN_INET) {
        (void)listen_address(config, &address);
        family = address.ss_family;
    }
    cleanup_(close_p) int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot make a socket for %s", config->address);
    *ret_port = 0;
    int r = config->kind == HTTP_LISTEN_INET ? listen_open_inet(config, fd, ret_port, e)
                                             : listen_open_unix(config, fd, e);
    if (r == 0)
        *ret_fd = take_fd(&fd);
    return r;
}
