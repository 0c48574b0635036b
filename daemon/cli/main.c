/* heapmark: parse, connect, run one command, say why it failed. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/text.h"
#include "daemon/cli/client.h"
#include "daemon/cli/term.h"

#define TOKEN_SIZE 200

static bool token_is_text(const char *token)
{
    for (const char *at = token; *at; at++)
        if (*at <= ' ' || *at > '~')
            return false;
    return token[0] != '\0';
}

static enum cli_exit token_get(struct cli *c, char token[TOKEN_SIZE], bool *ret_there)
{
    const char *path = cli_value(c, OPTION_TOKEN_FILE);
    const char *from_environment = getenv("HEAPMARK_TOKEN");
    *ret_there = false;
    if (path) {
        ssize_t n = io_read_file(AT_FDCWD, path, token, TOKEN_SIZE);
        if (n < 0)
            return cli_fail(c, CLI_AUTH, "cannot read the token in %s: %s", path,
                            strerror((int)-n));
    } else if (from_environment && from_environment[0]) {
        path = "$HEAPMARK_TOKEN";
        if (!text_copy(token, TOKEN_SIZE, from_environment))
            token[0] = '\0'; /* too long to be one */
    } else {
        return CLI_OK;
    }
    if (!token_is_text(token))
        return cli_fail(c, CLI_AUTH, "%s does not hold a token", path);
    *ret_there = true;
    return CLI_OK;
}

static enum cli_exit connect_client(struct cli *c)
{
    char token[TOKEN_SIZE];
    bool there;
    const char *server = cli_value(c, OPTION_SERVER);
    if (!server)
        server = getenv("HEAPMARK_SERVER");
    if (!server || !server[0])
        server = CLIENT_DEFAULT_SERVER;
    enum cli_exit code = token_get(c, token, &there);
    if (code == CLI_OK)
        code = client_new(server, there ? token : NULL, &c->client, &c->err);
    explicit_bzero(token, sizeof token);
    return code;
}

static enum cli_exit run(struct cli *c)
{
    cli_interrupt_setup();
    if (!cli_has(c, OPTION_LOCAL)) {
        enum cli_exit code = connect_client(c);
        if (code != CLI_OK)
            return code;
    }
    return c->command->run(c);
}

int main(int argc, char **argv)
{
    struct cli c = {0};
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    enum cli_exit code = cli_parse(&c, argc, argv);
    term_setup(cli_value(&c, OPTION_COLOR));
    if (code == CLI_OK && cli_has(&c, OPTION_HELP)) {
        cli_help(c.command);
        return CLI_OK;
    }
    if (code == CLI_OK && cli_has(&c, OPTION_VERSION)) {
        printf("heapmark %s\n", HEAPMARK_VERSION);
        return CLI_OK;
    }
    if (code == CLI_OK)
        code = run(&c);
    client_free(c.client);
    if (code != CLI_OK)
        fprintf(stderr, "%sheapmark:%s %s\n", term_begin(stderr, STYLE_BAD),
                term_end(stderr, STYLE_BAD), c.err.message);
    return (int)code;
}
