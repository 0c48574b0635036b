/* token: create, list, revoke. */
#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/cli/client.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/table.h"

#define TOKENS_PATH "/api/v1/tokens"

static enum cli_exit operand_need(struct cli *c, unsigned count)
{
    if (c->operands_count == count)
        return CLI_OK;
    return cli_fail(c, CLI_USAGE, "usage: heapmark token %s%s", c->operands[0],
                    count == 2 ? " NAME" : "");
}

static enum cli_exit create_body(struct cli *c, json_t **ret_body)
{
    const char *scopes = cli_value(c, OPTION_SCOPES), *expires = cli_value(c, OPTION_EXPIRES);
    cleanup_(json_decref_p) json_t *body =
        json_pack("{s:s, s:[]}", "name", c->operands[1], "scopes");
    if (!body)
        return cli_fail(c, CLI_USAGE, "the token's name is not UTF-8");
    json_t *list = json_object_get(body, "scopes");
    for (const char *at = scopes ? scopes : "read,submit"; *at; at += *at == ',') {
        size_t length = strcspn(at, ",");
        json_array_append_new(list, json_stringn(at, length));
        at += length;
    }
    if (expires)
        json_object_set_new(body, "expires", json_string(expires));
    *ret_body = take_ptr(body);
    return CLI_OK;
}

static enum cli_exit token_create(struct cli *c)
{
    cleanup_(json_decref_p) json_t *body = NULL, *reply = NULL;
    enum cli_exit code = operand_need(c, 2);
    if (code == CLI_OK)
        code = create_body(c, &body);
    if (code != CLI_OK)
        return code;
    cleanup_(free_p) char *text = json_dumps(body, JSON_COMPACT);
    if (!text)
        return cli_fail(c, CLI_FAILED, "out of memory");
    code = client_post(c->client, TOKENS_PATH, text, NULL, &reply, &c->err);
    if (code != CLI_OK)
        return code;
    if (c->json)
        return document_print(c, reply);
    printf("%s\n", member_text(reply, "token"));
    cli_note(c, "This is the only time it is shown. Keep it in a file of mode 0600, for "
                "--token-file.");
    return CLI_OK;
}

static void token_row(struct table *table, const json_t *token)
{
    static const char *const keys[] = {"created", "expires", "last_used", "revoked"};
    char scopes[TABLE_CELL_SIZE] = "";
    size_t i;
    const json_t *scope;
    json_array_foreach(json_object_get(token, "scopes"), i, scope)
    {
        size_t used = strlen(scopes);
        snprintf(scopes + used, sizeof scopes - used, "%s%s", i ? "," : "",
                 json_string_value(scope) ? json_string_value(scope) : "");
    }
    table_row(table);
    table_cell(table, 0, STYLE_PLAIN, "%s", member_text(token, "name"));
    table_cell(table, 1, STYLE_PLAIN, "%s", scopes);
    for (i = 0; i < sizeof keys / sizeof keys[0]; i++)
        table_cell(table, (unsigned)i + 2, STYLE_PLAIN, "%.19s", member_text(token, keys[i]));
}

static enum cli_exit token_list(struct cli *c)
{
    static const char *const heads[] = {"token",   "scopes",    "created",
                                        "expires", "last used", "revoked"};
    cleanup_(json_decref_p) json_t *items = NULL;
    enum cli_exit code = operand_need(c, 1);
    size_t i;
    const json_t *token;
    if (code == CLI_OK)
        code = client_list(c->client, TOKENS_PATH, 0, &items, &c->err);
    if (code != CLI_OK)
        return code;
    if (c->json) {
        cleanup_(json_decref_p) json_t *document = json_pack("{s:O}", "items", items);
        return document_print(c, document);
    }
    cleanup_(table_free_p) struct table *table = table_new();
    for (i = 0; i < sizeof heads / sizeof heads[0]; i++)
        table_column(table, heads[i], "", false);
    json_array_foreach(items, i, token) token_row(table, token);
    table_print(table, stdout, 0);
    return CLI_OK;
}

static enum cli_exit token_revoke(struct cli *c)
{
    char path[CLIENT_PATH_SIZE] = TOKENS_PATH;
    cleanup_(json_decref_p) json_t *reply = NULL;
    enum cli_exit code = operand_need(c, 2);
    if (code == CLI_OK)
        code = client_path_segment(path, c->operands[1], &c->err);
    if (code != CLI_OK)
        return code;
    text_copy(path + strlen(path), sizeof path - strlen(path), "/revoke");
    code = client_post(c->client, path, "", NULL, &reply, &c->err);
    if (code != CLI_OK)
        return code;
    if (c->json)
        return document_print(c, reply);
    cli_note(c, "token %s is revoked", c->operands[1]);
    return CLI_OK;
}

enum cli_exit cmd_token(struct cli *c)
{
    static const struct {
        const char *name;
        enum cli_exit (*run)(struct cli *c);
    } verbs[] = {{"create", token_create}, {"list", token_list}, {"revoke", token_revoke}};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, c->operands[0]) == 0)
            return verbs[i].run(c);
    return cli_fail(c, CLI_USAGE, "token %.64s: not create, list or revoke", c->operands[0]);
}
