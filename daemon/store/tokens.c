/* Access tokens: only the SHA-256 of a secret is ever here. */
#include "daemon/store/internal.h"

#include <errno.h>

#include "daemon/base/clock.h"

struct token_add {
    const char *name, *secret_sha256;
    unsigned scopes;
    int64_t expires_us;
};

static int token_add_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    const struct token_add *token = arg;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO token (name, secret_sha256, scopes, created_us, expires_us)"
                       " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
    stmt_text(&st, token->name);
    stmt_text(&st, token->secret_sha256);
    stmt_int(&st, token->scopes);
    stmt_int(&st, clock_realtime_us());
    stmt_int(&st, token->expires_us);
    int r = stmt_run(&st, e);
    if (r == 0 && sqlite3_changes(db->handle) == 0)
        return err_set(e, ERR_CONFLICT, "/name",
                       "a token named %.64s exists (revoked ones keep "
                       "their name); choose another",
                       token->name);
    return r;
}

int store_token_add(struct store *s, const char *name, const char *secret_sha256, unsigned scopes,
                    int64_t expires_us, struct err *e)
{
    struct token_add token = {
        .name = name, .secret_sha256 = secret_sha256, .scopes = scopes, .expires_us = expires_us};
    return store_write(s, token_add_task, &token, e);
}

static int token_revoke_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    const char *name = arg;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "UPDATE token SET revoked_us = iif(revoked_us = 0, ?, revoked_us)"
                       " WHERE name = ?");
    stmt_int(&st, clock_realtime_us());
    stmt_text(&st, name);
    int r = stmt_run(&st, e);
    if (r == 0 && sqlite3_changes(db->handle) == 0)
        return err_set(e, ERR_NOT_FOUND, NULL, "there is no token named %.64s", name);
    return r;
}

int store_token_revoke(struct store *s, const char *name, struct err *e)
{
    return store_write(s, token_revoke_task, (void *)(uintptr_t)name, e);
}

static int token_used_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    const int64_t *id = arg;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "UPDATE token SET last_used_us = ? WHERE id = ?");
    stmt_int(&st, clock_realtime_us());
    stmt_int(&st, *id);
    return stmt_run(&st, e);
}

int store_token_used(struct store *s, int64_t token_id, struct err *e)
{
    return store_write(s, token_used_task, &token_id, e);
}

/* ---- reading ---- */

#define TOKEN_COLUMNS "id, name, scopes, created_us, expires_us, last_used_us, revoked_us"

static int token_from_row(struct stmt *st, struct store_token *ret, struct err *e)
{
    *ret = (struct store_token){.id = stmt_col_int(st, 0),
                                .scopes = stmt_col_u32(st, 2),
                                .created_us = stmt_col_int(st, 3),
                                .expires_us = stmt_col_int(st, 4),
                                .last_used_us = stmt_col_int(st, 5),
                                .revoked_us = stmt_col_int(st, 6)};
    stmt_col_copy(st, 1, ret->name, sizeof ret->name);
    return stmt_row_check(st, e);
}

int store_view_token(struct store_view *v, const char *secret_sha256, struct store_token *ret,
                     struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(&v->db, "SELECT " TOKEN_COLUMNS " FROM token WHERE secret_sha256 = ?");
    stmt_text(&st, secret_sha256);
    struct store_token token;
    int r = stmt_step(&st, e);
    if (r == 0)
        return err_set(e, ERR_UNAUTHORIZED, NULL, "this token is not known here");
    if (r > 0)
        r = token_from_row(&st, &token, e);
    if (r < 0)
        return r;
    if (token.revoked_us != 0)
        return err_set(e, ERR_UNAUTHORIZED, NULL, "this token was revoked");
    if (token.expires_us != 0 && token.expires_us <= clock_realtime_us())
        return err_set(e, ERR_UNAUTHORIZED, NULL, "this token has expired");
    *ret = token;
    return 0;
}

int store_view_tokens(struct store_view *v, int (*each)(void *ctx, const struct store_token *t),
                      void *ctx, struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(&v->db, "SELECT " TOKEN_COLUMNS " FROM token ORDER BY name");
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        struct store_token token;
        r = token_from_row(&st, &token, e);
        if (r == 0)
            r = each(ctx, &token);
        if (r != 0)
            return r;
    }
    return r;
}
